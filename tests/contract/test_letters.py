"""What redrive relies on in the objects of dead letters and in its queue: the fakes, moto and MiniStack hold it.

Not to be had from the emulators, and so unproved here: a connection that breaks in the middle of an object. moto copies
an object whatever its version.
"""

import threading
from contextlib import contextmanager
from itertools import count

import boto3
import orjson
import pytest
from moto import mock_aws

from chalicelib.aws.dead_letter_objects import DeadLetterObjects
from chalicelib.aws.dead_letters_bucket import DeadLettersBucket
from chalicelib.aws.dead_letters_reader import EVERY_DAY, DeadLettersReader
from chalicelib.aws.redrive_queue import RedriveQueue
from chalicelib.errors import TransientError
from chalicelib.records.letter import CorruptError, CutShortError
from chalicelib.records.rejection import Reason, Refusal, Rejected
from localstage import aws
from tests.builders import DAY_MS, NOON_MS, SHARD, STREAM, json_line, letter, letters_object, order, record
from tests.builders import undeliverable_object as undeliverable
from tests.fakes import MemoryLetterObjects

PLENTY_MS = 30_000
KEY = f"dead-letters/{STREAM}/2026-11-24/{SHARD}/7.jsonl.gz"
GIVEN_UP = f"aws/lambda/{SHARD}/2026/11/23/2026-11-23T12.00.00-0"
stages = count()


class Bucket:
    """The objects under test, and a way to look at and change the bucket beside them."""

    def __init__(self, s3=None, name=None):
        self.s3, self.name = s3, name
        self.objects = DeadLetterObjects(s3, name) if s3 else MemoryLetterObjects()

    def put(self, key, data):
        if self.s3:
            self.s3.put_object(Bucket=self.name, Key=key, Body=data)
        else:
            self.objects.objects[key] = data

    def stored_keys(self):
        return sorted(key for keys in self.objects.list_keys("", None) for key in keys)

    def letters(self, key):
        return list(self.objects.read_letters(key).letters)


@contextmanager
def clients(request):
    """Makes clients of an AWS by moto, or of MiniStack, as the request's parameter says."""
    if request.param == "moto":
        with mock_aws():
            yield boto3.client
    else:
        endpoint_url = request.getfixturevalue("endpoint_url")
        yield lambda service: aws.client(service, endpoint_url)


def make_bucket(client_of):
    name = f"letters{next(stages)}-dead-letters"
    client_of("s3").create_bucket(Bucket=name)
    return Bucket(client_of("s3"), name)


@pytest.fixture(params=["moto", "ministack"])
def client_of(request):
    with clients(request) as client_of:
        yield client_of


@pytest.fixture
def s3_bucket(client_of):
    return make_bucket(client_of)


@pytest.fixture(params=["memory", "moto", "ministack"])
def bucket(request):
    if request.param == "memory":
        yield Bucket()
        return
    with clients(request) as client_of:
        yield make_bucket(client_of)


LETTERS = [letter(b"\x00\xff", sub=3), letter(b"{", "malformed")]


def accept(objects, *letters):
    with objects.accepting(KEY) as accepting:
        for each in letters:
            accepting.add(each)
        accepting.save()


def test_letters_are_read_as_they_were_written(bucket):
    bucket.put(KEY, letters_object(*LETTERS) + letters_object(LETTERS[0]))
    assert bucket.letters(KEY) == [*LETTERS, LETTERS[0]]


def test_what_lambda_gave_up_is_read_as_letters(bucket):
    bucket.put(GIVEN_UP, undeliverable(json_line(order())))
    (read,) = bucket.letters(GIVEN_UP)
    assert (read.reason, read.sequence_number, read.data) == ("undeliverable", "1", json_line(order()))
    assert (read.stream, read.shard_id, read.arrived_at) == (STREAM, SHARD, "2026-11-24T12:00:00Z")


