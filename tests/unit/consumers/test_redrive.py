"""The redrive consumer over objects, stream and queue in memory."""

import gzip
import tracemalloc
from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.consumers.put_requests import RECORD_BYTES_MAX, RECORDS_A_REQUEST
from chalicelib.consumers.redrive import Redrive
from chalicelib.consumers.redrive_object import RESERVE_MS
from chalicelib.errors import TransientError
from tests.builders import (
    SHARD,
    aggregated,
    gzipped,
    json_line,
    json_lines,
    letter,
    letters_object,
    make_decoder,
    order,
    record,
    undeliverable_object,
)
from tests.fakes import MemoryLetterObjects, MemoryQueue, MemoryStream

KEY = f"dead-letters/highwater-test-events/2026-11-24/{SHARD}/7.jsonl.gz"
GIVEN_UP = f"aws/lambda/{SHARD}/2026/11/24/2026-11-24T12.00.00-0"
MINUTE_MS = 60_000


class World:
    """A redrive, and what it works on."""

    def __init__(self, *letters, key=KEY):
        self.objects, self.stream, self.queue = MemoryLetterObjects(), MemoryStream(), MemoryQueue()
        self.pauses_ms = []
        self.remaining_ms = 5 * MINUTE_MS
        if letters:
            self.objects.objects[key] = letters_object(*letters)
        self.redrive = Redrive(self.objects, self.stream, self.queue, self.pauses_ms.append)

    def run(self, *messages):
        """Have messages handled, dicts or texts; their ids are 0, 1, …"""
        bodies = [each if isinstance(each, str) else orjson.dumps(each).decode() for each in messages]
        records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
        self.report = self.redrive({"Records": records}, lambda: self.remaining_ms)
        return [str(outcome) for outcome in self.report.outcomes.elements()]

    def sent(self):
        return [each.data for each in self.stream.records]

    def stored_keys(self):
        return sorted(self.objects.objects)


# ---- what goes back


def test_the_exact_bytes_go_back_under_their_own_partition_key_and_the_object_moves():
    world = World(letter(b"\x00\xff", partition_key="ada"), letter(b"{", "malformed", partition_key="grace"))
    before = world.objects.objects[KEY]
    assert world.run({"key": KEY}) == ["redriven"]
    assert [(each.partition_key, each.explicit_hash_key, each.data) for each in world.stream.records] == [
        ("ada", None, b"\x00\xff"),
        ("grace", None, b"{"),
    ]
    assert world.objects.objects == {f"redriven/{KEY}": before}
    assert world.report.response == {"batchItemFailures": []}
    assert world.report.letters == {"invalid": 1, "malformed": 1}


def test_what_was_not_handled_is_wrapped_digit_by_digit_and_what_else_there_is_is_not():
    event = b'{"id":"1","amount":0.10000000000000000000000001}'
    world = World(letter(event, "not handled", sub=3), letter(gzipped(event), "not handled"), letter(event))
    assert world.run({"key": KEY}) == ["redriven"]
    wrapped, unzipped, plain = world.sent()
    assert plain == event
    for each in (wrapped, unzipped):
        assert each.endswith(b'"data":{"event":' + event + b"}}")
        envelope = orjson.loads(each)
        assert (envelope["type"], envelope["source"]) == ("highwater.handle", "/highwater/redrive")
        assert envelope["time"] == "2026-11-24T12:00:00Z"
    first, second = (orjson.loads(each)["id"] for each in (wrapped, unzipped))
    assert first.startswith(f"{SHARD}/7/3/")
    assert first != second


def test_the_lines_of_one_payload_are_handled_under_ids_of_their_own_that_stay_the_same():
    letters = [letter(json_line({"id": number}), "not handled") for number in range(2)]
    ids = []
    for _ in range(2):
        world = World(*letters)
        world.run({"key": KEY})
        ids.append([orjson.loads(each)["id"] for each in world.sent()])
    assert ids[0] == ids[1]
    assert len(set(ids[0])) == 2


