"""What ingest relies on in its stores: the fakes in memory, moto in process and MiniStack all have to hold it.

Not to be had from the emulators, and so unproved here: real throttling, and DynamoDB's behaviour across partitions.
"""

import gzip
from array import array
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import boto3
import orjson
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from benchmarks.capacity import CountingClient
from benchmarks.memory_dynamodb import MemoryDynamoDB
from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.aggregates.rollup import Rollup, WindowKey, pack_groups
from chalicelib.aws.aggregates_table import AggregatesTable
from chalicelib.aws.dead_letters_bucket import DeadLettersBucket
from chalicelib.aws.ids_table import IDS_AN_ITEM, IdsTable
from chalicelib.consumers.ports import Committed, Conflict, Failed, Overtaken, PartialPut, RollupPut, RunsRead
from chalicelib.errors import CorruptIdLogError, TransientError
from chalicelib.identity.run import CountedRecord, join_runs, make_run
from chalicelib.reading.ports import ReadPlan, Settled, StoredShare
from chalicelib.records.rejection import Reason, Refusal, Rejected
from chalicelib.records.sequence import position_of
from localstage import aws
from ops import resources
from tests.builders import CATALOG, DAY_MS, NOON_MS, SHARD, STREAM, create_table, record
from tests.fakes import MemoryAggregates, MemoryDeadLetters, MemoryIds

PLENTY_MS = 30_000
stages = count()


@pytest.fixture(params=["memory", "benchmarks", "moto", "ministack"])
def stage(request):
    """Clients of an empty stage, by service; None for the fakes."""
    if request.param == "memory":
        yield None
        return
    if request.param == "benchmarks":
        yield "bench", CountingClient(MemoryDynamoDB()), None
        return
    name = f"contract{next(stages)}"
    if request.param == "moto":
        with mock_aws():
            dynamodb, s3 = (boto3.client(service) for service in ("dynamodb", "s3"))
            for table in ("aggregates", "ids"):
                create_table(dynamodb, f"highwater-{name}-{table}")
            s3.create_bucket(Bucket=f"highwater-{name}-dead-letters")
            yield name, dynamodb, s3
    else:
        endpoint_url = request.getfixturevalue("endpoint_url")
        resources.ensure(name, endpoint_url=endpoint_url, session=aws.session(), shards=1)
        yield name, aws.client("dynamodb", endpoint_url), aws.client("s3", endpoint_url)


@pytest.fixture
def id_log(stage):
    return MemoryIds() if stage is None else IdsTable(stage[1], f"highwater-{stage[0]}-ids", DAY_MS)


@pytest.fixture
def partials(stage):
    if stage is None:
        return MemoryAggregates()
    return AggregatesTable(stage[1], f"highwater-{stage[0]}-aggregates", CATALOG, DAY_MS)


@pytest.fixture
def dead_letters(stage):
    if stage is None:
        return MemoryDeadLetters()
    if stage[2] is None:
        pytest.skip("the benchmarks have no S3")
    return DeadLettersBucket(lambda: stage[2], f"highwater-{stage[0]}-dead-letters")


KEY = PartialKey("customers", 3, NOON_MS, f"{STREAM}/{SHARD}")
FIRST = Partial("00190", 1, {("ada",): (2, 5)})
SECOND = Partial("0021", 2, {("ada",): (3, 7), ("grace",): (1, 1)})


def put(store, *puts):
    return store.put_partials([PartialPut(*each) for each in puts], PLENTY_MS)


def test_the_first_put_of_a_partial_lands_and_tells_its_cost(partials):
    (outcome,) = put(partials, (KEY, None, FIRST))
    assert isinstance(outcome, Committed)
    assert outcome.write_units >= 1


def test_a_put_built_on_what_stands_replaces_it(partials):
    put(partials, (KEY, None, FIRST))
    assert isinstance(put(partials, (KEY, FIRST.checkpoint, SECOND))[0], Committed)
    assert put(partials, (KEY, None, FIRST)) == [Conflict(SECOND)]


