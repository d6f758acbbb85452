"""What waits in a stage's dead letters bucket: every object read once, and what it holds told by reason."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chalicelib.aws.dead_letters_reader import LIST_MS_MAX, DeadLettersReader
from chalicelib.errors import TransientError
from chalicelib.query.ports import LetterObject
from chalicelib.records.letter import Letter, LettersError


def letters_bucket(stage: str) -> str:
    """The bucket's name: the functions' own setting, where their stage has another than the usual one."""
    return os.environ.get("DEAD_LETTERS_BUCKET") or f"highwater-{stage}-dead-letters"


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest letter of a reason; arrived_at is RFC 3339."""

    arrived_at: str
    error: str


@dataclass(slots=True)
class Surveyed:
    """What an object holds that has not been redriven; `fault` says why it cannot be read."""

    key: str
    day: str
    counts: Counter[str] = field(default_factory=Counter)
    newest: dict[str, Newest] = field(default_factory=dict)
    fault: str | None = None

    def add(self, letter: Letter) -> None:
        """Count a letter."""
        self.counts[letter.reason] += 1
        standing = self.newest.get(letter.reason)
        if standing is None or is_before(standing.arrived_at, letter.arrived_at):
            self.newest[letter.reason] = Newest(letter.arrived_at, letter.error)

    def has_arrived_since(self, instant: str) -> bool:
        """Whether any of it arrived then or later. What cannot be read may have."""
        return self.fault is not None or any(not is_before(each.arrived_at, instant) for each in self.newest.values())


def is_before(instant: str, other: str) -> bool:
    """Whether one RFC 3339 instant in UTC is before another, to the second or to the millisecond."""
    return instant.rstrip("Z") < other.rstrip("Z")


def survey(
    reader: DeadLettersReader, objects: Sequence[LetterObject], when_read: Callable[[], object] = lambda: None
) -> list[Surveyed]:
    """Read these objects. Shapes: when_read is called after each, from several threads.

    Raises: TransientError when one could not be read.
    """

    def read(stored: LetterObject, letters: Iterator[Letter]) -> Surveyed:
        surveyed = Surveyed(stored.key, stored.day)
        try:
            for letter in letters:
                surveyed.add(letter)
        except LettersError as error:
            surveyed.fault = str(error)
        when_read()
        return surveyed

    surveyed = reader.read_objects(objects, read, lambda: LIST_MS_MAX)
    read_in_time = [each for each in surveyed if each is not None]
    if len(read_in_time) < len(objects):
        raise TransientError(f"{len(objects) - len(read_in_time)} objects could not be read")
    return read_in_time


def by_reason(surveyed: Iterable[Surveyed]) -> tuple[Counter[str], dict[str, Newest]]:
    """Sum up over objects: counts, and the newest letter of each reason."""
    counts: Counter[str] = Counter()
    newest: dict[str, Newest] = {}
    for each in surveyed:
        counts.update(each.counts)
        for reason, candidate in each.newest.items():
            if reason not in newest or is_before(newest[reason].arrived_at, candidate.arrived_at):
                newest[reason] = candidate
    return counts, newest