def test_a_partition_key_that_only_an_aggregate_can_hold_gives_way_to_the_sequence_number():
    world = World(letter(b"a", partition_key=""), letter(b"b", partition_key="k" * 257))
    assert world.run({"key": KEY}) == ["redriven"]
    assert {each.partition_key for each in world.stream.records} == {"7"}


def test_what_is_too_large_for_a_record_is_compressed_and_is_read_as_the_same_event():
    event = json_line(order(1, order_type="x" * 1000) | {"padding": "x" * RECORD_BYTES_MAX})
    world = World(letter(event))
    assert world.run({"key": KEY}) == ["redriven"]
    (sent,) = world.sent()
    assert gzip.decompress(sent) == event
    assert len(make_decoder().decode(record(sent)).events) == 1


def test_what_is_too_large_even_so_is_named_and_stays_and_the_others_are_remembered():
    noise = "".join(map(chr, range(0x4E00, 0x9FFF))) * 60
    large = gzipped(noise.encode()) + b"x" * RECORD_BYTES_MAX  # compressed already
    world = World(letter(b"small"), letter(large))
    for _ in range(2):
        assert world.run({"key": KEY}) == ["too large"]
        assert world.report.failed_message_ids == [], "another attempt would not help"
    assert world.sent() == [b"small"]
    assert world.stored_keys() == [KEY, f"redriven/{KEY}"]


@pytest.mark.parametrize("asked", [{}, {"reason": "unsendable"}])
def test_what_never_was_on_the_stream_is_not_put_there_and_stays(asked):
    world = World(letter(b'{"kind":"window"}', "unsendable"))
    for _ in range(2):
        assert world.run({"key": KEY, **asked}) == ["no event"]
        assert world.report.failed_message_ids == [], "another attempt would not help"
    assert (world.sent(), world.stored_keys()) == ([], [KEY])


def test_requests_are_of_500_records_at_most():
    world = World(*(letter(b"%d" % number) for number in range(RECORDS_A_REQUEST + 1)))
    sizes = []
    world.stream.refuse = lambda records: sizes.append(len(records)) or ()
    assert world.run({"key": KEY}) == ["redriven"]
    assert sizes == [RECORDS_A_REQUEST, 1]


def test_an_object_of_a_hundred_megabytes_takes_a_few_of_memory():
    world = World(*(letter(b"%09d" % number * 3_000) for number in range(4_000)))
    world.stream.put_records = lambda records, timeout_ms: ()
    tracemalloc.start()
    try:
        assert world.run({"key": KEY}) == ["redriven"]
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 24 * 1024 * 1024


# ---- again


def test_a_second_redrive_of_the_same_key_finds_nothing():
    world = World(letter(b"a"))
    assert world.run({"key": KEY}, {"key": KEY}) == ["redriven", "missing"]
    assert world.report.failed_message_ids == []
    assert world.sent() == [b"a"]


def test_an_object_that_a_replay_made_again_is_removed_and_nothing_of_it_sent_though_its_errors_are_worded_anew():
    world = World(letter(b"a"), letter(b"b"))
    world.run({"key": KEY})
    world.objects.objects[KEY] = letters_object(letter(b"b", "unknown type"))
    assert world.run({"key": KEY}) == ["redriven"]
    assert world.sent() == [b"a", b"b"]
    assert world.stored_keys() == [f"redriven/{KEY}"]


def test_what_a_replay_adds_is_sent_and_what_was_kept_is_not_forgotten():
    world = World(letter(b"a"))
    world.run({"key": KEY})
    for letters in ([letter(b"b")], [letter(b"a"), letter(b"b")]):
        world.objects.objects[KEY] = letters_object(*letters)
        world.run({"key": KEY})
    assert world.sent() == [b"a", b"b"]