def test_there_is_nothing_where_nothing_is(bucket):
    assert bucket.objects.read_letters(KEY) is None
    assert bucket.objects.read_accepted(KEY) is None


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (letters_object(*LETTERS)[:-9], CutShortError),
        (b"", CutShortError),
        (b"something else", CorruptError),
        (b'{"payload": 1}', CorruptError),
    ],
)
def test_an_object_that_is_not_whole_is_named_when_it_is_read(bucket, data, error):
    bucket.put(KEY, data)
    stored = bucket.objects.read_letters(KEY)
    with pytest.raises(error):
        list(stored.letters)


def test_of_an_object_that_has_changed_nothing_is_read_moved_or_removed(bucket, request):
    bucket.put(KEY, letters_object(*LETTERS))
    version = bucket.objects.read_letters(KEY).version
    assert bucket.objects.read_letters(KEY, version).version == version
    bucket.put(KEY, letters_object(LETTERS[0]))
    for act in (bucket.objects.read_letters, bucket.objects.move, bucket.objects.remove):
        with pytest.raises(TransientError):
            act(KEY, version)
    assert KEY in bucket.stored_keys()
    if "moto" not in request.node.name:
        assert bucket.stored_keys() == [KEY]


def test_a_move_keeps_the_object_whole_under_its_whole_key(bucket):
    bucket.put(KEY, letters_object(*LETTERS))
    bucket.objects.move(KEY, bucket.objects.read_letters(KEY).version)
    assert bucket.stored_keys() == [f"redriven/{KEY}"]
    assert list(bucket.objects.read_accepted(KEY).letters) == LETTERS


def test_what_is_accepted_in_parts_adds_up_beside_the_object(bucket):
    bucket.put(KEY, letters_object(*LETTERS))
    for each in LETTERS:
        accept(bucket.objects, each)
    assert bucket.stored_keys() == [KEY, f"redriven/{KEY}"]
    assert list(bucket.objects.read_accepted(KEY).letters) == LETTERS
    bucket.objects.remove(KEY, bucket.objects.read_letters(KEY).version)
    assert bucket.stored_keys() == [f"redriven/{KEY}"]


def test_where_nothing_was_accepted_nothing_is_kept(bucket):
    accept(bucket.objects)
    assert bucket.stored_keys() == []


def test_of_two_that_save_at_once_neither_undoes_what_the_other_kept(s3_bucket):
    both_have_read = threading.Barrier(2, timeout=10)

    class Meeting:
        """A client that meets the other's between reading and writing, the first time."""

        has_met = False

        def __getattr__(self, name):
            return getattr(s3_bucket.s3, name)

        def put_object(self, **request):
            if not self.has_met:
                self.has_met = True
                both_have_read.wait()
            return s3_bucket.s3.put_object(**request)

    def save(each):
        accept(DeadLetterObjects(Meeting(), s3_bucket.name), each)

    for _ in range(2):  # one makes the object, or adds to it; the other is overtaken
        threads = [threading.Thread(target=save, args=[each]) for each in LETTERS]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(each.data for each in s3_bucket.objects.read_accepted(KEY).letters) == [b"\x00\xff"] * 2 + [b"{"] * 2


def test_keys_are_listed_in_order_beyond_one(bucket):
    keys = [f"dead-letters/a/{number}" for number in range(5)]
    for key in [*keys, "dead-letters/b", "redriven/dead-letters/a/7"]:
        bucket.put(key, b"")
    listed = [key for some in bucket.objects.list_keys("dead-letters/a/", keys[1]) for key in some]
    assert listed == keys[2:]


def test_a_bucket_that_is_not_there_is_transient_for_redrive_whose_attempts_are_counted(client_of):
    objects = DeadLetterObjects(client_of("s3"), "no-such-bucket-of-letters")
    for call in (lambda: objects.read_letters(KEY), lambda: list(objects.list_keys(KEY))):
        with pytest.raises(TransientError, match="NoSuchBucket"):
            call()


