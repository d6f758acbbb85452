"""A record to typed events: the whole way from bytes to what is counted or rejected.

What becomes of a record is a function of its bytes and its arrival, never of the wall clock or of chance: only so can
two attempts at one batch agree. A record is decoded as a whole, and plain records, of one event each, a stretch of them
at once; only when something in it is bad is it gone through one by one, to keep the good and name the bad.
"""

from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Clamped, Context, Decimal, DecimalException, InvalidOperation, Overflow, Rounded
from itertools import compress, groupby
from math import floor
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct

from chalicelib.change import SIGNS, Change
from chalicelib.errors import InvariantError
from chalicelib.records import kpl
from chalicelib.records.batch import Record
from chalicelib.records.change_events import change_event
from chalicelib.records.cloudevents import CloudEvent, EventDecoder, event_class, explain, shorten
from chalicelib.records.compression import EXPANDED_BYTES_MAX, CompressionError, expand, is_compressed
from chalicelib.records.fingerprint import contents, identities
from chalicelib.records.rejection import Reason, Refusal, Rejected
from chalicelib.records.table_changes import TableChange, read_change

# The numbers that can be measured: 38 digits (as many as DynamoDB keeps), below 10^19 and at most 37 decimals, trailing
# zeros included. Only bounded numbers can be summed exactly in an item of bounded size.
MEASURED = Context(prec=38, Emin=0, Emax=18, traps=[Clamped, InvalidOperation, Overflow, Rounded])
FAILED_EXPANSION_BYTES = 512 * 1024  # what a payload that cannot be expanded is taken to have cost
STRETCH_RECORDS_MAX = 200  # plain records decoded at once; more would have left the processor's cache by the end
STRETCH_RECORDS_MIN = 6  # halved no further for something bad in it: best for one in a hundred and for one in two
LINES_MAX = 100_000  # in one record; each line that is no event costs over 500 bytes of memory
DIMENSION_CHARACTERS_MAX = 1_024  # a group is named by its dimensions: in items, in memory, in the cursors of answers
NONE = array("Q")
TEXTS_SHARED_MAX = 16_384  # then it begins anew: some 1 MB of names as they are
TOGETHER_RULE = f"its payloads expand beyond {EXPANDED_BYTES_MAX} bytes or {LINES_MAX} lines together"
MEASURED_RULE = "a measured number is finite, below 10^19, and has at most 38 digits and 37 decimals"

_time_of = attrgetter("time")
_data_of = attrgetter("data")
_arrival_of = attrgetter("arrived_at_ms")
Getter = tuple[str, Callable[[Any], Any]]  # a field of data, and how to get it


class EventType(Struct, frozen=True):
    """What the decoder must know of an event type.

    Shapes: measured names the number fields of data that some metric measures, dimensions the text fields that some
            metric groups by; of a change these are its row's. distinct names the fields whose values some metric tells
            apart: of a value only a hash is kept, so it may be as large as it likes. No change has any.
    Units:  lateness_ms is how far before its arrival an event's time may lie.
    """

    data_class: type[Struct]
    lateness_ms: int
    measured: tuple[str, ...] = ()
    dimensions: tuple[str, ...] = ()
    distinct: tuple[str, ...] = ()


Columns = Mapping[str, Sequence[Any]]  # of rows of one event type: a field's values, row by row


class Part(Struct, frozen=True, gc=False):
    """Of a record, the events of one type as rows: their times and those of their fields that some metric looks at.

    Shapes: an event is a row, its data. But a change is up to two; its columns have SIGNS besides, and what is measured
            of an old row is negated.
    Units:  first_ms and last_ms are the least and the greatest time, epoch milliseconds, UTC.
    """

    kind: type[CloudEvent]
    times: Sequence[datetime]
    columns: Columns
    first_ms: int
    last_ms: int

    @property
    def times_ms(self) -> list[int]:
        """The rows' times, epoch milliseconds, UTC."""
        return list(map(_time_ms, self.times))


