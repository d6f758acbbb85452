"""Which groups and dead letters are the run's, on a stage that has other traffic and earlier runs. Pure.

Every event of a run has currencies and customers that no other run has: `loadtest.traffic.names`.
"""

from collections.abc import Mapping, Sequence

from loadtest.recording import Run
from loadtest.traffic import Names


class Ours:
    """What only this run has."""

    def __init__(self, run: Run) -> None:
        names = Names.of(run)
        self._currencies = frozenset({*names.currencies, names.probe_currency})
        self._user_prefix = f"{run.run_id}-"
        # In the bytes of each event, broken ones too; and in the partition key of each record.
        self.marks = (f'"{names.source}"'.encode(), self._user_prefix.encode())

    def owns(self, dimensions: Sequence[str], group: Sequence[str | None]) -> bool:
        """Whether a group is the run's."""
        values = dict(zip(dimensions, group, strict=True))
        if (user := values.get("user_id")) is not None:
            return user.startswith(self._user_prefix)
        return values.get("currency") in self._currencies

    def where(self, dimensions: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """A condition that asks for the run's groups alone, where there is one."""
        return {"currency": sorted(self._currencies)} if "currency" in dimensions else {}
