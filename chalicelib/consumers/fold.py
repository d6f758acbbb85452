"""One decoded batch, folded into what it adds to each partial: all of it, or only its records beyond a checkpoint."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, repeat

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Groups, PartialKey, fold, merge_groups
from chalicelib.aggregates.windows import window_start
from chalicelib.records.batch import Batch
from chalicelib.records.cloudevents import CloudEvent
from chalicelib.records.decode import Columns, Decoded, Decoder, Part
from chalicelib.records.stretches import one_by_one


class BatchFold:
    """What a batch adds.

    Why two ways: nearly every batch lies wholly beyond its partials' checkpoints and is folded at once, which is fast.
    Only one that was delivered before needs to know which record adds what; it is then folded record by record, once.
    """

    def __init__(self, catalog: Catalog, decoder: Decoder, batch: Batch, decoded: Sequence[Decoded]) -> None:
        self._event_types = {kind: name for name, kind in decoder.event_classes.items()}
        self._decoder = decoder
        self._catalog = catalog
        self._writer = batch.writer
        self._decoded = decoded
        self._positions = [record.position for record in batch.records]

    @cached_property
    def whole(self) -> dict[PartialKey, Groups]:
        """What the whole batch adds to each partial."""
        return self._fold(self._decoded)

    def beyond(self, checkpoint: str | None, key: PartialKey) -> Groups | None:
        """What the records beyond the checkpoint add to this partial; None when they add nothing."""
        if checkpoint is None or checkpoint < self._positions[0]:
            return self.whole[key]
        if checkpoint >= self._positions[-1]:
            return None
        first = bisect_right(self._positions, checkpoint)
        shares = [groups.items() for place, groups in self._by_record[key] if place >= first]
        return merge_groups(self._catalog.metrics[key.metric], shares) or None

    def first_record_of(self, keys: set[PartialKey]) -> int:
        """The place in the batch of the first record that adds to any of these partials."""
        return min(self._by_record[key][0][0] for key in keys)

    @cached_property
    def _by_record(self) -> Mapping[PartialKey, Sequence[tuple[int, Groups]]]:
        """For each partial, the places of the records that add to it, in order, and what each adds."""
        by_record: dict[PartialKey, list[tuple[int, Groups]]] = defaultdict(list)
        for place, each in enumerate(one_by_one(self._decoded)):
            for key, groups in self._fold([each]).items():
                by_record[key].append((place, groups))
        return by_record

    def _fold(self, decoded: Sequence[Decoded]) -> dict[PartialKey, Groups]:
        deltas: dict[PartialKey, Groups] = {}
        for event_type, parts, columns in self._by_event_type(decoded):
            windows_ms: dict[int, Sequence[int]] = {}
            for metric in self._catalog.of_event_type(event_type):
                size_ms = metric.window_ms
                if size_ms not in windows_ms:
                    windows_ms[size_ms] = list(chain.from_iterable([_windows(part, size_ms) for part in parts]))
                deltas |= fold(metric, self._writer, windows_ms[size_ms], columns)
        return deltas

    def _by_event_type(self, decoded: Sequence[Decoded]) -> Iterator[tuple[str, Sequence[Part], Columns]]:
        by_kind: dict[type[CloudEvent], list[Part]] = defaultdict(list)
        for part in chain.from_iterable(map(self._decoder.parts_of, decoded)):
            by_kind[part.kind].append(part)
        for kind, parts in by_kind.items():
            columns = {
                field: list(chain.from_iterable([part.columns[field] for part in parts])) for field in parts[0].columns
            }
            yield self._event_types[kind], parts, columns


def _windows(part: Part, size_ms: int) -> Iterable[int]:
    """The start of each row's window: of nearly every record but one window."""
    first_ms = window_start(part.first_ms, size_ms)
    if first_ms == window_start(part.last_ms, size_ms):
        return repeat(first_ms, len(part.times))
    return [time_ms - time_ms % size_ms for time_ms in part.times_ms]  # `window_start`, without a call for each event