class Decoded(Struct, frozen=True):
    """What one record holds; or a stretch of consecutive records, each of which is one good event and nothing else.

    Shapes: of each event `texts` has the JSON, and `numbers` the place of its user record in the aggregate, None
            outside one; identities and contents are fingerprints. parts tell the same events by type; without any,
            `Decoder.parts_of` makes them. events are the same once more, or none of them: whoever has a record decoded
            says whether to keep them. misplaced is how many user records the KPL sends again because another shard
            takes them; duplicates, how many events were counted before. records is how many records it is of: of
            several, each has the event at its own place. `records.stretches` cuts them.
    Why all this here, and no events: what was just decoded is still in the processor's cache, later it costs twice. Of
            10 000 events, kept until they were counted, that made a sixth of the handler.
    """

    texts: Sequence[bytes]
    numbers: Sequence[int | None]
    identities: "array[int]" = NONE
    contents: "array[int]" = NONE
    parts: Sequence[Part] = ()
    events: Sequence[CloudEvent] = ()
    rejected: Sequence[Rejected] = ()
    aggregate: kpl.Aggregate | None = None
    misplaced: int = 0
    duplicates: int = 0
    records: int = 1

    def reject(self, place: int, refusal: Refusal, record: Record) -> Rejected:
        """What becomes of the event at this place of the record when it cannot be counted after all."""
        number = self.numbers[place]
        key = record.partition_key if number is None or not self.aggregate else self.aggregate.partition_key(number)
        return Rejected(refusal, key, number, self.texts[place])

    def without(self, places: Collection[int], rejected: Sequence[Rejected]) -> "Decoded":
        """The same without the events at these places: so many are rejected after all, the others are duplicates."""
        dropped = set(places)
        kept = [place not in dropped for place in range(len(self.texts))]
        return msgspec.structs.replace(
            self,
            events=list(compress(self.events, kept)),
            texts=list(compress(self.texts, kept)),
            numbers=list(compress(self.numbers, kept)),
            identities=array("Q", compress(self.identities, kept)),
            contents=array("Q", compress(self.contents, kept)),
            parts=(),
            rejected=[*self.rejected, *rejected],
            duplicates=self.duplicates + len(places) - len(rejected),
        )


Keep = Callable[[Sequence[CloudEvent]], bool]


def _keep_all(_events: Sequence[CloudEvent]) -> bool:
    return True


class SharedTexts:
    """Gives equal texts as one object, which is hashed and compared once: that halves grouping by them.

    Why not `sys.intern`: it takes four times as long for texts that it does not know, and again when they go.
    """

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def of(self, texts: list[str], bytes_max: int) -> list[str]:
        """The same texts.

        Shapes: none is longer than bytes_max. Those too long for a dimension are about to be refused, and not kept:
                thousands of them, out of records that are small while compressed, would take all memory.
        """
        if bytes_max > DIMENSION_CHARACTERS_MAX and max(map(len, texts)) > DIMENSION_CHARACTERS_MAX:
            return texts
        if len(self._texts) > TEXTS_SHARED_MAX:
            self._texts.clear()
        return list(map(self._texts.setdefault, texts, texts))


class _Rules(Struct, frozen=True):
    """What the events of one type must keep to, beyond what their data class checks; and what metrics look at."""

    is_change: bool
    lateness_ms: int
    measured: Sequence[Getter]
    dimensions: Sequence[Getter]
    measured_or_distinct: Sequence[Getter]  # and no dimension
    shared: SharedTexts

    def part(self, kind: type[CloudEvent], events: Sequence[CloudEvent], bytes_max: int) -> Part:
        times = list(map(_time_of, events))
        first_ms, last_ms = _time_ms(min(times)), _time_ms(max(times))
        data = list(map(_data_of, events))
        if self.is_change:
            times, columns = self._rows_of_changes(data, times)
        else:
            columns = {field: list(map(value_of, data)) for field, value_of in self.measured_or_distinct}
            columns |= {
                field: self.shared.of(list(map(value_of, data)), bytes_max) for field, value_of in self.dimensions
            }
        return Part(kind, times, columns, first_ms, last_ms)

    def _rows_of_changes(
        self, changes: Sequence[Any], times: Sequence[datetime]
    ) -> tuple[list[datetime], dict[str, Sequence[Any]]]:
        signed = [
            (time, row, sign)
            for time, change in zip(times, changes, strict=True)
            for row, sign in ((change.old, -1), (change.new, 1))
            if row is not None
        ]
        columns: dict[str, Sequence[Any]] = {
            field: [value_of(row) for _, row, _ in signed] for field, value_of in self.dimensions
        }
        for field, value_of in self.measured:
            columns[field] = [value_of(row) if sign > 0 else _negated(value_of(row)) for _, row, sign in signed]
        columns[SIGNS] = [sign for _, _, sign in signed]
        return [time for time, _, _ in signed], columns

    def refusal(self, part: Part, bytes_max: int, arrived_at_ms: int) -> Refusal | None:
        if part.first_ms < arrived_at_ms - self.lateness_ms:
            return Refusal(Reason.TOO_LATE, f"its time lies over {self.lateness_ms} ms before its arrival")
        path = "$.data.(old|new)" if self.is_change else "$.data"
        for field, _ in self.measured:
            if not _all_measurable(part.columns[field]):
                return Refusal(Reason.INVALID, f"{MEASURED_RULE} - at `{path}.{field}`")
        if bytes_max <= DIMENSION_CHARACTERS_MAX:
            return None
        for field, _ in self.dimensions:
            if max(map(len, part.columns[field])) > DIMENSION_CHARACTERS_MAX:
                rule = f"a dimension has at most {DIMENSION_CHARACTERS_MAX} characters"
                return Refusal(Reason.INVALID, f"{rule} - at `{path}.{field}`")
        return None