@pytest.mark.parametrize("built_on", [None, "0018", "0022"])
def test_a_put_built_on_anything_else_gets_what_stands_instead(partials, built_on):
    put(partials, (KEY, None, FIRST))
    assert put(partials, (KEY, built_on, SECOND)) == [Conflict(FIRST)]
    assert put(partials, (KEY, None, SECOND)) == [Conflict(FIRST)]


def test_a_put_built_on_what_is_gone_says_that_nothing_stands(partials):
    assert put(partials, (KEY, "0019", SECOND)) == [Conflict(None)]


def test_outcomes_come_in_the_order_of_the_puts(partials):
    keys = [KEY._replace(window_start_ms=NOON_MS + minute * 60_000) for minute in range(40)]
    put(partials, *((key, None, FIRST) for key in keys[::2]))
    outcomes = put(partials, *((key, None, SECOND) for key in keys))
    assert [isinstance(outcome, Conflict) for outcome in outcomes] == [True, False] * 20


def test_of_two_writers_at_once_one_wins(partials, request):
    if "moto" in request.node.name:
        pytest.skip("moto looks at a condition and puts without a lock between")
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: put(partials, (KEY, None, FIRST))[0], range(8)))
    assert sum(isinstance(outcome, Committed) for outcome in outcomes) == 1
    assert sum(outcome == Conflict(FIRST) for outcome in outcomes) == 7


def test_out_of_time_nothing_is_claimed(partials):
    outcomes = partials.put_partials([PartialPut(KEY, None, FIRST)], 0)
    assert outcomes == [Failed("out of time")]
    assert isinstance(put(partials, (KEY, None, FIRST))[0], Committed)


HOUR = WindowKey("customers", 3_600_000, 3, NOON_MS)
CUSTOMERS = CATALOG.metrics["customers"]


def put_rollup(store, built_on, revision, groups):
    packed = None if groups is None else pack_groups(groups)
    return store.put_rollups([RollupPut(HOUR, built_on, Rollup(revision, packed))], PLENTY_MS)[0]


def read(store, *plans):
    shares = []
    cost = store.read_shares(plans, lambda plan, share: shares.append((plan.step_ms, share)), PLENTY_MS)
    assert cost.items_read == len(shares)
    return shares


def hour(hours_after_noon=0):
    start_ms = NOON_MS + hours_after_noon * HOUR.step_ms
    return ReadPlan(CUSTOMERS, HOUR.step_ms, (3,), start_ms, start_ms + HOUR.step_ms)


def test_a_rollup_is_put_on_what_it_was_built_on_only(partials):
    assert isinstance(put_rollup(partials, None, 1, FIRST.groups), Committed)
    assert put_rollup(partials, None, 1, FIRST.groups) == Overtaken()
    assert isinstance(put_rollup(partials, 1, 2, SECOND.groups), Committed)
    assert put_rollup(partials, 1, 2, FIRST.groups) == Overtaken()
    assert read(partials, hour()) == [(HOUR.step_ms, StoredShare(3, NOON_MS, 2, SECOND.groups))]


def test_a_rollup_put_on_what_is_gone_is_overtaken(partials):
    assert put_rollup(partials, 4, 5, FIRST.groups) == Overtaken()


def test_a_rollup_too_large_is_there_and_holds_nothing(partials):
    put_rollup(partials, None, 1, None)
    assert read(partials, hour()) == [(HOUR.step_ms, StoredShare(3, NOON_MS, 1, None))]


def test_rollups_are_read_by_their_keys_more_than_a_request_takes_too(partials):
    keys = [HOUR._replace(window_start_ms=NOON_MS + hour * HOUR.step_ms) for hour in range(130)]
    rollups = {key: Rollup(number, pack_groups({("ada",): (number, 5)})) for number, key in enumerate(keys, 1)}
    rollups[keys[7]] = Rollup(3, None)
    partials.put_rollups([RollupPut(key, None, rollup) for key, rollup in rollups.items()], PLENTY_MS)
    elsewhere = [HOUR._replace(bucket=2), HOUR._replace(step_ms=24 * HOUR.step_ms)]
    assert partials.read_rollups([*keys, *elsewhere], PLENTY_MS) == rollups
    assert partials.read_rollups(elsewhere, PLENTY_MS) == {}
    with pytest.raises(TransientError):
        partials.read_rollups(keys, 0)


