"""A request is repeated only for what was refused, patiently, and not for ever."""

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st

from loadtest.producer import Encoding, Event, Receipt, Retry
from loadtest.producer.delivery import REQUEST_BYTES_MAX, REQUEST_RECORDS_MAX, deliver, split_request
from loadtest.producer.packing import Record, encode_record

THROTTLED = "ProvisionedThroughputExceededException"


def records(*payloads: bytes) -> list[Record]:
    return [encode_record([Event("user", payload)], Encoding.PLAIN) for payload in payloads]


def patience(attempts_max: int = 5) -> Retry:
    return Retry(attempts_max=attempts_max, sleep=lambda seconds: None)


def test_only_refused_records_are_put_again(kinesis: Any) -> None:
    stream = kinesis(refuse=lambda request, entry: THROTTLED if request == 1 and entry["Data"] in b"bd" else None)
    delivery = deliver(stream, "events", records(b"a", b"b", b"c", b"d"), patience())
    assert stream.requests == [[b"a", b"b", b"c", b"d"], [b"b", b"d"]]
    assert delivery.unaccepted == ()
    assert delivery.accepted == Receipt(
        events=4, records=4, size_bytes=20, retries=2, last_sequence_numbers={"shardId-000000000000": "000004"}
    )


def test_attempts_are_bounded_and_what_is_left_is_named(kinesis: Any) -> None:
    stream = kinesis(refuse=lambda request, entry: "InternalFailure" if entry["Data"] == b"b" else None)
    delivery = deliver(stream, "events", records(b"a", b"b"), patience(attempts_max=3))
    assert stream.requests == [[b"a", b"b"], [b"b"], [b"b"]]
    assert list(delivery.unaccepted) == records(b"b")
    assert delivery.reasons == {"InternalFailure"}
    assert delivery.accepted.records == 1


def test_a_request_that_fails_whole_leaves_its_records_unaccepted(kinesis: Any) -> None:
    def lose_the_second(request: int, entry: Mapping[str, Any]) -> str | None:
        if request == 2:
            raise EndpointConnectionError(endpoint_url="http://gone")
        return THROTTLED if entry["Data"] == b"b" else None

    delivery = deliver(kinesis(refuse=lose_the_second), "events", records(b"a", b"b"), patience())
    assert list(delivery.unaccepted) == records(b"b")
    assert delivery.reasons == {"EndpointConnectionError"}
    assert delivery.accepted.records == 1


def test_pauses_grow_up_to_the_cap_and_chance_shortens_them(kinesis: Any) -> None:
    pauses: list[float] = []
    chances = iter([1.0, 1.0, 0.5, 1.0])
    retry = Retry(5, base_seconds=0.1, cap_seconds=0.5, sleep=pauses.append, random=lambda: next(chances))
    deliver(kinesis(refuse=lambda request, entry: THROTTLED), "events", records(b"a"), retry)
    assert pauses == [0.2, 0.4, 0.25, 0.5]


def test_whoever_never_gives_up_pauses_as_long_as_the_cap_for_ever() -> None:
    pauses: list[float] = []
    Retry(cap_seconds=5.0, sleep=pauses.append, random=lambda: 1.0).pause(5_000)
    assert pauses == [5.0]


@given(st.lists(st.integers(0, 1_000_000), max_size=40))
def test_a_request_holds_as_many_records_as_the_service_takes(sizes: list[int]) -> None:
    waiting = records(*map(bytes, sizes))
    count = split_request(waiting)
    assert sum(record.size_bytes for record in waiting[:count]) <= REQUEST_BYTES_MAX
    one_more = sum(record.size_bytes for record in waiting[: count + 1])
    assert count == len(waiting) or one_more > REQUEST_BYTES_MAX


def test_a_request_holds_at_most_500_records() -> None:
    assert split_request(records(*[b""] * 501)) == REQUEST_RECORDS_MAX == 500


def test_receipts_add_up_and_keep_the_greatest_sequence_number() -> None:
    nine, ten = (Receipt(1, 1, 10, 1, {"shard-0": number, number: number}) for number in ("9", "10"))
    both = Receipt(2, 2, 20, 2, {"shard-0": "10", "9": "9", "10": "10"})
    assert nine + ten == ten + nine == both