class Decoder:
    """Decodes records of the declared event types. What it keeps, texts that come often, changes nothing.

    Shapes: tables, by name, says of which event type a table's changes are that DynamoDB itself puts on the stream.
    Units:  future_tolerance_ms is how far after its arrival an event's time may lie: producers' clocks differ.
    """

    def __init__(
        self, event_types: Mapping[str, EventType], future_tolerance_ms: int, tables: Mapping[str, str] | None = None
    ) -> None:
        self._tables = tables or {}
        self.event_classes = {name: event_class(name, declared.data_class) for name, declared in event_types.items()}
        self._events = EventDecoder(self.event_classes)
        self._future_tolerance_ms = future_tolerance_ms
        shared = SharedTexts()
        self._rules = {
            self.event_classes[name]: _Rules(
                issubclass(declared.data_class, Change),
                declared.lateness_ms,
                _getters(declared.measured),
                _getters(declared.dimensions),
                _getters(
                    field
                    for field in dict.fromkeys((*declared.measured, *declared.distinct))
                    if field not in declared.dimensions
                ),
                shared,
            )
            for name, declared in event_types.items()
        }

    def decode_all(
        self, records: Sequence[Record], hash_keys: range = kpl.HASH_KEYS, keep: Keep = _keep_all
    ) -> list[Decoded]:
        """Decode consecutive records: the same as `decode` says of each, but a stretch of plain ones told as one.

        Why: what there is to do for a record, and not for its events, costs five times what its one event does.
        """
        decoded: list[Decoded] = []
        for is_whole, group in groupby(records, _opens_as_aggregate):
            if is_whole:
                decoded += [self.decode(record, hash_keys, keep) for record in group]
                continue
            plain = list(group)
            for start in range(0, len(plain), STRETCH_RECORDS_MAX):
                decoded += self._decode_stretch(plain[start : start + STRETCH_RECORDS_MAX], keep)
        return decoded

    def _decode_stretch(self, records: Sequence[Record], keep: Keep) -> list[Decoded]:
        """Decode plain records as one, or those halves of them in which all are good, the others each by itself."""
        decoded = self._decode_good([record.data for record in records], list(map(_arrival_of, records)), keep)
        if decoded is not None:
            return [msgspec.structs.replace(decoded, numbers=[None] * len(records), records=len(records))]
        if len(records) <= STRETCH_RECORDS_MIN:
            return [self.decode(record, keep=keep) for record in records]
        half = len(records) // 2
        return [*self._decode_stretch(records[:half], keep), *self._decode_stretch(records[half:], keep)]

    def decode(self, record: Record, hash_keys: range = kpl.HASH_KEYS, keep: Keep = _keep_all) -> Decoded:
        """Decode one record; never raises for what a producer can put on the stream.

        Shapes: hash_keys are those that the record's shard takes. A user record of the KPL's that another shard takes
                is dropped, for the KPL sends it there again; other aggregators send nothing again. keep tells of the
                record's events whether they are looked at once more.
        Source: amazon-kinesis-producer, `Retrier::succeed_if_correct_shard`.
        """
        if not kpl.is_aggregate(record.data):
            return self._decode_payloads(record, [record.data], [None], None, keep)
        try:
            aggregate = kpl.deaggregate(record.data)
        except kpl.BrokenAggregateError as error:
            return _rejected_whole(record, Refusal(Reason.BROKEN_AGGREGATE, str(error)))
        payloads = aggregate.payloads
        if record.partition_key != kpl.SIGNATURE or hash_keys == kpl.HASH_KEYS:
            return self._decode_payloads(record, payloads, range(len(payloads)), aggregate, keep)
        placed = aggregate.within(hash_keys)
        decoded = self._decode_payloads(record, [payloads[number] for number in placed], placed, aggregate, keep)
        return msgspec.structs.replace(decoded, misplaced=len(payloads) - len(placed))

    def _decode_payloads(
        self,
        record: Record,
        payloads: Sequence[bytes],
        numbers: Sequence[int | None],
        aggregate: kpl.Aggregate | None,
        keep: Keep,
    ) -> Decoded:
        texts = list(payloads)  # no longer than here: payloads may be made when they are asked for
        good = self._decode_good(texts, [record.arrived_at_ms], keep)
        if good is None:
            return self._decode_one_by_one(record, payloads, numbers, aggregate, keep)
        return msgspec.structs.replace(good, texts=payloads, numbers=numbers, aggregate=aggregate)

    def _decode_good(self, texts: Sequence[bytes], arrivals_ms: Sequence[int], keep: Keep) -> Decoded | None:
        """What these texts hold, if each is an event that can be counted; None when one may not be.

        Shapes: arrivals_ms has each text's arrival, or one that all share. Numbers are for the caller to add.
        Why the extremes of them: when those hold, each text's own does; when not, the records are asked one by one.
        """
        bytes_max = max(map(len, texts), default=0)
        try:
            events = self._events.decode_all(texts)
            parts = self._parts(events, bytes_max)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  whatever it is, going through one by one finds and names it
            return None
        first_ms, last_ms = min(arrivals_ms), max(arrivals_ms)
        if any(self._refusal(part, bytes_max, first_ms, last_ms) for part in parts):
            return None
        return Decoded(texts, (), identities(events), contents(texts), parts, events if keep(events) else ())

    def _decode_one_by_one(
        self,
        record: Record,
        payloads: Sequence[bytes],
        numbers: Sequence[int | None],
        aggregate: kpl.Aggregate | None,
        keep: Keep,
    ) -> Decoded:
        kept: list[tuple[CloudEvent, bytes, int | None]] = []
        rejected: list[Rejected] = []
        bytes_left = EXPANDED_BYTES_MAX  # of all payloads together: a small record may hold many bombs
        for number, payload in zip(numbers, payloads, strict=True):
            text, refusal = _expanded(payload)
            bytes_left -= len(text) if refusal is None else FAILED_EXPANSION_BYTES
            if bytes_left < 0 or len(kept) + len(rejected) > LINES_MAX:
                return _rejected_whole(record, Refusal(Reason.MALFORMED, TOGETHER_RULE))
            outcomes = [(payload, refusal)] if refusal else self._decode_text(payload, text, record.arrived_at_ms)
            for data, outcome in outcomes:
                if isinstance(outcome, CloudEvent):
                    kept.append((outcome, data, number))
                elif aggregate and number is not None:
                    rejected.append(Rejected(outcome, aggregate.partition_key(number), number, data))
                else:
                    rejected.append(Rejected(outcome, record.partition_key, None, data))
        events = [event for event, _, _ in kept]
        texts, kept_numbers = [text for _, text, _ in kept], [number for _, _, number in kept]
        return Decoded(
            texts,
            kept_numbers,
            identities(events),
            contents(texts),
            self._parts(events, max(map(len, texts), default=0)),
            events if keep(events) else (),
            rejected=rejected,
            aggregate=aggregate,
        )

    def _decode_text(
        self, payload: bytes, text: bytes, arrived_at_ms: int
    ) -> Iterator[tuple[bytes, CloudEvent | Refusal]]:
        """Give each event that the payload holds, with its JSON, and each refusal, with the bytes to keep of it."""
        whole = self._decode_object(text, arrived_at_ms)
        if not _is_malformed(whole):
            yield text.strip() if isinstance(whole, CloudEvent) else payload, whole
            return
        if text.count(b"\n") > LINES_MAX:
            yield payload, Refusal(Reason.MALFORMED, f"it has over {LINES_MAX} lines")
            return
        lines = [line for line in text.split(b"\n") if line.strip()]
        outcomes = [self._decode_object(line, arrived_at_ms) for line in lines]
        if all(map(_is_malformed, outcomes)):
            yield payload, whole  # not one line is JSON: it is no JSON Lines either, and kept as one piece
        else:
            yield from zip(lines, outcomes, strict=True)

    def decode_event(self, text: bytes) -> CloudEvent | Refusal:
        """Decode one JSON object, whenever it may have arrived; DynamoDB's own record of a change too."""
        try:
            event = self._events.decode(text)
            _time_ms(event.time)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  a data class may raise anything; each is the producer's fault
            change = read_change(text)  # only now, so that no event pays for it
            return self._decode_change(change) if change else explain(text, error, self.event_classes)
        return event

    def _decode_change(self, change: TableChange | Refusal) -> CloudEvent | Refusal:
        if isinstance(change, Refusal):
            return change
        if change.table not in self._tables:
            return Refusal(Reason.UNKNOWN_TYPE, shorten(f"no event type is that of the table {change.table!r}"))
        try:
            text = change_event(change, self._tables[change.table])
        except (ValueError, RecursionError) as error:
            return Refusal(Reason.INVALID, shorten(str(error)))
        return self.decode_event(text)

    def _decode_object(self, text: bytes, arrived_at_ms: int) -> CloudEvent | Refusal:
        event = self.decode_event(text)
        if isinstance(event, Refusal):
            return event
        (part,) = self._parts([event], len(text))
        return self._refusal(part, len(text), arrived_at_ms, arrived_at_ms) or event

    def parts_of(self, decoded: Decoded) -> Sequence[Part]:
        """The record's events by type."""
        if decoded.parts or not decoded.texts:
            return decoded.parts
        events = list(map(self._decode_again, decoded.texts))
        return self._parts(events, max(map(len, decoded.texts)))

    def _decode_again(self, text: bytes) -> CloudEvent:
        """The event that the text came to before.

        Raises: InvariantError when it does so no more: its id would be remembered, and the event not counted.
        """
        event = self.decode_event(text)
        if isinstance(event, Refusal):
            raise InvariantError(f"an event that was good is {event.reason} when it is read again")
        return event

    def _parts(self, events: Sequence[CloudEvent], bytes_max: int) -> list[Part]:
        kinds = dict.fromkeys(map(type, events))
        if len(kinds) == 1:
            return [self._rules[kind].part(kind, events, bytes_max) for kind in kinds]
        by_kind = {kind: [event for event in events if type(event) is kind] for kind in kinds}
        return [self._rules[kind].part(kind, mine, bytes_max) for kind, mine in by_kind.items()]

    def _refusal(self, part: Part, bytes_max: int, first_arrived_at_ms: int, last_arrived_at_ms: int) -> Refusal | None:
        """Why not all of these well-formed events can be counted; None when they can, whichever arrived when.

        Shapes: bytes_max is the size of the largest one's text: what is short holds nothing that is too long.
        """
        if part.last_ms > first_arrived_at_ms + self._future_tolerance_ms:
            return Refusal(Reason.FROM_THE_FUTURE, f"its time lies over {self._future_tolerance_ms} ms after arrival")
        return self._rules[part.kind].refusal(part, bytes_max, last_arrived_at_ms)


