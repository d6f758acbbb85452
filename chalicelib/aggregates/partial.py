"""A partial: one writer's share of one window of one metric. Fold events, merge into a base, encode and decode.

Folding groups first and reduces each group with built-ins; what a batch adds to a partial is a *delta*: its groups
with their states. Absorbing a delta is associative with how a batch is cut, group limit included: a group is admitted
in the order in which the stream first names it.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from decimal import localcontext
from functools import cache
from itertools import chain, repeat
from types import GenericAlias
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import zstandard
from msgspec import Struct

from chalicelib.aggregates.measures import EXACT, Accumulator, State
from chalicelib.aggregates.metric import GROUP_KEY_BYTES_MAX, OVERFLOW, GroupKey, Metric
from chalicelib.change import SIGNS

EXPANDED_BYTES_MAX = 64 * 1024 * 1024  # of one item; compressed into it, real groups are far from it
WAITING_SHARES_MAX = 128  # of groups that are being merged, each up to some 16 KB: rollups merge 64 windows at once

States = tuple[State, ...]
Groups = Mapping[GroupKey, States]
Key = TypeVar("Key", bound=Hashable)  # by which groups are merged: as they are named, or as an answer groups them


class PartialKey(NamedTuple):
    """What a partial is of. Units: window_start_ms is epoch milliseconds, UTC."""

    metric: str
    partition: int
    window_start_ms: int
    writer: str


class Partial(Struct, frozen=True):
    """A partial's state. checkpoint is the position up to which its writer's records are folded in."""

    checkpoint: str
    version: int
    groups: Groups


def fold(
    metric: Metric, writer: str, windows_ms: Sequence[int], columns: Mapping[str, Sequence[Any]]
) -> dict[PartialKey, Groups]:
    """Reduce one batch's events to one delta per partial.

    Shapes: windows_ms has the start of each row's window, columns by name the fields of the rows that the metric looks
            at: all in stream order. An event is a row; but a change is up to two, with SIGNS, a column more, and what
            is measured of an old row negated.
    """
    deltas: dict[tuple[int, int], dict[GroupKey, States]] = defaultdict(dict)  # by window and bucket
    for start_ms, group, states in _reduce(metric, windows_ms, columns):
        deltas[start_ms, metric.bucket_of(group)][group] = states
    return {
        PartialKey(metric.name, metric.partition_of(bucket, writer), start_ms, writer): groups
        for (start_ms, bucket), groups in deltas.items()
    }


def _reduce(
    metric: Metric, windows_ms: Sequence[int], columns: Mapping[str, Sequence[Any]]
) -> list[tuple[int, GroupKey, States]]:
    """The states of each group of each window, with both, in the order in which the stream first names them."""
    dimensions = [columns[dimension] for dimension in metric.by]
    measured = [columns[field] for field in metric.fields]
    count: tuple[Callable[[Any], State], int] = (len, 0)
    if SIGNS in columns:
        measured.append(columns[SIGNS])
        count = (sum, -1)
    values = measured[0] if len(measured) == 1 else zip(*measured, strict=True) if measured else repeat(None)
    # A tuple for each row takes as long as all else of grouping it: one dimension, or one window, needs none.
    is_named_plainly = len(dimensions) == 1
    names: Iterable[Any] = zip(*dimensions, strict=True) if dimensions else repeat((), len(windows_ms))
    if is_named_plainly:
        names = dimensions[0]
    starts_ms = set(windows_ms)
    if len(starts_ms) == 1:
        (start_ms,) = starts_ms
        grouped = [(start_ms, name, each) for name, each in _group(names, values)]
    else:
        keys = zip(windows_ms, names, strict=True)
        grouped = [(start_ms, name, each) for (start_ms, name), each in _group(keys, values)]
    reducers = [reducer or count for reducer in metric.reducers]
    with localcontext(EXACT):
        return [
            (start_ms, (name,) if is_named_plainly else name, _states(reducers, each, len(measured)))
            for start_ms, name, each in grouped
        ]


def _group(keys: Iterable[Key], values: Iterable[Any]) -> Iterable[tuple[Key, list[Any]]]:
    """The values of each key, both in order."""
    grouped: dict[Key, list[Any]] = defaultdict(list)
    deque(map(list.append, map(grouped.__getitem__, keys), values), maxlen=0)  # half the time of a loop
    return grouped.items()


def _states(reducers: Sequence[tuple[Any, int]], values: Sequence[Any], measured: int) -> States:
    columns = list(zip(*values, strict=True)) if measured > 1 else [values]
    return tuple([reduce(columns[column]) for reduce, column in reducers])


def absorb(metric: Metric, base: Groups, delta: Groups) -> tuple[dict[GroupKey, States], int]:
    """Merge a delta into a base's groups; neither is changed.

    Returns: the merged groups, and how many of the delta's groups went to the overflow group because the partial
             holds its limit of groups or of bytes.
    """
    groups = dict(base)
    known = [group for group in delta if group in base]
    merged = _merge_pairs(metric, [base[group] for group in known], [delta[group] for group in known])
    groups.update(zip(known, merged, strict=True))
    key_bytes = _key_bytes(chain.from_iterable(groups))
    overflowed = 0
    for group, states in delta.items():
        if group in base:
            continue
        key_bytes += _key_bytes(group)
        is_full = len(groups) - (OVERFLOW in groups) >= metric.group_limit or key_bytes > GROUP_KEY_BYTES_MAX
        if is_full and metric.by:
            key_bytes -= _key_bytes(group)
            overflowed += 1
            group = OVERFLOW  # noqa: PLW2901
        groups[group] = merge_states(metric.accumulators, [groups[group], states]) if group in groups else states
    return groups, overflowed


def _merge_pairs(metric: Metric, firsts: Sequence[States], seconds: Sequence[States]) -> Iterable[States]:
    """Merge the states of many groups pair by pair, a column at a time: a third of the time of group by group."""
    columns = zip(metric.accumulators, zip(*firsts, strict=True), zip(*seconds, strict=True), strict=False)
    return zip(*[map(accumulator.merge_two, first, second) for accumulator, first, second in columns], strict=True)


def merge_states(accumulators: Sequence[Accumulator], shares: Sequence[States]) -> States:
    """Make one group's states of several shares of it, each with the states of these accumulators."""
    return tuple(
        [accumulator.merge(states) for accumulator, states in zip(accumulators, zip(*shares, strict=True), strict=True)]
    )