# ---- for those who ask


def put_as_ingest_does(bucket, number, arrived_at_ms):
    rejected = {0: (record(b"", number, arrived_at_ms=arrived_at_ms), [Rejected(REFUSAL, "ada", None, b"x")])}
    assert DeadLettersBucket(lambda: bucket.s3, bucket.name).put_dead_letters(STREAM, SHARD, rejected, PLENTY_MS) == {}


REFUSAL = Refusal(Reason.INVALID, "wrong")


def test_objects_are_listed_by_day_the_newest_first(s3_bucket):
    for number, arrived_at_ms in ((1, NOON_MS), (2, NOON_MS - 2 * DAY_MS), (3, NOON_MS - 9 * DAY_MS)):
        put_as_ingest_does(s3_bucket, number, arrived_at_ms)
    s3_bucket.put(GIVEN_UP, undeliverable(b"{}"))
    reader = DeadLettersReader(s3_bucket.s3, s3_bucket.name)
    listed = reader.list_objects(*EVERY_DAY, PLENTY_MS)
    assert [each.day for each in listed.objects] == ["2026-11-24", "2026-11-23", "2026-11-22", "2026-11-15"]
    assert listed.is_whole
    two = reader.list_objects("2026-11-22", "2026-11-24", PLENTY_MS)
    assert [each.day for each in two.objects] == ["2026-11-23", "2026-11-22"]
    assert [letter.data for letter in reader.read_all()] == [b"x", b"{}", b"x", b"x"]


def test_of_a_day_with_more_objects_than_are_listed_the_list_is_not_whole(s3_bucket):
    for number in range(1_001):
        s3_bucket.put(f"dead-letters/{STREAM}/2026-11-24/{SHARD}/{number}.jsonl.gz", b"")
    reader = DeadLettersReader(s3_bucket.s3, s3_bucket.name)
    listed = reader.list_objects(*EVERY_DAY, PLENTY_MS, a_day_max=1_000)
    assert (len(listed.objects), listed.is_whole) == (1_000, False)
    assert reader.list_objects(*EVERY_DAY, PLENTY_MS).is_whole


def test_objects_are_read_without_what_was_accepted_and_one_that_is_gone_is_empty(s3_bucket):
    s3_bucket.put(KEY, letters_object(*LETTERS))
    reader = DeadLettersReader(s3_bucket.s3, s3_bucket.name)
    (stored,) = reader.list_objects(*EVERY_DAY, PLENTY_MS).objects
    assert reader.read_objects([stored], read_whole, lambda: PLENTY_MS) == [LETTERS]
    accept(s3_bucket.objects, LETTERS[0])
    assert reader.read_objects([stored], read_whole, lambda: PLENTY_MS) == [LETTERS[1:]]
    s3_bucket.objects.remove(KEY, s3_bucket.objects.read_letters(KEY).version)
    assert reader.read_objects([stored], read_whole, lambda: PLENTY_MS) == [[]]
    assert reader.read_objects([stored], read_whole, lambda: 0) == [None]


def read_whole(_, letters):
    return list(letters)


# ---- the queue


def test_messages_are_sent_ten_a_request_and_all_arrive(client_of):
    sqs = client_of("sqs")
    url = sqs.create_queue(QueueName=f"redrive{next(stages)}")["QueueUrl"]
    bodies = [orjson.dumps({"key": f"dead-letters/é/{number}"}).decode() for number in range(25)]
    RedriveQueue(sqs, url).send_messages(bodies, PLENTY_MS)
    received = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        received += [message["Body"] for message in messages]
    assert sorted(received) == sorted(bodies)


def test_a_queue_that_was_not_in_time_is_transient(client_of):
    sqs = client_of("sqs")
    url = sqs.create_queue(QueueName=f"redrive{next(stages)}")["QueueUrl"]
    with pytest.raises(TransientError):
        RedriveQueue(sqs, url).send_messages(["{}"], 0)
