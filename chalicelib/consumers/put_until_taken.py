"""Records put on the stream, and again what it did not take, after pauses that grow: a shard may be too busy."""

from collections.abc import Callable, Iterator, Sequence

from chalicelib.consumers.ports import RecordStream, StreamRecord
from chalicelib.errors import TransientError

PAUSE_MS_FIRST = 100  # then twice as long each time
PAUSE_MS_MAX = 5_000


def put_until_taken(
    stream: RecordStream,
    records: Sequence[StreamRecord],
    time_left_ms: Callable[[], int],
    pause: Callable[[int], None],
) -> Iterator[Sequence[int]]:
    """Put these records, and those again that the stream did not take, until it has taken all.

    Shapes: records are one request's; `pause` waits so many milliseconds.
    Returns: after each try, the places of those that the stream has taken by it.
    Raises: TransientError when time runs out or the stream does not answer: it may then have taken more than it said.
    """
    left: Sequence[int] = range(len(records))
    pause_ms = PAUSE_MS_FIRST
    while True:
        refused = set(stream.put_records([records[place] for place in left], time_left_ms()))
        yield [place for number, place in enumerate(left) if number not in refused]
        left = [place for number, place in enumerate(left) if number in refused]
        if not left:
            return
        if time_left_ms() <= pause_ms:
            raise TransientError("out of time")
        pause(pause_ms)
        pause_ms = min(2 * pause_ms, PAUSE_MS_MAX)