def test_only_letters_with_the_reason_asked_for_are_sent_and_the_object_moves_with_the_last():
    world = World(letter(b"late", "too late"), letter(b"bad"), letter(b"late, too", "too late"))
    assert world.run({"key": KEY, "reason": "too late"}) == ["redriven in part"]
    assert world.sent() == [b"late", b"late, too"]
    assert world.stored_keys() == [KEY, f"redriven/{KEY}"]
    assert world.run({"key": KEY, "reason": "too late"}) == ["redriven in part"]
    assert world.run({"key": KEY}) == ["redriven"]
    assert world.sent() == [b"late", b"late, too", b"bad"]
    assert world.stored_keys() == [f"redriven/{KEY}"]


def test_twins_are_sent_each_once():
    world = World(letter(b"a"), letter(b"a"), letter(b"a", "too late"))
    assert world.run({"key": KEY, "reason": "too late"}, {"key": KEY}) == ["redriven in part", "redriven"]
    assert world.sent() == [b"a"] * 3


# ---- what the stream does not take


def test_records_that_the_stream_refuses_are_put_again_after_a_pause_until_it_takes_them():
    world = World(*(letter(b"%d" % number) for number in range(4)))
    refusals = [{1, 2, 3}, {0}, {0}, ()]
    world.stream.refuse = lambda records: refusals.pop(0)
    assert world.run({"key": KEY}) == ["redriven"]
    assert sorted(world.sent()) == [b"0", b"1", b"2", b"3"]
    assert world.pauses_ms == [100, 200, 400]


def test_when_time_runs_out_what_was_accepted_is_remembered_and_the_message_comes_again():
    world = World(*(letter(b"%d" % number) for number in range(4)))

    def refuse(records):
        world.remaining_ms = RESERVE_MS
        return range(1, len(records))

    world.stream.refuse = refuse
    assert world.run({"key": KEY}, {"key": KEY}) == ["failed", "failed"]
    assert world.report.response == {"batchItemFailures": [{"itemIdentifier": "0"}, {"itemIdentifier": "1"}]}
    assert world.report.errors == {"out of time": 2}
    world.remaining_ms, world.stream.refuse = 5 * MINUTE_MS, lambda records: ()
    assert world.run({"key": KEY}) == ["redriven"]
    assert world.sent() == [b"0", b"1", b"2", b"3"]


def test_a_stream_that_cannot_be_reached_fails_the_message_and_no_other():
    other = KEY.replace("/7.", "/8.")
    world = World(letter(b"a"))
    world.objects.objects[other] = letters_object(letter(b"b"))

    def refuse(records):
        if records[0].data == b"a":
            raise TransientError("InternalFailure")
        return ()

    world.stream.refuse = refuse
    assert sorted(world.run({"key": KEY}, {"key": other})) == ["failed", "redriven"]
    assert world.report.failed_message_ids == ["0"]
    assert world.stored_keys() == sorted([KEY, f"redriven/{other}"])


def test_an_object_that_changes_while_it_is_redriven_comes_again():
    world = World(letter(b"a"))

    def change(name, is_done):
        if name == "copy" and not is_done:
            world.objects.objects[KEY] = letters_object(letter(b"a"), letter(b"b"))

    world.objects.on_call = change
    assert world.run({"key": KEY}) == ["failed"]
    assert KEY in world.stored_keys()


# ---- messages and objects that are none


@pytest.mark.parametrize(
    "body",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"key": 1}',
        '{"key": null}',
        '{"reason": "invalid"}',
        '{"key": "dead-letters/a", "prefix": "dead-letters/"}',
        '{"key": "dead-letters/a", "after": "dead-letters/b"}',
        '{"key": "redriven/dead-letters/a"}',
        '{"prefix": "dead"}',
        '{"key": "dead-letters/' + "é" * 512 + '"}',
        '{"key": "dead-letters/a", "reason": "no such reason"}',
        '{"key": "dead-letters/a", "raeson": "invalid"}',
        '{"key": "dead-letters/\\ud800"}',
        "\ud800",
        "[" * 100_000,
    ],
)
def test_a_message_that_asks_for_nothing_that_can_be_done_comes_again_until_it_ends_in_the_failed_queue(body):
    world = World(letter(b"a"))
    assert world.run(body) == ["bad message"]
    assert world.report.failed_message_ids == ["0"]
    assert world.sent() == []