def test_out_of_time_no_rollup_is_claimed(partials):
    assert partials.put_rollups([RollupPut(HOUR, None, Rollup(1, None))], 0) == [Failed("out of time")]


# 11:00        12:00 hour                        13:00
#              12:00 by two writers   12:59
def test_windows_of_each_size_are_read_from_their_start_up_to_their_end(partials):
    put_rollup(partials, None, 7, FIRST.groups)
    keys = [KEY, KEY._replace(writer="other/shard"), KEY._replace(window_start_ms=NOON_MS + 59 * 60_000)]
    put(partials, *((key, None, FIRST) for key in keys))
    minutes = ReadPlan(CUSTOMERS, 60_000, (3,), NOON_MS, NOON_MS + HOUR.step_ms)
    shares = read(partials, hour(-1), minutes, hour(), hour(1))
    assert sorted(step_ms for step_ms, _ in shares) == [60_000] * 3 + [HOUR.step_ms]
    assert {share.revision for step_ms, share in shares if step_ms == 60_000} == {FIRST.version}
    assert read(partials, hour(-1)) == read(partials, hour(1)) == []
    a_minute = ReadPlan(CUSTOMERS, 60_000, (3,), NOON_MS, NOON_MS + 60_000)
    assert len(read(partials, a_minute)) == 2, "the minute at the end is not in it"


def test_the_oldest_window_is_found_among_all_partitions(partials):
    assert partials.first_window(CUSTOMERS, PLENTY_MS) is None
    put(partials, (KEY, None, FIRST), (KEY._replace(partition=1, window_start_ms=NOON_MS - 60_000), None, FIRST))
    assert partials.first_window(CUSTOMERS, PLENTY_MS) == NOON_MS - 60_000


def test_how_far_windows_are_settled_moves_only_from_where_it_stands(partials):
    first, second, third = (Settled(0, until_ms, until_ms + 9) for until_ms in (10, 20, 30))
    assert partials.read_settled("rollups", PLENTY_MS) == {}
    assert partials.advance_settled("rollups", "customers", None, first, PLENTY_MS)
    assert not partials.advance_settled("rollups", "customers", None, second, PLENTY_MS)
    assert partials.advance_settled("rollups", "customers", first, second, PLENTY_MS)
    assert not partials.advance_settled("rollups", "customers", first, third, PLENTY_MS)
    assert partials.advance_settled("alerts", "customers", None, third, PLENTY_MS)
    assert partials.read_settled("rollups", PLENTY_MS) == {"customers": second}


def test_progress_never_goes_back(partials):
    for sequence_number in (9, 10, 9):
        last = record(b"", sequence_number, arrived_at_ms=NOON_MS + sequence_number)
        partials.advance(STREAM, SHARD, last, PLENTY_MS)
    if isinstance(partials, MemoryAggregates):
        assert partials.progress == {(STREAM, SHARD): ("00210", "10", NOON_MS + 10)}
    else:
        (progress,) = partials.read_progress(STREAM, PLENTY_MS)
        assert (progress.shard_id, progress.sequence_number, progress.arrived_at_ms) == (SHARD, "10", NOON_MS + 10)


def test_the_service_gets_its_sequence_number_back_as_it_came(partials):
    padded = "000000017954687768670000019505"
    partials.advance(STREAM, SHARD, record(b"", padded), PLENTY_MS)
    known = partials.progress[STREAM, SHARD][1] if isinstance(partials, MemoryAggregates) else None
    assert (known or partials.read_progress(STREAM, PLENTY_MS)[0].sequence_number) == padded


REJECTED = [
    Rejected(Refusal(Reason.INVALID, "amount is wrong"), "ada", 4, b"\x00\xff payload"),
    Rejected(Refusal(Reason.MALFORMED, "not JSON"), "grace", None, b"{"),
]


