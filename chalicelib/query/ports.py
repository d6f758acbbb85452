"""What the queries need of the world, as protocols: `aws/` fulfils them on AWS, tests with fakes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from chalicelib.records.letter import Letter

R = TypeVar("R")


class LetterObject(Struct, frozen=True):
    """An object of dead letters; day is RFC 3339's, in UTC."""

    key: str
    day: str
    size_bytes: int


class ObjectList(Struct, frozen=True):
    """Objects, the newest first; not whole when there may be more."""

    objects: Sequence[LetterObject]
    is_whole: bool


class LettersReader(Protocol):
    """Reads what waits to be redriven."""

    def list_objects(self, start_day: str, end_day: str, timeout_ms: int, a_day_max: int | None = None) -> ObjectList:
        """List the objects of the days in `[start_day, end_day)`, newest first; of one day at most so many.

        Raises: TransientError when the days could not be listed in time; objects that could not be make it not whole.
        """

    def read_objects(
        self,
        objects: Sequence[LetterObject],
        read: Callable[[LetterObject, Iterator[Letter]], R],
        time_left_ms: Callable[[], int],
    ) -> Sequence[R | None]:
        """Have the letters of these objects read, some at once. Returns: what `read` did, None where not in time.

        Shapes: the letters raise LettersError as they are asked for; an object that is gone has none.
        """
