"""What a container remembers of the ids that one shard has counted, and of those that its ancestors had.

Whether an event is a duplicate depends on nothing but the stream before it: its id was counted before, in its shard or
an ancestor, the last time not longer ago than the horizon (in arrival time), and fewer than `ids_max` events have been
counted since. So what is remembered is all that was counted *up to a position*, no less and no more: what an attempt at
later records has left behind is cut off before they are looked at again.
"""

from bisect import bisect_right
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from chalicelib.identity.run import IdRun


class LastCounted(Struct, frozen=True, order=True):
    """The last time that a shard counted an id: when and where, its content, and how many were counted since."""

    arrived_at_ms: int
    position: str
    content: int
    counted_since: int


class _Held(Struct, frozen=True, eq=False):
    """A run in memory. begins: how many events the shard had counted, as far as we know, before its first id."""

    run: IdRun
    begins: int


class ShardIds:
    """The ids that a shard has counted up to the position `until`, and what its parents had counted when it began.

    Units: since_ms is the arrival from which on all of the shard's ids are here; None: from its first record on. Only
           then are parents looked at.
    """

    def __init__(
        self, runs: Iterable[IdRun] = (), parents: Sequence["ShardIds"] = (), since_ms: int | None = None
    ) -> None:
        self.until: str | None = None
        self._parents = tuple(parents)
        self._since_ms = since_ms
        self._counted = 0
        self._held: deque[_Held] = deque()
        self._last_held: dict[int, _Held] = {}  # of an id: the last run that it is in
        for run in runs:
            self.add(run)

    @property
    def size(self) -> int:
        """How many ids are in memory, the parents' included."""
        return self._own_size + sum(parent.size for parent in self._parents)

    @property
    def _own_size(self) -> int:
        return self._counted - self._held[0].begins if self._held else 0

    def add(self, run: IdRun) -> None:
        """Remember what a run tells beyond `until`; the rest of it is known."""
        news = run.between(self.until, None)
        if news is None:
            return
        held = _Held(news, self._counted)
        self._held.append(held)
        self._last_held.update(dict.fromkeys(news.ids, held))
        self._counted += len(news.ids)
        self.until = news.last

    def knows_all_until(self, position: str) -> None:
        """No id is counted between what is known and this position."""
        self.until = position

    def cut(self, before: str) -> "ShardIds":
        """The same without whatever was counted at this position or beyond it."""
        if self.until is None or self.until < before:
            return self
        kept = (held.run.between(None, before) for held in self._held)
        return ShardIds(filter(None, kept), self._parents, self._since_ms)

    def reaches_back(self, since_ms: int, ids_max: int) -> bool:
        """Whether all ids that arrived since then are here, or else the last `ids_max`, which are as good as all."""
        if self._own_size >= ids_max:
            return True
        if self._since_ms is not None:
            return self._since_ms <= since_ms
        return all(parent.reaches_back(since_ms, ids_max - self._own_size) for parent in self._parents)

    def forget(self, arrived_before_ms: int, ids_max: int) -> int:
        """Drop what is too long ago, in time or in ids, to matter to whatever follows.

        Returns: how many ids were dropped for their number alone.
        """
        dropped_early = 0
        while self._held:
            oldest = self._held[0]
            behind = self._counted - oldest.begins - len(oldest.run.ids)
            is_too_long_ago = oldest.run.arrived_at_ms < arrived_before_ms
            if not is_too_long_ago and behind < ids_max:
                break
            dropped_early += 0 if is_too_long_ago else len(oldest.run.ids)
            self._held.popleft()
            for each in oldest.run.ids:
                if self._last_held.get(each) is oldest:
                    del self._last_held[each]
            self._since_ms = max(self._since_ms or 0, oldest.run.arrived_at_ms + 1)
            self._parents = ()
        return dropped_early + sum(
            parent.forget(arrived_before_ms, ids_max - self._counted) for parent in self._parents
        )

    def lacks(self, ids: Iterable[int]) -> bool:
        """Whether not one of these ids is known: so with nearly every batch, and found at once."""
        return self._last_held.keys().isdisjoint(ids) and all(parent.lacks(ids) for parent in self._parents)

    def find_last(self, ids: Iterable[int]) -> dict[int, list[LastCounted]]:
        """The last time that each of these ids was counted, the latest first; one that is not known is not in it.

        Shapes: more than one only where the shard has not counted the id itself, and more than one of its parents has:
                the latest of them may be forgotten sooner, if its shard counted more.
        """
        wanted = set(ids)
        found: dict[int, list[LastCounted]] = defaultdict(list)
        for parent in self._parents:
            for each, inherited in parent.find_last(wanted).items():
                found[each] += [replace(last, counted_since=last.counted_since + self._counted) for last in inherited]
        for several in found.values():
            several.sort(reverse=True)
        return found | {each: [last] for each, last in self._find_own(wanted).items()}

    def _find_own(self, wanted: set[int]) -> dict[int, LastCounted]:
        by_run: dict[_Held, set[int]] = defaultdict(set)
        for each in self._last_held.keys() & wanted:
            by_run[self._last_held[each]].add(each)
        found = {}
        for held, here in by_run.items():
            records = held.run.records()
            ends = list(accumulate(record.ids for record in records))
            for each, place in {each: place for place, each in enumerate(held.run.ids) if each in here}.items():
                record = records[bisect_right(ends, place)]
                counted_since = self._counted - held.begins - place - 1
                found[each] = LastCounted(
                    record.arrived_at_ms, record.position, held.run.contents[place], counted_since
                )
        return found