def test_dead_letters_are_kept_whole_and_a_repeat_overwrites(stage, dead_letters):
    rejected = {0: (record(b"a", 7), REJECTED), 1: (record(b"b", 8), REJECTED[:1])}
    for _ in range(2):
        assert dead_letters.put_dead_letters(STREAM, SHARD, rejected, PLENTY_MS) == {}
    if stage is None:
        assert dead_letters.objects == {(STREAM, SHARD, "7"): REJECTED, (STREAM, SHARD, "8"): REJECTED[:1]}
        return
    name, _, s3 = stage
    bucket = f"highwater-{name}-dead-letters"
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [f"dead-letters/{STREAM}/2026-11-24/{SHARD}/{number}.jsonl.gz" for number in (7, 8)]
    lines = gzip.decompress(s3.get_object(Bucket=bucket, Key=keys[0])["Body"].read()).splitlines()
    assert orjson.loads(lines[0]) == {
        "reason": "invalid",
        "error": "amount is wrong",
        "stream": STREAM,
        "shard_id": SHARD,
        "sequence_number": "7",
        "sub_sequence_number": 4,
        "partition_key": "ada",
        "arrived_at": "2026-11-24T12:00:00Z",
        "data": "AP8gcGF5bG9hZA==",
    }


def test_dead_letters_that_could_not_be_stored_in_time_are_named(dead_letters):
    assert dead_letters.put_dead_letters(STREAM, SHARD, {3: (record(b""), REJECTED)}, 0).keys() == {3}


# ── the id log: a run [first..last], each of its records with some ids, one second after the other ──

WRITER = f"{STREAM}/{SHARD}"
EVER = {"since_ms": 0, "ids_max": 10**9, "timeout_ms": PLENTY_MS}


def run(first, last, ids_a_record=1):
    records = [CountedRecord(position_of(n), NOON_MS + n * 1000, ids_a_record) for n in range(first, last + 1)]
    ids = array("Q", [n * 10**9 + i for n in range(first, last + 1) for i in range(ids_a_record)])
    return make_run(records, ids, array("I", [each % 7 for each in ids]))


def put_runs(log, *bounds, writer=WRITER):
    for first, last in bounds:
        log.put_run(writer, run(first, last), PLENTY_MS)


def read_back(log, before=None, writer=WRITER, **limits):
    return log.read_back(writer, before=before and position_of(before), **(EVER | limits))


def test_what_was_counted_before_a_position_is_read_in_the_order_of_the_stream(id_log):
    put_runs(id_log, (8, 9), (1, 3), (10, 12), (4, 7))
    put_runs(id_log, (1, 5), writer="another")
    assert read_back(id_log, 10) == RunsRead([run(1, 3), run(4, 7), run(8, 9)])
    assert read_back(id_log) == RunsRead([run(1, 3), run(4, 7), run(8, 9), run(10, 12)])
    assert read_back(id_log, 10, writer="nobody") == RunsRead([])


def test_a_run_that_spans_the_position_is_told_apart(id_log):
    put_runs(id_log, (1, 3), (4, 9), (10, 12))
    assert read_back(id_log, 6) == RunsRead([run(1, 3)], run(4, 9))
    assert read_back(id_log, 4) == RunsRead([run(1, 3)])
    on = id_log.read_on(WRITER, after=position_of(1), before=position_of(6), timeout_ms=PLENTY_MS)
    assert on == RunsRead([run(1, 3)], run(4, 9))


def test_reading_on_gives_what_others_have_counted_since(id_log):
    put_runs(id_log, (1, 3), (4, 7), (8, 9), (10, 12))
    on = id_log.read_on(WRITER, after=position_of(3), before=position_of(10), timeout_ms=PLENTY_MS)
    assert on == RunsRead([run(4, 7), run(8, 9)])
    assert id_log.read_on(WRITER, after=position_of(12), before=position_of(13), timeout_ms=PLENTY_MS) == RunsRead([])


def test_runs_of_too_long_ago_are_left_out_and_it_is_said_so(id_log):
    put_runs(id_log, (1, 3), (4, 7), (8, 9))
    assert read_back(id_log, 10, since_ms=NOON_MS + 7_000) == RunsRead([run(4, 7), run(8, 9)], None, NOON_MS + 7_000)
    by_number = read_back(id_log, 10, ids_max=3)
    assert by_number == RunsRead([run(4, 7), run(8, 9)], None, NOON_MS + 7_000)