WHOLE = letters_object(*(letter(b"%d" % number * 99) for number in range(9)))


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (b"", "cut short"),
        (WHOLE[:-1], "cut short"),
        (WHOLE[: len(WHOLE) // 2], "cut short"),
        (WHOLE[:1], "corrupt"),
        (b"not gzip", "corrupt"),
        (WHOLE[:40] + bytes([WHOLE[40] ^ 0xFF]) + WHOLE[41:], "corrupt"),
        (gzipped(b'{"reason":"invalid"}\n'), "corrupt"),
        (WHOLE + gzipped(b"no JSON\n"), "corrupt"),
        (gzipped(b"{}"), "corrupt"),
        (b'{"payload": "{}"}', "corrupt"),
        (b'{"payload": "{\\"Records\\": []}"}', "corrupt"),
        (b'{"KinesisBatchInfo": {}}', "corrupt"),
        (WHOLE + letters_object(letter(b"no event", "not handled")), "corrupt"),
    ],
)
def test_of_an_object_that_cannot_be_read_to_its_end_nothing_is_sent_and_it_stays(data, outcome):
    world = World()
    world.objects.objects[KEY] = data
    assert world.run({"key": KEY}) == [outcome]
    assert world.report.failed_message_ids == ["0"]
    assert world.sent() == []
    assert world.objects.objects == {KEY: data}


@pytest.mark.parametrize("broken", [WHOLE[:-1], gzipped(b"no letter\n"), letters_object(letter(b"{", "not handled"))])
def test_nothing_is_sent_even_when_the_fault_comes_behind_more_than_a_request_of_letters(broken):
    world = World()
    many = letters_object(*(letter(b"%d" % number) for number in range(RECORDS_A_REQUEST + 1)))
    world.objects.objects[KEY] = many + broken
    assert world.run({"key": KEY}) in (["cut short"], ["corrupt"])
    assert world.sent() == []


def test_when_what_was_accepted_cannot_be_read_nothing_is_sent():
    world = World(letter(b"a"))
    world.objects.objects[f"redriven/{KEY}"] = WHOLE[:-1]
    assert world.run({"key": KEY}) == ["cut short"]
    assert world.sent() == []


# ---- a prefix


def test_a_prefix_becomes_a_message_for_each_object_under_it():
    world = World()
    keys = [f"dead-letters/s/2026-11-24/{number}" for number in range(5)]
    world.objects.objects = dict.fromkeys([*keys, "dead-letters/t/1", "redriven/dead-letters/s/9"], b"")
    assert world.run({"prefix": "dead-letters/s/", "reason": "too late"}) == ["fanned out"]
    assert list(map(orjson.loads, world.queue.bodies)) == [{"key": key, "reason": "too late"} for key in keys]


def test_a_prefix_of_nothing_is_done():
    assert World().run({"prefix": "aws/lambda/"}) == ["fanned out"]


def test_when_time_runs_out_a_message_for_the_rest_goes_on_where_this_one_ended():
    world = World()
    keys = [f"dead-letters/s/{number}" for number in range(5)]
    world.objects.objects = dict.fromkeys(keys, b"")
    world.remaining_ms = RESERVE_MS + 1
    send = world.queue.send_messages

    def slow_send(bodies, timeout_ms):
        send(bodies, timeout_ms)
        world.remaining_ms = RESERVE_MS

    world.queue.send_messages = slow_send
    assert world.run({"prefix": "dead-letters/"}) == ["fanned out"]
    *done, rest = map(orjson.loads, world.queue.bodies)
    assert [each["key"] for each in done] == keys[:2]
    assert rest == {"prefix": "dead-letters/", "after": keys[1]}
    world.queue.bodies.clear()
    world.remaining_ms, world.queue.send_messages = 5 * MINUTE_MS, send
    assert world.run(rest) == ["fanned out"]
    assert [orjson.loads(body)["key"] for body in world.queue.bodies] == keys[2:]


