"""Reads what an answer is made of, and merges it: the plan carried out. No boto3 here."""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from chalicelib.aggregates.partial import States
from chalicelib.query.answer import Merger, RowKey
from chalicelib.query.parameters import WINDOWS_MAX
from chalicelib.query.plan import fitting_rollups, plan_reads, too_many_windows
from chalicelib.query.request import WindowsRequest
from chalicelib.reading.plans import plan_below
from chalicelib.reading.ports import ROLLUPS, ReadCost, ReadPlan, Settled, SettledReader, ShareReader, StoredShare


class Scanned(Struct, frozen=True):
    """The groups of an answer.

    Shapes: revision is the sum of the revisions of all that was read: whatever changes there, it grows. Rollups do not
            move it: one's revision is the sum of those that it was made of.
    """

    groups: Mapping[RowKey, States]
    revision: int
    cost: ReadCost


class _TooManyWindowsError(Exception):
    """More stored windows than one answer may be made of."""


class Scanner:
    """Reads for requests, from rollups as far as they are settled."""

    def __init__(self, shares: ShareReader, settled: SettledReader) -> None:
        self._shares = shares
        self._settled = settled

    def scan(self, request: WindowsRequest, lateness_ms: int, time_left_ms: Callable[[], int]) -> Scanned:
        """Read and merge what the request asks for.

        Raises: ParameterError when it is made of too much, or has too many groups; TransientError when the reads failed
                or were not done in time; DefinitionChangedError.
        """
        settled = self._read_settled(request, time_left_ms) if fitting_rollups(request) else None
        try:
            return self._read(request, plan_reads(request, settled, lateness_ms), time_left_ms)
        except _TooManyWindowsError:
            settled = self._read_settled(request, time_left_ms)  # another step might use rollups
            raise too_many_windows(request, settled, lateness_ms) from None

    def _read(self, request: WindowsRequest, plans: Sequence[ReadPlan], time_left_ms: Callable[[], int]) -> Scanned:
        merger, cost, revision = Merger(request), ReadCost(), 0
        windows = set()
        while plans:
            below: list[ReadPlan] = []

            def take(plan: ReadPlan, share: StoredShare, below: list[ReadPlan] = below) -> None:
                nonlocal revision
                windows.add((plan.step_ms, share.window_start_ms))
                if len(windows) > WINDOWS_MAX:
                    raise _TooManyWindowsError
                if share.groups is None:  # a rollup too large to be stored: the windows that it is made of tell
                    below.append(plan_below(plan, share))
                else:
                    revision += share.revision
                    merger.add(share.window_start_ms, share.groups)

            cost += self._shares.read_shares(plans, take, time_left_ms())
            plans = below
        return Scanned(merger.groups, revision, cost)

    def _read_settled(self, request: WindowsRequest, time_left_ms: Callable[[], int]) -> Settled | None:
        """How far the metric's rollups are settled."""
        return self._settled.read_settled(ROLLUPS, time_left_ms()).get(request.metric.layout)
