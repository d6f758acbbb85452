"""A partial: one writer's share of one window of one metric. Fold events, merge into a base, encode and decode.

Folding groups first and reduces each group with built-ins; what a batch adds to a partial is a *delta*: its groups
with their states. Absorbing a delta is associative with how a batch is cut, group limit included: a group is admitted
in the order in which the stream first names it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import localcontext
from functools import cache
from itertools import chain, repeat
from types import GenericAlias
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from chalicelib.aggregates.measures import EXACT, MERGE, REDUCE, STATE_TYPE, State
from chalicelib.aggregates.metric import GROUP_KEY_BYTES_MAX, OVERFLOW, GroupKey, Metric
from chalicelib.change import SIGNS

States = tuple[State, ...]
Groups = Mapping[GroupKey, States]


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
    metric: Metric, writer: str, windows_ms: Iterable[int], columns: Mapping[str, Sequence[Any]]
) -> dict[PartialKey, Groups]:
    """Reduce one batch's events to one delta per partial.

    Shapes: windows_ms has the start of each row's window, columns by name the fields of the rows that the metric looks
            at: all in stream order. An event is a row; but a change is up to two, with SIGNS, a column more, and what
            is measured of an old row negated.
    """
    deltas: dict[PartialKey, dict[GroupKey, States]] = defaultdict(dict)
    for (start_ms, *values), states in _reduce(metric, windows_ms, columns).items():
        group = tuple(values)
        partition = metric.partition_of(metric.bucket_of(group), writer)
        deltas[PartialKey(metric.name, partition, start_ms, writer)][group] = states
    return dict(deltas)


def _reduce(
    metric: Metric, windows_ms: Iterable[int], columns: Mapping[str, Sequence[Any]]
) -> dict[tuple[Any, ...], States]:
    """The states of each group of each window, by (window, *group)."""
    grouped: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    keys = zip(windows_ms, *[columns[dimension] for dimension in metric.by], strict=True)
    measured = [columns[field] for field in metric.measured]
    count = (REDUCE["count"], 0)
    if SIGNS in columns:
        measured.append(columns[SIGNS])
        count = (sum, -1)
    values = measured[0] if len(measured) == 1 else zip(*measured, strict=True) if measured else repeat(None)
    for key, value in zip(keys, values):  # noqa: B905  there may be nothing measured, without end
        grouped[key].append(value)
    reducers = [
        (REDUCE[accumulator.kind], metric.measured.index(accumulator.field)) if accumulator.field else count
        for accumulator in metric.accumulators
    ]
    with localcontext(EXACT):
        return {key: _states(reducers, each, len(measured)) for key, each in grouped.items()}


def _states(reducers: Sequence[tuple[Any, int]], values: Sequence[Any], measured: int) -> States:
    columns = list(zip(*values, strict=True)) if measured > 1 else [values]
    return tuple([reduce(columns[column]) for reduce, column in reducers])


def absorb(metric: Metric, base: Groups, delta: Groups) -> tuple[dict[GroupKey, States], int]:
    """Merge a delta into a base's groups; neither is changed.

    Returns: the merged groups, and how many of the delta's groups went to the overflow group because the partial
             holds its limit of groups or of bytes.
    """
    groups = dict(base)
    key_bytes = _key_bytes(chain.from_iterable(groups))
    overflowed = 0
    for group, states in delta.items():
        if group not in groups:
            key_bytes += _key_bytes(group)
            is_full = len(groups) - (OVERFLOW in groups) >= metric.group_limit or key_bytes > GROUP_KEY_BYTES_MAX
            if is_full and metric.by:
                key_bytes -= _key_bytes(group)
                overflowed += 1
                group = OVERFLOW  # noqa: PLW2901
        groups[group] = merge_states(metric, groups[group], states) if group in groups else states
    return groups, overflowed


def merge_states(metric: Metric, left: States, right: States) -> States:
    """Make one group's states of two."""
    return tuple(
        [MERGE[accumulator.kind](a, b) for accumulator, a, b in zip(metric.accumulators, left, right, strict=True)]
    )


def merge_groups(metric: Metric, shares: Iterable[Iterable[tuple[GroupKey, States]]]) -> dict[GroupKey, States]:
    """Make one set of groups of several shares, without a limit: for readers, who merge writers and windows."""
    merged: dict[GroupKey, States] = {}
    for share in shares:
        merge_into(merged, metric, share)
    return merged


def merge_into(merged: dict[GroupKey, States], metric: Metric, share: Iterable[tuple[GroupKey, States]]) -> None:
    """Add one more share to what has been merged."""
    for group, states in share:
        merged[group] = merge_states(metric, merged[group], states) if group in merged else states


def encode_groups(groups: Groups) -> bytes:
    """Encode groups compactly (MessagePack; decimals as text, so nothing is rounded)."""
    return msgspec.msgpack.encode(list(groups.items()))


def decode_groups(metric: Metric, encoded: bytes) -> dict[GroupKey, States]:
    """Decode what `encode_groups` made for the same definition of the metric.

    Raises: msgspec.MsgspecError when the bytes are of something else.
    """
    kinds = tuple(accumulator.kind for accumulator in metric.accumulators)
    return dict(_groups_decoder(kinds).decode(encoded))


@cache
def _groups_decoder(kinds: tuple[str, ...]) -> msgspec.msgpack.Decoder[Any]:
    states = GenericAlias(tuple, tuple(STATE_TYPE[kind] for kind in kinds))
    return msgspec.msgpack.Decoder(GenericAlias(list, GenericAlias(tuple, (tuple[str, ...], states))))


def _key_bytes(values: Iterable[str]) -> int:
    return len("".join(values).encode())
