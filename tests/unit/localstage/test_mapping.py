"""The event source mapping of one shard, decision by decision.

A shard's records are `r(1), r(2), …`; a function is a list of answers: what it returns, or FAILS.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localstage.mapping import (
    PAYLOAD_BYTES_MAX,
    RECORD_AGE_EXCEEDED,
    RETRY_ATTEMPTS_EXHAUSTED,
    GiveUp,
    Invoke,
    MappingOptions,
    OutOfOrderError,
    ShardMapping,
    Wait,
    records_done,
)
from localstage.redelivery import Redelivery

FAILS = object()
ALL_DONE = {"batchItemFailures": []}


@dataclass(frozen=True)
class FakeRecord:
    sequence_number: str
    arrived_ms: int = 0
    payload_bytes: int = 100


def r(number: int, **more: int) -> FakeRecord:
    return FakeRecord(f"{number:030d}", **more)


def numbers(records: Sequence[FakeRecord]) -> list[int]:
    return [int(record.sequence_number) for record in records]


def failing_from(number: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": f"{number:030d}"}]}


def partial(**more: Any) -> MappingOptions:
    return MappingOptions(report_batch_item_failures=True, **more)


def run(mapping: ShardMapping[FakeRecord], answers: list[Any], now_ms: int = 0) -> list[tuple[str, list[int]]]:
    """Carry out decisions until nothing is left or the answers are used up; time jumps over every wait."""
    seen: list[tuple[str, list[int]]] = []
    left = list(answers)
    while True:
        match mapping.decide(now_ms):
            case Wait(None):
                return seen
            case Wait(until_ms) if until_ms is not None:
                now_ms = until_ms
            case GiveUp(records, condition, _):
                seen.append((condition, numbers(records)))
                mapping.given_up(len(records))
            case Invoke(records):
                if not left:
                    return seen
                seen.append(("invoke", numbers(records)))
                answer = left.pop(0)
                if answer is FAILS:
                    mapping.failed(now_ms)
                else:
                    mapping.answered(answer, now_ms)


def mapping_with(records: list[FakeRecord], options: MappingOptions) -> ShardMapping[FakeRecord]:
    mapping: ShardMapping[FakeRecord] = ShardMapping(options)
    mapping.fetched(records, now_ms=0)
    return mapping


# ---- when a batch closes


def test_without_a_window_whatever_is_there_is_a_batch() -> None:
    mapping = mapping_with([r(1), r(2)], partial())
    assert run(mapping, [ALL_DONE]) == [("invoke", [1, 2])]


def test_a_batch_waits_for_its_window_and_no_longer() -> None:
    #  0 ──r1──────── 400 ──r2─────────── 1000 ▶ [r1 r2]
    mapping = mapping_with([r(1)], partial(batching_window_ms=1_000))
    mapping.fetched([r(2)], now_ms=400)
    assert mapping.decide(999) == Wait(1_000)
    assert mapping.decide(1_000) == Invoke([r(1), r(2)])


def test_a_full_batch_does_not_wait_for_its_window() -> None:
    mapping = mapping_with([r(1), r(2), r(3)], partial(batch_size=2, batching_window_ms=1_000))
    assert mapping.decide(0) == Invoke([r(1), r(2)])


def test_a_batch_never_exceeds_the_payload_that_lambda_takes() -> None:
    third = PAYLOAD_BYTES_MAX // 3  # three of them, the envelope and the commas are a little too much
    mapping = mapping_with([r(n, payload_bytes=third) for n in (1, 2, 3)], partial(batching_window_ms=1_000))
    assert mapping.decide(0) == Invoke([r(n, payload_bytes=third) for n in (1, 2)])


def test_a_payload_is_filled_to_the_last_byte() -> None:
    mapping = mapping_with([r(1, payload_bytes=PAYLOAD_BYTES_MAX - 14 - 101), r(2)], partial())
    assert run(mapping, [ALL_DONE]) == [("invoke", [1, 2])]


def test_a_record_too_large_for_any_event_is_delivered_alone() -> None:
    mapping = mapping_with([r(1, payload_bytes=PAYLOAD_BYTES_MAX + 1), r(2)], partial())
    assert run(mapping, [ALL_DONE, ALL_DONE]) == [("invoke", [1]), ("invoke", [2])]


def test_an_ended_shard_does_not_wait_for_the_window() -> None:
    mapping = mapping_with([r(1)], partial(batching_window_ms=1_000))
    mapping.shard_ended()
    assert not mapping.drained
    assert run(mapping, [ALL_DONE]) == [("invoke", [1])]
    assert mapping.drained


def test_no_more_than_one_full_batch_is_fetched_ahead() -> None:
    mapping = mapping_with([r(1), r(2)], partial(batch_size=3))
    assert mapping.room == 1
    mapping.decide(0)  # cuts the batch
    assert mapping.room == 3
    mapping.fetched([r(3), r(4), r(5)], now_ms=0)
    assert mapping.room == 0


def test_records_out_of_order_are_refused() -> None:
    mapping = mapping_with([r(9), r(10)], partial())  # text order would have 10 before 9 if it were not padded
    with pytest.raises(OutOfOrderError):
        mapping.fetched([r(10)], now_ms=0)


def test_sequence_numbers_are_compared_as_numbers_and_handed_back_as_they_came() -> None:
    short, long = FakeRecord("9" * 56), FakeRecord("1" + "0" * 128)
    mapping = mapping_with([short, long], partial())
    mapping.decide(0)
    mapping.answered({"batchItemFailures": [{"itemIdentifier": long.sequence_number}]}, 0)
    assert mapping.checkpoint == short.sequence_number


def test_lambda_takes_no_batch_larger_than_ten_thousand() -> None:
    with pytest.raises(ValueError, match="10001"):
        MappingOptions(batch_size=10_001)


# ---- what no filter lets through


def even(record: FakeRecord) -> bool:
    return int(record.sequence_number) % 2 == 0


def test_what_no_filter_lets_through_is_in_no_batch_and_counts_for_none() -> None:
    mapping = mapping_with([r(n) for n in range(1, 6)], partial(batch_size=2, lets_through=even))
    assert run(mapping, [ALL_DONE]) == [("invoke", [2, 4])]
    assert mapping.checkpoint == r(5).sequence_number


def test_the_checkpoint_passes_over_what_is_filtered_once_all_before_it_is_done() -> None:
    #  1 ✗   2 ▶   3 ✗
    mapping = mapping_with([r(1)], partial(lets_through=even))
    assert mapping.checkpoint == r(1).sequence_number, "nothing lies before it"
    assert mapping.decide(0) == Wait(None)
    mapping.fetched([r(2), r(3)], now_ms=0)
    assert mapping.checkpoint == r(1).sequence_number
    mapping.decide(0)
    mapping.failed(0)
    assert mapping.checkpoint == r(1).sequence_number, "2 is not done"
    assert run(mapping, [ALL_DONE]) == [("invoke", [2])]
    assert mapping.checkpoint == r(3).sequence_number


def test_a_checkpoint_within_a_batch_is_the_functions_and_no_further() -> None:
    mapping = mapping_with([r(2), r(3), r(4), r(5)], partial(lets_through=even))
    mapping.decide(0)
    mapping.answered(failing_from(4), 0)
    assert mapping.checkpoint == r(2).sequence_number
    assert run(mapping, [ALL_DONE], now_ms=10_000) == [("invoke", [4])]


def test_a_window_begins_with_the_first_record_that_is_let_through() -> None:
    mapping = mapping_with([r(1)], partial(batching_window_ms=1_000, lets_through=even))
    mapping.fetched([r(2)], now_ms=400)
    assert mapping.decide(1_399) == Wait(1_400)
    assert mapping.decide(1_400) == Invoke([r(2)])


def test_a_shard_of_which_nothing_is_let_through_is_drained_at_its_end() -> None:
    mapping = mapping_with([r(1), r(3)], partial(lets_through=even))
    mapping.shard_ended()
    assert mapping.drained


# ---- what an answer means


@pytest.mark.parametrize("response", [None, {}, ALL_DONE, {"batchItemFailures": None}, {"other": 1}, "done", []])
def test_an_empty_answer_is_success(response: Any) -> None:
    assert records_done(response, ["1", "2"]) == 2


@pytest.mark.parametrize(
    "failure",
    [
        {"itemIdentifier": ""},
        {"itemIdentifier": None},
        {"itemIdentifier": "7"},
        {"sequenceNumber": "2"},
        {"itemIdentifier": []},
        "2",
        None,
    ],
)
def test_an_identifier_that_says_nothing_is_total_failure(failure: Any) -> None:
    assert records_done({"batchItemFailures": [{"itemIdentifier": "2"}, failure]}, ["1", "2"]) is None


@pytest.mark.parametrize("failures", [7, {"itemIdentifier": "2"}, "2"])
def test_failures_that_are_no_list_are_total_failure(failures: Any) -> None:
    assert records_done({"batchItemFailures": failures}, ["1", "2"]) is None


def test_the_lowest_identifier_counts() -> None:
    failures = [{"itemIdentifier": "10"}, {"itemIdentifier": "9"}, {"itemIdentifier": "11"}]
    assert records_done({"batchItemFailures": failures}, ["8", "9", "10", "11"]) == 1


def test_everything_from_the_failed_record_on_is_retried() -> None:
    mapping = mapping_with([r(1), r(2), r(3), r(4)], partial())
    assert run(mapping, [failing_from(3), ALL_DONE]) == [("invoke", [1, 2, 3, 4]), ("invoke", [3, 4])]
    assert mapping.checkpoint == r(4).sequence_number


def test_an_answer_means_nothing_to_a_mapping_without_partial_responses() -> None:
    mapping = mapping_with([r(1), r(2)], MappingOptions())
    assert run(mapping, [failing_from(1)]) == [("invoke", [1, 2])]


def test_what_failed_is_retried_before_newer_records() -> None:
    mapping = mapping_with([r(1), r(2), r(3)], partial(batch_size=2))
    assert run(mapping, [FAILS, ALL_DONE, ALL_DONE]) == [("invoke", [1, 2]), ("invoke", [1, 2]), ("invoke", [3])]


# ---- bisecting


def test_a_failed_batch_is_halved_and_both_halves_follow_in_order() -> None:
    mapping = mapping_with([r(n) for n in (1, 2, 3, 4)], partial(bisect_batch_on_function_error=True))
    # record 3 is poison for one attempt at each size
    assert run(mapping, [FAILS, ALL_DONE, FAILS, ALL_DONE, ALL_DONE]) == [
        ("invoke", [1, 2, 3, 4]),
        ("invoke", [1, 2]),
        ("invoke", [3, 4]),
        ("invoke", [3]),
        ("invoke", [4]),
    ]


def test_splits_do_not_count_as_retries() -> None:
    mapping = mapping_with([r(1), r(2)], partial(bisect_batch_on_function_error=True, maximum_retry_attempts=1))
    assert run(mapping, [FAILS, FAILS, FAILS, ALL_DONE]) == [
        ("invoke", [1, 2]),
        ("invoke", [1]),
        ("invoke", [1]),
        (RETRY_ATTEMPTS_EXHAUSTED, [1]),
        ("invoke", [2]),
    ]


def test_with_partial_responses_a_batch_is_cut_at_the_returned_number() -> None:
    mapping = mapping_with([r(n) for n in (1, 2, 3, 4)], partial(bisect_batch_on_function_error=True))
    assert run(mapping, [failing_from(2), ALL_DONE]) == [("invoke", [1, 2, 3, 4]), ("invoke", [2, 3, 4])]


# ---- giving up


def test_without_retries_left_the_batch_goes_to_the_destination_and_the_shard_goes_on() -> None:
    mapping = mapping_with([r(1), r(2), r(3)], partial(batch_size=2, maximum_retry_attempts=1))
    assert run(mapping, [FAILS, FAILS, ALL_DONE]) == [
        ("invoke", [1, 2]),
        ("invoke", [1, 2]),
        (RETRY_ATTEMPTS_EXHAUSTED, [1, 2]),
        ("invoke", [3]),
    ]


def test_records_too_old_go_to_the_destination_before_the_rest_is_delivered() -> None:
    mapping = mapping_with([r(1, arrived_ms=0), r(2, arrived_ms=900)], partial(maximum_record_age_ms=1_000))
    assert run(mapping, [ALL_DONE], now_ms=1_500) == [(RECORD_AGE_EXCEEDED, [1]), ("invoke", [2])]


def test_a_mapping_that_never_gives_up_never_does() -> None:
    mapping = mapping_with([r(1)], partial())
    assert run(mapping, [FAILS] * 1_000) == [("invoke", [1])] * 1_000


# ---- backing off


def test_pauses_double_up_to_a_limit_and_start_anew_after_progress() -> None:
    mapping = mapping_with([r(1), r(2)], partial(backoff_ms_first=100, backoff_ms_max=350))
    pauses = []
    for answer in (FAILS, FAILS, FAILS, failing_from(2)):
        mapping._not_before_ms = 0
        assert isinstance(mapping.decide(0), Invoke)
        if answer is FAILS:
            mapping.failed(0)
        else:
            mapping.answered(answer, 0)
        pauses.append(mapping.decide(0))
    assert pauses == [Wait(100), Wait(200), Wait(350), Wait(100)]


# ---- delivering again


def test_a_redelivered_batch_comes_twice_and_the_checkpoint_moves_once() -> None:
    redelivery = Redelivery(0.5)
    mapping: ShardMapping[FakeRecord] = ShardMapping(partial(batch_size=1), redelivery)
    mapping.fetched([r(1)], now_ms=0)
    mapping.decide(0)
    mapping.answered(ALL_DONE, 0)
    assert mapping.checkpoint is None
    assert run(mapping, [ALL_DONE]) == [("invoke", [1])]
    assert redelivery.count == 1


def test_redelivery_is_an_even_share_that_begins_early() -> None:
    redelivery = Redelivery(0.25)
    asked = [redelivery() for _ in range(8)]
    assert asked == [False, True, False, False, False, True, False, False]
    assert redelivery.count == 2


def test_nothing_is_redelivered_by_default() -> None:
    redelivery = Redelivery(0)
    assert not any(redelivery() for _ in range(1_000))


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_share_beyond_all_or_nothing_is_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match="fraction from 0 to 1"):
        Redelivery(fraction)


# ---- laws

responses = st.one_of(
    st.just(FAILS),
    st.sampled_from(
        [None, {}, ALL_DONE, {"batchItemFailures": [{"itemIdentifier": None}]}, {"batchItemFailures": [{"bad": 1}]}]
    ),
    st.integers(1, 30).map(failing_from),
)


@settings(max_examples=300)
@given(
    arrivals=st.lists(st.integers(0, 2_000), min_size=1, max_size=30),
    answers=st.lists(responses, max_size=60),
    options=st.builds(
        MappingOptions,
        batch_size=st.integers(1, 12),
        batching_window_ms=st.sampled_from([0, 300]),
        bisect_batch_on_function_error=st.booleans(),
        report_batch_item_failures=st.booleans(),
        maximum_retry_attempts=st.sampled_from([-1, 0, 1, 3]),
        maximum_record_age_ms=st.sampled_from([-1, 500]),
    ),
    redelivered=st.sampled_from([0.0, 0.3, 1.0]),
    fetched_at_once=st.integers(1, 40),
)
def test_every_record_is_delivered_or_given_up_in_order_and_none_is_skipped(
    arrivals: list[int], answers: list[Any], options: MappingOptions, redelivered: float, fetched_at_once: int
) -> None:
    mapping: ShardMapping[FakeRecord] = ShardMapping(options, Redelivery(redelivered))
    source = [r(number, arrived_ms=arrived_ms) for number, arrived_ms in enumerate(sorted(arrivals), 1)]
    unread, now_ms, settled, checkpoint = list(source), 0, 0, 0
    while settled < len(source):
        if mapping.room:
            count = min(mapping.room, fetched_at_once)
            mapping.fetched(unread[:count], now_ms)
            unread = unread[count:]
        decision = mapping.decide(now_ms)
        if isinstance(decision, Wait):
            now_ms = now_ms + 50 if decision.until_ms is None else decision.until_ms
            continue
        delivered = numbers(decision.records)
        assert delivered[0] == settled + 1, "each delivery begins right behind what is settled"
        assert delivered == list(range(delivered[0], delivered[0] + len(delivered)))
        assert len(delivered) <= options.batch_size
        if isinstance(decision, GiveUp):
            mapping.given_up(len(delivered))
        elif (answer := answers.pop(0) if answers else ALL_DONE) is FAILS:
            mapping.failed(now_ms)
        else:
            mapping.answered(answer, now_ms)
        reached = int(mapping.checkpoint or 0)
        assert reached >= checkpoint, "a checkpoint never goes back"
        assert reached <= delivered[-1], "and never passes what was delivered"
        checkpoint = settled = reached
        now_ms += 10
    mapping.shard_ended()
    assert mapping.drained
