"""The proof: every metric's every group of every window that a run touched, dead letters and duplicates, over the API.

What the answers have to be follows from the run and its ledgers (`loadtest.expectation`); nothing of it was read from
the stage. A proof that compared nothing is no proof.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal

from chalicelib import definitions
from chalicelib.aggregates.measures import Quantile
from chalicelib.aggregates.windows import UNIT_MS, format_instant
from chalicelib.query.parameters import ALL
from chalicelib.records.letter import Letter
from loadtest.expectation import Expected, expect
from loadtest.ledger import count
from loadtest.proof import letters as dead_letters
from loadtest.proof.api import Answers, ApiError, Asked, MetricFacts, Row, metrics, pages, rows
from loadtest.proof.compare import ADDED, Comparison, sums_of
from loadtest.proof.isolation import Ours
from loadtest.proof.objectives import judge
from loadtest.proof.ranges import cut, whole
from loadtest.proof.verdict import Compared, Difference, Estimate, Kind, Outcome, Totals, Verdict
from loadtest.recording import LOST_WORKER, Ledger, Recording, StageKind

AROUND_MS = 3 * UNIT_MS["d"]  # events that are too late, or from the future, are days away


def prove(
    recording: Recording,
    expected: Expected,
    api: Asked,
    *,
    letters: Iterable[Letter] | None = None,
    most: Expected | None = None,
) -> Verdict:
    """Compare all that the stage answers of a run with what it has to.

    Shapes: expected, of the ledgers' accepted events; most, of those of unknown fate besides: reckoned when it is not
            given and there are any. letters, the stage's dead letters as they are stored, where they can be read: on a
            stage that others use the API cannot tell whose they are.
    Raises: ApiError; what reading the letters does.
    """
    if most is None:
        is_sure = not any(ledger.unsure for ledger in recording.ledgers)
        most = expected if is_sure else expect(recording.run, [_with_unsure(ledger) for ledger in recording.ledgers])
    return _Proof(recording, expected, most, api).verdict(letters)


def _with_unsure(ledger: Ledger) -> Ledger:
    return Ledger(ledger.worker, sorted([*ledger.accepted, *ledger.unsure]), [], ledger.resent)


class _Proof:
    def __init__(self, recording: Recording, least: Expected, most: Expected, api: Asked) -> None:
        self._recording = recording
        self._least, self._most = least, most
        self._api = api
        self._is_own = recording.stage.kind is StageKind.OWN
        self._ours = Ours(recording.run)
        self._answers = Answers()
        self._differences: list[Difference] = []
        self._unproved: list[str] = []
        self._notes: list[str] = []
        self._unsure = sum(count(ledger.unsure) for ledger in recording.ledgers)
        self._lost_workers = sum(fault.kind == LOST_WORKER for fault in recording.faults)
        self._resent = sum(ledger.resent for ledger in recording.ledgers)

    def verdict(self, letters: Iterable[Letter] | None) -> Verdict:
        self._weigh_the_run()
        described = self._described()
        comparisons = {name: self._compare(metric) for name, metric in described.items()}
        together = [self._compare_together(metric) for metric in described.values()]
        estimates: list[Estimate] = []
        compared: list[Compared] = []
        for comparison in (*comparisons.values(), *filter(None, together)):
            estimates += comparison.estimates()
            compared.append(comparison.compared)
            self._differences += comparison.differences
            self._unproved += comparison.unproved
        self._weigh_the_answers(compared)
        counted = self._counted(described, comparisons, self._count_letters(letters))
        self._compare_duplicates(counted)
        outcome = Outcome.DIFFERENT if self._differences else Outcome.UNPROVED if self._unproved else Outcome.EXACT
        return Verdict(
            outcome=outcome,
            differences=self._differences,
            unproved=list(dict.fromkeys(self._unproved)),
            notes=list(dict.fromkeys(self._notes)),
            compared=compared,
            estimates=estimates,
            expected=self._expected(described),
            counted=counted,
            objectives=judge(self._recording),
        )

    def _weigh_the_run(self) -> None:
        """See what of the recording itself proves too little."""
        if self._unsure:
            self._unproved.append(
                f"of {self._unsure:,} events nobody knows whether the stream accepted them; what they touch was held "
                "between the counts without and with them"
            )
        if self._resent:
            self._notes.append(
                f"{self._resent:,} records were put again after their answer was lost; the stream may hold them twice"
            )
        self._unproved += [
            f"the fault {fault.kind} did not happen: {fault.what}"
            for fault in self._recording.faults
            if not fault.happened
        ]
        if self._recording.complete_until_ms is None:
            self._unproved.append("the answers were not complete in time")

    def _weigh_the_answers(self, compared: Sequence[Compared]) -> None:
        """See what of the answers proves too little."""
        for each in compared:
            if each.overflowed:
                windows = "window has" if each.overflowed == 1 else "windows have"
                self._notes.append(
                    f"{each.metric}: {each.overflowed:,} {windows} more groups than the metric tells apart; there "
                    "totals were compared"
                )
        if not sum(each.values for each in compared):
            self._unproved.append("nothing was compared")
        until_ms = self._answers.complete_until_ms
        if until_ms is not None and until_ms < self._recording.stopped_ms:
            told = format_instant(max(0, until_ms))
            self._unproved.append(f"the answers were complete until {told}, which is before the load ended")

    def _described(self) -> dict[str, MetricFacts]:
        """The metrics to compare, as the stage describes them."""
        there_are = metrics(self._api)
        known = {name: there_are[name] for name in self._least.metrics if name in there_are}
        self._unproved += [f"the stage has no metric {name}" for name in self._least.metrics if name not in known]
        event_types = {metric.event_type for metric in known.values()}
        self._unproved += [
            f"nobody knows what {name} has to be: loadtest/expectation.py does not tell"
            for name, metric in there_are.items()
            if metric.event_type in event_types and name not in known
        ]
        return known

    def _compare(self, metric: MetricFacts) -> Comparison:
        """Compare every group of every base window."""
        least, most = (each.metrics[metric.name] for each in self._both)
        if not self._is_apart(metric):
            self._notes.append(
                f"{metric.name}: only the windows that the run touched were read: others' groups stand beside its own"
            )
        ranges = cut(whole(most, metric.window_ms, *self._around_ms(metric)), most)
        comparison = Comparison(metric, least, most, _ranks(metric))
        answered = rows(self._api, metric, ranges, self._where(metric), self._answers)
        comparison.run(self._of_run(metric, answered), is_own=self._is_own)
        return comparison

    def _compare_together(self, metric: MetricFacts) -> Comparison | None:
        """Compare what all windows come to together, which rollups answer as far as they can."""
        least, most = ({(0, group): truth for group, truth in each.totals[metric.name].items()} for each in self._both)
        comparison = Comparison(metric, least, most, _ranks(metric), is_of_all=True)
        span = whole(self._most.metrics[metric.name], metric.window_ms, *self._around_ms(metric))
        if span is None:
            return None
        answered = pages(self._api, metric, span, self._where(metric), self._answers, step=ALL)
        try:
            of_all = [Row(0, row.group, row.values) for row in self._of_run(metric, answered)]
        except ApiError as error:
            if not error.is_of_too_much:
                raise
            self._notes.append(f"{metric.name}: all windows together are too much for one answer")
            return None
        comparison.run(of_all, is_own=self._is_own)
        return comparison

    @property
    def _both(self) -> tuple[Expected, Expected]:
        return self._least, self._most

    def _of_run(self, metric: MetricFacts, answered: Iterable[Row]) -> Iterator[Row]:
        for row in answered:
            if self._is_own or row.is_overflow or self._ours.owns(metric.dimensions, row.group):
                yield row

    def _where(self, metric: MetricFacts) -> Mapping[str, Sequence[str]]:
        return {} if self._is_own else self._ours.where(metric.dimensions)

    def _is_apart(self, metric: MetricFacts) -> bool:
        """Whether nobody else's groups are among the answers."""
        return self._is_own or bool(self._where(metric))

    def _around_ms(self, metric: MetricFacts) -> tuple[int, int]:
        """How far before and after the windows touched to read, where an event would be that was counted wrongly."""
        return (metric.lateness_ms + AROUND_MS, AROUND_MS) if self._is_apart(metric) else (0, 0)

    def _count_letters(self, letters: Iterable[Letter] | None) -> dict[str, int]:
        """Count the run's dead letters by reason, and compare their numbers."""
        recording, day_ms = self._recording, UNIT_MS["d"]
        told = dead_letters.all_of_days(self._api, recording.run.started_ms - day_ms, recording.stopped_ms + day_ms)
        if letters is not None:
            stored = dead_letters.of_run(letters, self._ours.marks)
            self._compare_letters(stored, "as they are stored")
            if self._is_own and told.complete:
                self._compare_letters(told.by_reason, "as the API tells them")
            return stored
        if self._is_own and told.complete:
            self._compare_letters(told.by_reason, "as the API tells them")
            return told.by_reason
        self._unproved.append("the API cannot tell which dead letters are the run's; there had to be no fewer")
        expected = self._least.dead_letters
        for reason, wanted in sorted(expected.items()):
            got = told.by_reason.get(reason, 0)
            if got < wanted and told.complete:
                self._letters_differ("as the API tells them", reason, f"{wanted:,} or more", got)
        return {reason: min(told.by_reason.get(reason, 0), wanted) for reason, wanted in expected.items()}

    def _compare_letters(self, counted: Mapping[str, int], how: str) -> None:
        least, most = self._least.dead_letters, self._most.dead_letters
        for reason in sorted(counted.keys() | least.keys() | most.keys()):
            low, high = sorted((least.get(reason, 0), most.get(reason, 0)))
            got = counted.get(reason, 0)
            if (self._resent or self._lost_workers) and got > high:  # what a lost one put again it did not tell
                self._unproved.append(
                    f"dead letters, {reason}: {got:,} where {high:,} were expected: what was put again may be there "
                    "twice"
                )
            elif not low <= got <= high:
                self._letters_differ(how, reason, f"{low:,}" if low == high else f"{low:,} to {high:,}", got)

    def _letters_differ(self, how: str, reason: str, wanted: str, got: int) -> None:
        self._differences.append(Difference(Kind.DEAD_LETTERS, how, "", "", reason, wanted, f"{got:,}"))

    def _compare_duplicates(self, counted: Totals) -> None:
        if counted.duplicates is None or self._resent:
            self._notes.append("duplicates follow from the other numbers only where each event's fate is known")
        elif counted.duplicates != self._least.duplicates:
            wanted, got = f"{self._least.duplicates:,}", f"{counted.duplicates:,}"
            how = "accepted, less counted, less dead letters"
            self._differences.append(Difference(Kind.DUPLICATES, how, "", "", "", wanted, got))
        reported = self._recording.duplicates_reported
        wanted_at_least = min(each.duplicates for each in self._both)
        if reported is None:
            self._notes.append("how many duplicates the functions dropped is not known here")
        elif reported < wanted_at_least and not self._is_own:
            self._notes.append(
                f"CloudWatch, minutes behind, told of {reported:,} of at least {wanted_at_least:,} duplicates"
            )
        elif reported < wanted_at_least:
            wanted, how = f"{wanted_at_least:,} or more", "as the functions report them"
            self._differences.append(Difference(Kind.DUPLICATES, how, "", "", "", wanted, f"{reported:,}"))

    def _counted(
        self,
        described: Mapping[str, MetricFacts],
        comparisons: Mapping[str, Comparison],
        letters: Mapping[str, int],
    ) -> Totals:
        events = 0
        for name, comparison in comparisons.items():  # each metric has counted all: the first will do
            counts = [measure for measure, kind in described[name].kinds.items() if kind == "count"]
            if counts:
                events = int(comparison.sums.get(counts[0], 0))
                break
        accepted = sum(count(ledger.accepted) for ledger in self._recording.ledgers)
        sums = {
            f"{name}.{measure}": f"{value:f}"
            for name, comparison in comparisons.items()
            for measure, value in comparison.sums.items()
        }
        duplicates = None if self._unsure else accepted - events - sum(letters.values())
        return Totals(events, duplicates, dict(sorted(letters.items())), sums)

    def _expected(self, described: Mapping[str, MetricFacts]) -> Totals:
        sums: dict[str, Decimal] = {}
        for name, metric in described.items():
            added = [measure for measure, kind in metric.kinds.items() if kind in ADDED]
            of_metric = sums_of(self._least.metrics[name], added)
            sums |= {f"{name}.{measure}": value for measure, value in of_metric.items()}
        letters = dict(sorted(self._least.dead_letters.items()))
        told = {name: f"{value:f}" for name, value in sums.items()}
        return Totals(self._least.counted, self._least.duplicates, letters, told)


def _ranks(metric: MetricFacts) -> dict[str, float]:
    """Which quantiles a metric's measures are: the API does not tell, its declaration does."""
    measures = next((each.measures for each in definitions.METRICS if each.name == metric.name), {})
    return {name: measure.rank for name, measure in measures.items() if isinstance(measure, Quantile)}
