"""What a container remembers of the partials that stand in the store."""

from collections import OrderedDict

from chalicelib.aggregates.partial import Groups, Partial, PartialKey

CACHED_GROUPS_MAX = 100_000  # some 120 MB, measured with `orders`
GROUP_BYTES = 1_200  # of those; a sketch counts as so many more groups as it is large


class PartialCache:
    """The partials that this container saw last, the least recently stored dropped beyond a number of groups.

    Why it may be stale or empty: it only saves a refused put; the store's condition decides.
    """

    def __init__(self, groups_max: int = CACHED_GROUPS_MAX) -> None:
        self._partials: OrderedDict[PartialKey, Partial] = OrderedDict()
        self._groups = 0
        self._groups_max = groups_max

    def get(self, key: PartialKey) -> Partial | None:
        """The partial as this container last saw it stand."""
        return self._partials.get(key)

    def keep(self, key: PartialKey, standing: Partial | None) -> None:
        """Remember what now stands; None: nothing does."""
        known = self._partials.pop(key, None)
        self._groups -= _weight(known.groups) if known else 0
        if standing is None:
            return
        self._partials[key] = standing
        self._groups += _weight(standing.groups)
        while self._groups > self._groups_max:
            _, oldest = self._partials.popitem(last=False)
            self._groups -= _weight(oldest.groups)


def _weight(groups: Groups) -> int:
    """As how many groups without sketches these count."""
    first = next(iter(groups.values()), ())
    if not any(isinstance(state, bytes) for state in first):  # of those that are counted exactly there are many
        return len(groups)
    sketches = [state for states in groups.values() for state in states if isinstance(state, bytes)]
    return len(groups) + sum(map(len, sketches)) // GROUP_BYTES
