"""One decoded batch, folded into what it adds to each partial: all of it, or only its records beyond a checkpoint."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain, compress
from typing import Any

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.partial import Groups, PartialKey, fold, merge_groups
from chalicelib.aggregates.windows import window_start
from chalicelib.records.batch import Batch
from chalicelib.records.decode import Decoded, Decoder


class BatchFold:
    """What a batch adds.

    Why two ways: nearly every batch lies wholly beyond its partials' checkpoints and is folded at once, which is fast.
    Only one that was delivered before needs to know which record adds what; it is then folded record by record, once.
    """

    def __init__(self, catalog: Catalog, decoder: Decoder, batch: Batch, decoded: Sequence[Decoded]) -> None:
        self._event_types = {kind: name for name, kind in decoder.event_classes.items()}
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
        for place, each in enumerate(self._decoded):
            for key, groups in self._fold([each]).items():
                by_record[key].append((place, groups))
        return by_record

    def _fold(self, decoded: Sequence[Decoded]) -> dict[PartialKey, Groups]:
        deltas: dict[PartialKey, Groups] = {}
        for event_type, data, times_ms in self._by_event_type(decoded):
            rows_by_size: dict[int, Mapping[int, Sequence[Any]]] = {}
            for metric in self._catalog.of_event_type(event_type):
                size_ms = metric.window_ms
                if size_ms not in rows_by_size:
                    rows_by_size[size_ms] = _by_window(data, times_ms, size_ms)
                deltas |= fold(metric, self._writer, rows_by_size[size_ms])
        return deltas

    def _by_event_type(self, decoded: Sequence[Decoded]) -> Iterator[tuple[str, Sequence[Any], Sequence[int]]]:
        events = list(chain.from_iterable([each.events for each in decoded]))
        times_ms = list(chain.from_iterable([each.times_ms for each in decoded]))
        kinds = dict.fromkeys(map(type, events))
        for kind in kinds:
            if len(kinds) == 1:
                yield self._event_types[kind], [event.data for event in events], times_ms
            else:
                is_of_kind = [type(event) is kind for event in events]
                data = [event.data for event in compress(events, is_of_kind)]
                yield self._event_types[kind], data, list(compress(times_ms, is_of_kind))


def _by_window(data: Sequence[Any], times_ms: Sequence[int], size_ms: int) -> Mapping[int, Sequence[Any]]:
    first_ms, last_ms = window_start(min(times_ms), size_ms), window_start(max(times_ms), size_ms)
    if first_ms == last_ms:
        return {first_ms: data}
    rows: dict[int, list[Any]] = defaultdict(list)
    for row, time_ms in zip(data, times_ms, strict=True):
        rows[time_ms - time_ms % size_ms].append(row)  # `window_start`, without a call for each event
    return rows