# ---- what Lambda could not deliver


def test_what_could_not_be_delivered_goes_back_in_pieces_and_moves_as_it_was():
    first, second, third = (json_line(order(number)) for number in (1, 2, 3))
    world = World()
    data = undeliverable_object(aggregated(first, second, partition_key="grace"), json_lines(order(3), order(4)), b"{")
    world.objects.objects[GIVEN_UP] = data
    assert world.run({"key": GIVEN_UP, "reason": "invalid"}) == ["redriven in part"]
    assert world.sent() == []
    assert world.run({"key": GIVEN_UP}) == ["redriven"]
    assert [(each.partition_key, each.data) for each in world.stream.records] == [
        ("grace", first),
        ("grace", second),
        ("ada", third),
        ("ada", json_line(order(4))),
        ("ada", b"{"),
    ]
    assert world.objects.objects == {f"redriven/{GIVEN_UP}": data}
    world.objects.objects[GIVEN_UP] = data
    assert world.run({"key": GIVEN_UP}) == ["redriven"]
    assert len(world.sent()) == 5


# ---- any order of events


class KilledError(BaseException):
    """The process is gone: nothing that it would still do happens."""


class Kills:
    """Kills at the n-th call, before or after its effect; from then on every call of that process fails."""

    def __init__(self, at, is_after):
        self.left, self.is_after, self.is_dead = at, is_after, False

    def __call__(self, name, is_done):
        if self.is_dead:
            raise KilledError
        if is_done == self.is_after:
            self.left -= 1
            if self.left < 0:
                self.is_dead = True
                raise KilledError


NO_KILL = 99
LETTERS = st.lists(
    st.builds(letter, st.sampled_from([b"a", b"b", b"c", b"d"]), st.sampled_from(["invalid", "too late"])),
    min_size=1,
    max_size=6,
)
RUNS = st.lists(
    st.tuples(
        st.sampled_from([None, "invalid", "too late"]),  # the reason asked for
        st.sampled_from([NO_KILL, 0, 1, 2, 3, 4, 5, 6]),  # killed at this call
        st.booleans(),  # after its effect
        st.sets(st.integers(0, 5)),  # what the stream refuses at first
        st.booleans(),  # a replay makes the object again before
    ),
    max_size=6,
)


@given(LETTERS, RUNS)
def test_however_redrives_are_killed_filtered_and_repeated_every_letter_is_accepted_and_none_again_once_it_moved(
    letters, runs
):
    #   [reason, kill at a call, refusals, replay], …, and a last one without faults: every letter has been accepted
    #   the object made again, redriven again: nothing more is sent
    world = World(*letters)
    whole = world.objects.objects[KEY]
    kills = 0
    for reason, kill_at, is_after, refused, is_replayed in runs:
        if is_replayed:
            world.objects.objects[KEY] = whole
        fault = Kills(kill_at, is_after)
        world.objects.on_call = fault
        refusals = [refused]

        def refuse(records, fault=fault, refusals=refusals):
            fault("put", is_done=False)
            return {place for place in refusals.pop() if place < len(records)} if refusals else ()

        world.stream.refuse = refuse
        try:
            world.run({"key": KEY} | ({"reason": reason} if reason else {}))
        except KilledError:
            kills += 1
    world.objects.on_call, world.stream.refuse = lambda name, is_done: None, lambda records: ()
    world.run({"key": KEY})
    sent, wanted = Counter(world.sent()), Counter(each.data for each in letters)
    assert wanted <= sent
    assert all(sent[data] <= count * (kills + 1) for data, count in wanted.items())
    assert KEY not in world.stored_keys()

    world.objects.objects[KEY] = whole
    assert world.run({"key": KEY}) == ["redriven"]
    assert Counter(world.sent()) == sent