def _opens_as_aggregate(record: Record) -> bool:
    return kpl.is_aggregate(record.data)


def _expanded(payload: bytes) -> tuple[bytes, Refusal | None]:
    """The payload's text, or why it has none."""
    try:
        return (expand(payload) if is_compressed(payload) else payload), None
    except CompressionError as error:
        return b"", Refusal(Reason.MALFORMED, str(error))


def _rejected_whole(record: Record, refusal: Refusal) -> Decoded:
    """A record of which nothing can be told apart, or too much, is kept as one piece."""
    return Decoded((), (), rejected=[Rejected(refusal, record.partition_key, None, record.data)])


def _time_ms(time: datetime) -> int:
    """As epoch milliseconds, cut and not rounded: rounding could carry an event into the next window."""
    return floor(time.timestamp() * 1000)


def _getters(fields: Iterable[str]) -> list[Getter]:
    return [(field, attrgetter(field)) for field in fields]


def _negated(number: int | Decimal) -> int | Decimal:
    return number.copy_negate() if isinstance(number, Decimal) else -number  # unlike `-number` it does not round


def _is_malformed(outcome: CloudEvent | Refusal) -> bool:
    return isinstance(outcome, Refusal) and outcome.reason is Reason.MALFORMED


def _all_measurable(values: Iterable[Any]) -> bool:
    try:
        return all(map(Decimal.is_finite, map(MEASURED.plus, values)))
    except DecimalException:
        return False