class Merging(Generic[Key]):
    """Groups that shares are merged into as they come, without a limit: for readers, who merge writers and windows.

    Why a few at a time: to open and to write a sketch takes ten times as long as to merge one more into it.
    """

    def __init__(self, accumulators: Sequence[Accumulator]) -> None:
        self._accumulators = accumulators
        self._shares: dict[Key, list[States]] = defaultdict(list)  # what is merged of a group, then what is not yet
        self._unmerged: list[list[States]] = []  # those of several shares
        self._waiting_shares = 0

    def __len__(self) -> int:
        return len(self._shares)

    def add(self, share: Iterable[tuple[Key, States]]) -> None:
        """Add one more share."""
        for group, states in share:
            shares = self._shares[group]
            shares.append(states)
            self._waiting_shares += 1
            if len(shares) == 2:  # noqa: PLR2004  no more than one before
                self._unmerged.append(shares)
        if self._waiting_shares >= WAITING_SHARES_MAX:
            self._merge()

    @property
    def groups(self) -> dict[Key, States]:
        """All that has been added."""
        self._merge()
        return {group: states for group, (states,) in self._shares.items()}

    def _merge(self) -> None:
        for shares in self._unmerged:
            shares[:] = [merge_states(self._accumulators, shares)]
        self._unmerged.clear()
        self._waiting_shares = 0


def merge_groups(metric: Metric, shares: Iterable[Iterable[tuple[GroupKey, States]]]) -> dict[GroupKey, States]:
    """Make one set of groups of several shares, without a limit."""
    merging: Merging[GroupKey] = Merging(metric.accumulators)
    for share in shares:
        merging.add(share)
    return merging.groups


def encode_groups(groups: Groups) -> bytes:
    """Encode groups compactly (MessagePack; decimals as text, so nothing is rounded)."""
    return msgspec.msgpack.encode(list(groups.items()))


def decode_groups(metric: Metric, encoded: bytes) -> dict[GroupKey, States]:
    """Decode what `encode_groups` made for the same definition of the metric.

    Raises: msgspec.MsgspecError when the bytes are of something else.
    """
    state_types = tuple(accumulator.state_type for accumulator in metric.accumulators)
    return dict(_groups_decoder(state_types).decode(encoded))


def compress_groups(groups: Groups) -> bytes:
    """Encode groups, and compress that."""
    return zstandard.ZstdCompressor().compress(encode_groups(groups))


def decompress_groups(metric: Metric, compressed: bytes) -> dict[GroupKey, States]:
    """Decode what `compress_groups` made for the same definition of the metric.

    Raises: zstandard.ZstdError, msgspec.MsgspecError when the bytes are of something else.
    """
    encoded = zstandard.ZstdDecompressor().decompress(compressed, max_output_size=EXPANDED_BYTES_MAX)
    return decode_groups(metric, encoded)


def encode_partial(metric: Metric, groups: Groups) -> bytes:
    """Encode a partial's groups as they are stored: compressed if there are sketches in them.

    Why only then: a sketch compresses to half its size and a write costs by the kilobyte; what is exact is small.
    """
    return compress_groups(groups) if metric.has_sketches else encode_groups(groups)


def decode_partial(metric: Metric, encoded: bytes) -> dict[GroupKey, States]:
    """Decode what `encode_partial` made for the same definition of the metric.

    Raises: zstandard.ZstdError, msgspec.MsgspecError when the bytes are of something else.
    """
    return decompress_groups(metric, encoded) if metric.has_sketches else decode_groups(metric, encoded)


@cache
def _groups_decoder(state_types: tuple[type[State], ...]) -> msgspec.msgpack.Decoder[Any]:
    states = GenericAlias(tuple, state_types)
    return msgspec.msgpack.Decoder(GenericAlias(list, GenericAlias(tuple, (tuple[str, ...], states))))


def _key_bytes(values: Iterable[str]) -> int:
    return len("".join(values).encode())
