"""Threads that read, invoke and report, with a stream and a function made up."""

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError

from localstage.mapping import MappingOptions
from localstage.poller import EventSourceMapping, ShardProgress
from localstage.redelivery import Redelivery
from localstage.runtime import Answer, FunctionClosedError
from localstage.source import EncodedRecord, Shard

THROTTLED = ClientError({"Error": {"Code": "ProvisionedThroughputExceededException"}}, "GetRecords")


@dataclass
class FakeReader:
    """Answers to reads, one after the other; an error is raised; at the end the shard has ended."""

    answers: list[Any]

    def read(self, limit: int) -> Sequence[EncodedRecord] | None:
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


@dataclass
class FakeSource:
    answers_by_shard: dict[Shard, list[Any]]
    arn: str = "arn:stream"
    batch_info: str = "KinesisBatchInfo"

    def shards(self) -> list[Shard]:
        return list(self.answers_by_shard)

    def open(self, shard: Shard) -> FakeReader:
        return FakeReader(list(self.answers_by_shard[shard]))


@dataclass
class FakeFunction:
    """Notes the numbers that it is given, and answers as it is told."""

    answer: Callable[[list[int]], Any] = lambda numbers: None
    spec: Any = field(default_factory=lambda: SimpleNamespace(name="f", arn="arn:f"))
    given: list[list[int]] = field(default_factory=list)

    def invoke(self, event: bytes) -> Answer:
        numbers = [record["n"] for record in json.loads(event)["Records"]]
        self.given.append(numbers)
        result = self.answer(numbers)
        if isinstance(result, Exception):
            raise result
        is_error = isinstance(result, dict) and "errorType" in result
        return Answer(json.dumps(result).encode(), "request", function_error=is_error)

    def numbers(self) -> list[int]:
        return [number for numbers in self.given for number in numbers]


@dataclass
class FakeDestination:
    sent: list[Any] = field(default_factory=list)

    def send(self, discarded: Any) -> None:
        self.sent.append(discarded)


def records(*numbers: int) -> list[EncodedRecord]:
    return [EncodedRecord(f"{number:030d}", 0, b'{"n":%d}' % number) for number in numbers]


def run(
    source: FakeSource,
    function: FakeFunction,
    until: Callable[[], bool],
    destination: FakeDestination | None = None,
    progress: dict[str, ShardProgress] | None = None,
    **options: Any,
) -> None:
    mapping = EventSourceMapping(
        source,
        function,  # type: ignore[arg-type]
        MappingOptions(**options),
        destination,  # type: ignore[arg-type]
        Redelivery(0),
        progress=progress,
    )
    mapping.start()
    pause = threading.Event()
    for _ in range(500):
        if until():
            break
        pause.wait(0.02)
    mapping.stop()
    mapping.join()
    assert until(), function.given


def test_children_are_read_when_their_parent_is_drained() -> None:
    #   a [1 2] ──┬── b [3]
    #             └── c [4]
    family = {
        Shard("a", frozenset()): [records(1), records(2)],
        Shard("b", frozenset({"a"})): [records(3)],
        Shard("c", frozenset({"a"})): [records(4)],
    }
    function = FakeFunction()
    run(FakeSource(family), function, until=lambda: len(function.numbers()) == 4)
    assert function.numbers()[:2] == [1, 2]
    assert sorted(function.numbers()[2:]) == [3, 4]


def test_a_read_that_is_throttled_is_tried_again() -> None:
    source = FakeSource({Shard("a", frozenset()): [THROTTLED, records(1)]})
    function = FakeFunction()
    run(source, function, until=lambda: function.given == [[1]])


def test_what_is_given_up_is_reported_and_the_shard_goes_on() -> None:
    source = FakeSource({Shard("a", frozenset()): [records(1), records(2)]})
    error = {"errorType": "ValueError", "errorMessage": "one is poison"}
    function = FakeFunction(answer=lambda numbers: error if numbers == [1] else None)
    destination = FakeDestination()
    run(source, function, lambda: [2] in function.given, destination, maximum_retry_attempts=0)
    (discarded,) = destination.sent
    assert (discarded.condition, discarded.shard_id, discarded.invocations) == ("RetryAttemptsExhausted", "a", 1)
    assert function.given == [[1], [2]]


def test_nothing_is_concluded_from_an_invocation_that_the_end_of_the_stage_cut_off() -> None:
    source = FakeSource({Shard("a", frozenset()): [records(1), records(2)]})
    function = FakeFunction(answer=lambda numbers: FunctionClosedError())
    run(source, function, until=lambda: function.given == [[1]])


def test_a_mapping_made_anew_goes_on_where_the_one_before_was_stopped() -> None:
    #   a [1] [2] ─── b [3]        the first mapping settles 1 and is stopped with 2 under way
    family = {Shard("a", frozenset()): [records(1), records(2)], Shard("b", frozenset({"a"})): [records(3)]}
    progress: dict[str, ShardProgress] = {}
    before = FakeFunction(answer=lambda numbers: FunctionClosedError() if numbers == [2] else None)
    run(FakeSource(family), before, lambda: before.given == [[1], [2]], progress=progress)
    after = FakeFunction()
    run(FakeSource(family), after, lambda: after.given == [[2], [3]], progress=progress)


def test_a_mapping_made_anew_begins_no_shard_again_that_is_done() -> None:
    source, progress = FakeSource({Shard("a", frozenset()): [records(1)]}), {}
    before, after = FakeFunction(), FakeFunction()
    run(source, before, lambda: before.given == [[1]] and progress["a"].state.drained, progress=progress)
    source.answers_by_shard[Shard("b", frozenset({"a"}))] = [records(2)]
    run(source, after, lambda: after.given == [[2]], progress=progress)
