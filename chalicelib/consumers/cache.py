"""What a container remembers of the partials that stand in the store."""

from collections import OrderedDict

from chalicelib.aggregates.partial import Partial, PartialKey

CACHED_GROUPS_MAX = 100_000  # some 120 MB, measured with `orders`


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
        self._groups -= len(known.groups) if known else 0
        if standing is None:
            return
        self._partials[key] = standing
        self._groups += len(standing.groups)
        while self._groups > self._groups_max:
            _, oldest = self._partials.popitem(last=False)
            self._groups -= len(oldest.groups)
