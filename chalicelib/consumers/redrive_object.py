"""The redrive of one object: its letters go back on the events stream, each until the stream has accepted it once.

A letter is sent at least once, and never again once it is remembered as accepted. What is sent twice because an
invocation died in between comes soon enough for the id log to know it again; what is redriven days later is beyond the
id log, and is known by what is kept under `redriven/`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum

from msgspec import Struct

from chalicelib.consumers.ports import AcceptedLetters, LetterObjects, RecordStream, StreamRecord
from chalicelib.consumers.put_requests import in_requests
from chalicelib.consumers.put_until_taken import put_until_taken
from chalicelib.consumers.redrive_record import check, record_of
from chalicelib.errors import TransientError
from chalicelib.records.letter import Letter, identities, pending
from chalicelib.records.rejection import Reason

RESERVE_MS = 20_000  # kept back of the invocation's time, to save what was accepted and to answer


class Outcome(StrEnum):
    """What became of a message."""

    REDRIVEN = "redriven"  # the stream has accepted every letter; the object is under redriven/
    IN_PART = "redriven in part"  # every letter with the reason asked for; for the others the object stays
    TOO_LARGE = "too large"  # every letter but those too large for a record, even compressed; for them it stays
    NO_EVENT = "no event"  # every letter but those that never were on the stream (unsendable); for them it stays
    FANNED_OUT = "fanned out"  # a message for each object under the prefix has been sent
    MISSING = "missing"  # there is no such object: it was redriven before
    BAD_MESSAGE = "bad message"  # it asks for nothing that can be done
    CUT_SHORT = "cut short"  # the object ends too soon; nothing of it was sent
    CORRUPT = "corrupt"  # the object is something else; nothing of it was sent
    FAILED = "failed"  # the world's fault, out of time too; what was accepted is remembered if it could be saved


STAYS = (Outcome.TOO_LARGE, Outcome.NO_EVENT, Outcome.IN_PART)  # the first that holds is told
COME_AGAIN = {Outcome.BAD_MESSAGE, Outcome.CUT_SHORT, Outcome.CORRUPT, Outcome.FAILED}


class _Sending(Struct, frozen=True):
    """A letter, and the record that it is put as."""

    letter: Letter
    record: StreamRecord

    @property
    def memory_bytes(self) -> int:
        return max(len(self.letter.data), self.record.payload_bytes)


class ObjectRedrive:
    """Redrives one object after the other. `pause` waits so many milliseconds."""

    def __init__(self, objects: LetterObjects, stream: RecordStream, pause: Callable[[int], None]) -> None:
        self._objects = objects
        self._stream = stream
        self._pause = pause

    def __call__(
        self, key: str, reason: str | None, remaining_ms: Callable[[], int], accepted: Counter[str]
    ) -> Outcome:
        """Put the object's letters back on the stream, or only those with this reason; count those accepted.

        Raises: CutShortError, CorruptError: nothing of it was sent. TransientError: some of it may have been, and what
                was accepted is remembered if it could be saved.
        """
        stored = self._objects.read_letters(key)
        if stored is None:
            return Outcome.MISSING
        for letter in _in_time(stored.letters, remaining_ms):  # to its end, before anything of it is sent
            check(letter)
        before = self._objects.read_accepted(key)
        known = identities(_in_time(before.letters, remaining_ms) if before else ())
        again = self._objects.read_letters(key, stored.version)
        if again is None:
            return Outcome.MISSING
        left: set[Outcome] = set()
        letters = pending(_in_time(again.letters, remaining_ms), known)
        requests = in_requests(_sendings(letters, reason, left), lambda sending: sending.memory_bytes)
        is_done = False
        with self._objects.accepting(key) as accepting:
            try:
                for request in requests:
                    self._put(request, accepting, accepted, remaining_ms)
                is_done = not left
            finally:
                if before or not is_done:
                    accepting.save()
        if not is_done:
            return next(outcome for outcome in STAYS if outcome in left)
        if before:
            self._objects.remove(key, stored.version)
        else:
            self._objects.move(key, stored.version)
        return Outcome.REDRIVEN

    def _put(
        self,
        sendings: Sequence[_Sending],
        accepting: AcceptedLetters,
        accepted: Counter[str],
        remaining_ms: Callable[[], int],
    ) -> None:
        """Put these, and those again that the stream did not take, until it has taken all.

        Raises: TransientError when time runs out.
        """
        records = [each.record for each in sendings]
        for taken in put_until_taken(self._stream, records, lambda: time_left(remaining_ms), self._pause):
            for letter in [sendings[place].letter for place in taken]:
                accepting.add(letter)
                accepted[letter.reason] += 1


def time_left(remaining_ms: Callable[[], int]) -> int:
    """What is left of the invocation's time for work."""
    return max(0, remaining_ms() - RESERVE_MS)


def _in_time(letters: Iterable[Letter], remaining_ms: Callable[[], int]) -> Iterator[Letter]:
    for letter in letters:
        if not time_left(remaining_ms):
            raise TransientError("out of time")
        yield letter


def _sendings(letters: Iterable[Letter], reason: str | None, left: set[Outcome]) -> Iterator[_Sending]:
    """What there is to put for these letters; `left` is told why some are not put."""
    for letter in letters:
        if reason not in (None, letter.reason):
            left.add(Outcome.IN_PART)
        elif letter.reason == Reason.UNSENDABLE:
            left.add(Outcome.NO_EVENT)
        elif record := record_of(letter):
            yield _Sending(letter, record)
        else:
            left.add(Outcome.TOO_LARGE)