def test_runs_that_overlap_are_read_once(id_log):
    put_runs(id_log, (1, 3), (4, 5), (2, 8), (9, 9))
    read = read_back(id_log, 10)
    assert [(one.first, one.last, len(one.ids)) for one in read.runs] == [
        (position_of(first), position_of(last), last - first + 1) for first, last in ((1, 1), (2, 8), (9, 9))
    ]
    assert read_back(id_log, 10, ids_max=8).runs == read.runs[1:]


def test_a_put_never_narrows_what_stands_there(id_log):
    put_runs(id_log, (4, 9), (6, 9))
    assert read_back(id_log) == RunsRead([run(4, 9)])
    put_runs(id_log, (2, 9))
    assert read_back(id_log) == RunsRead([run(2, 9)])


def test_a_record_with_more_ids_than_an_item_holds_comes_back_whole(id_log):
    large = IDS_AN_ITEM * 2 + 5
    whole = run(1, 2, large)
    id_log.put_run(WRITER, whole, PLENTY_MS)
    put_runs(id_log, (3, 4))
    read = read_back(id_log, 4)
    assert [each for one in read.runs for each in one.ids] == list(whole.ids)
    assert read.spanning == run(3, 4)
    on = id_log.read_on(WRITER, after=position_of(1), before=position_of(5), timeout_ms=PLENTY_MS)
    assert [len(one.ids) for one in on.runs][-1] == 2
    assert list(on.runs[0].between(position_of(1), None).ids) == list(whole.ids[large:])


class Throttling:
    """A DynamoDB client that refuses its first put."""

    def __init__(self, client):
        self._client = client
        self._is_refusing = True

    def put_item(self, **request):
        if self._is_refusing:
            self._is_refusing = False
            raise ClientError({"Error": {"Code": "ThrottlingException"}}, "PutItem")
        return self._client.put_item(**request)

    def __getattr__(self, name):
        return getattr(self._client, name)


def test_a_later_item_of_a_run_never_stands_alone_and_hides_what_spans_its_beginning(stage, id_log):
    """[1 … 9] stands; an attempt that begins at 3 puts [1 … 3] and [4], and the first of them fails."""
    if stage is None:
        pytest.skip("the fake keeps a run whole")
    put_runs(id_log, (1, 9))
    throttled = IdsTable(Throttling(stage[1]), f"highwater-{stage[0]}-ids", DAY_MS)
    with pytest.raises(TransientError):
        throttled.put_run(WRITER, join_runs([run(1, 2), run(3, 4, IDS_AN_ITEM * 2 // 3)]), PLENTY_MS)
    assert read_back(id_log, 3) == RunsRead([], run(1, 9))


def test_a_log_out_of_time_raises(id_log):
    with pytest.raises(TransientError):
        id_log.put_run(WRITER, run(1, 2), 0)
    with pytest.raises(TransientError):
        read_back(id_log, 3, timeout_ms=0)
    with pytest.raises(TransientError):
        id_log.read_on(WRITER, after=position_of(1), before=position_of(6), timeout_ms=0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda item: {**item, "run": {"B": item["run"]["B"][:-3]}},
        lambda item: {name: value for name, value in item.items() if name != "run"},
        lambda item: {**item, "run": {"S": "text"}},
    ],
)
def test_a_corrupt_item_is_named_and_never_passed_over(stage, id_log, spoil):
    if stage is None:
        pytest.skip("the fake holds no items")
    put_runs(id_log, (1, 3))
    table = f"highwater-{stage[0]}-ids"
    (item,) = stage[1].scan(TableName=table)["Items"]
    stage[1].put_item(TableName=table, Item=spoil(item))
    with pytest.raises(CorruptIdLogError, match=position_of(3)):
        read_back(id_log, 4)


def test_a_log_item_is_kept_for_a_replay_of_the_whole_stream(stage, id_log):
    if stage is None:
        pytest.skip("the fake keeps everything")
    put_runs(id_log, (1, 3))
    (item,) = stage[1].scan(TableName=f"highwater-{stage[0]}-ids")["Items"]
    assert int(item["expires_at"]["N"]) == (NOON_MS + 3_000 + DAY_MS) // 1000
