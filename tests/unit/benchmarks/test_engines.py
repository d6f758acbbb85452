"""Engines: each comes to the same totals, what is slow at first is past when it is timed, and a gap is told."""

import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import orjson
import pytest
from rich.progress import Progress

from benchmarks import engines
from benchmarks.engines import highwater, in_lambda
from benchmarks.engines.apart import Answer, Apart, python_of
from benchmarks.engines.engine import UnavailableError
from benchmarks.engines.streaming import PASSES_WITHOUT_GAIN, FromFile
from benchmarks.engines.totals import add, by_currency_and_type, digest, totals_of
from benchmarks.engines.workload import make
from benchmarks.yardstick import fold_lines

EVENTS = 5_000
PROGRAM = """
import sys
for line in sys.stdin:
    if "end" in line:
        sys.exit("no more of this")
    sum(range(2_000_000))
    print('{"rows": [["2026-11-23T21:10", "USD", "gift", 1, "2.50"]], "events": 1}', flush=True)
"""


@pytest.fixture(scope="module")
def workload():
    return make(EVENTS, Progress(disable=True))


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


@dataclass
class FakeProcess:
    """Answers with what was counted of a file, each time so many CPU seconds later."""

    answers: dict
    seconds: list
    asked: list = field(default_factory=list)

    def ask(self, path, **asked):
        self.asked.append((path, asked))
        totals = self.answers[path]
        rows = [(*group, count, str(revenue)) for group, (count, revenue) in totals.items()]
        seconds = self.seconds.pop(0)
        return Answer(rows, len(rows)), seconds, seconds * 2


def from_file(workload, folder, seconds, *, times=1, passes_max=12, answers=None):
    once, often = workload.write(folder / "once.jsonl"), workload.write(folder / "often.jsonl", times)
    right = {str(each.path): each.totals for each in (once, often)}
    process = FakeProcess(answers or right, list(seconds))
    further = often if times > 1 else None
    return FromFile("an engine", "", workload, process, once, further=further, passes_max=passes_max, way="its own")


def test_every_engine_in_this_process_comes_to_the_same_totals(workload):
    there = [*highwater.engines(workload), *in_lambda.engines(workload, workload)]
    assert {each.name: digest(each.run(0).totals) for each in there} == {
        each.name: digest(workload.totals) for each in there
    }


def test_an_engine_begins_each_pass_anew(workload):
    (engine, *_) = highwater.engines(workload)
    engine.warm_up()
    assert engine.run(0).totals == engine.run(1).totals == workload.totals


def test_ingest_that_does_not_count_a_batch_whole_is_an_error(workload):
    ingest = highwater.make_ingest(highwater.InstantClient(), metrics=highwater.ONE_METRIC)
    (batch,) = workload.batches
    highwater.count(ingest, batch.aggregates)
    again = replace(batch.first(200), first_sequence_number=batch.first_sequence_number << 1)
    with pytest.raises(RuntimeError, match="not counted whole"):
        highwater.count(ingest, again.records)


def test_the_totals_are_those_of_the_yardstick_by_the_minute(workload):
    assert by_currency_and_type(workload.totals) == fold_lines(workload.lines)
    assert sum(count for count, _ in workload.totals.values()) == EVENTS
    assert len({minute for minute, _, _ in make(70_000, Progress(disable=True)).totals}) == 2


def test_a_digest_knows_neither_order_nor_trailing_zeros_but_each_cent():
    one = {
        ("2026-11-23T21:10", "USD", "gift"): (2, Decimal("10.50")),
        ("2026-11-23T21:11", "EUR", "gift"): (1, Decimal(7)),
    }
    same = {group: (count, revenue + Decimal("0.000")) for group, (count, revenue) in reversed(one.items())}
    assert digest(one) == digest(same)
    for group, (count, revenue) in one.items():
        assert digest({**one, group: (count, revenue + Decimal("0.01"))}) != digest(one)
        assert digest({**one, group: (count + 1, revenue)}) != digest(one)


def test_of_a_workload_the_first_events_are_whole_aggregates_or_whole_batches(workload):
    few = workload.first(250)
    assert len(few.lines) == 400
    assert len(few.batches[0].aggregates["Records"]) == 2
    assert few.lines == workload.lines[:400]
    assert workload.first(10 * EVENTS).lines == workload.lines


def test_a_file_several_times_over_has_later_events_each_time(workload, tmp_path):
    few = workload.first(200)
    written = few.write(tmp_path / "events.jsonl", 3)
    groups = {}
    lines = written.path.read_bytes().splitlines()
    for line in lines:
        add(groups, orjson.loads(line))
    assert totals_of(groups) == written.totals
    assert len(written.totals) == 3 * len(few.totals)
    assert len(lines) == 600
    times = [orjson.loads(line)["time"] for line in lines]
    assert max(times[:200]) < min(times[200:400]) <= max(times[200:400]) < min(times[400:])


def test_a_file_is_counted_until_that_gets_no_faster(workload, tmp_path):
    seconds = [20.0, 9.0, 6.0, 5.95, 6.1, 5.9, *[5.9] * 9]
    engine = from_file(workload.first(200), tmp_path, seconds)
    assert engine.warm_up() == seconds[: 3 + PASSES_WITHOUT_GAIN]
    assert from_file(workload.first(200), tmp_path, seconds, passes_max=2).warm_up() == [20.0, 9.0]


def test_what_a_job_takes_that_goes_on_is_told_without_its_start(workload, tmp_path):
    engine = from_file(workload.first(200), tmp_path, [5.0, 9.0], times=3)
    passed = engine.run(0)
    assert (passed.cpu_seconds, passed.wall_seconds, passed.events) == (2.0, 4.0, 200)


def test_an_engine_that_counts_something_else_is_an_error(workload, tmp_path):
    few = workload.first(200)
    wrong = {group: (count, revenue + Decimal("0.01")) for group, (count, revenue) in few.totals.items()}
    engine = from_file(few, tmp_path, [1.0], answers={str(tmp_path / "once.jsonl"): wrong})
    with pytest.raises(RuntimeError, match="an engine counted something else"):
        engine.run(0)


def test_a_process_apart_is_asked_and_its_cpu_counted(program, tmp_path):
    with Apart(sys.executable, program, tmp_path / "log") as process:
        answer, cpu_seconds, wall_seconds = process.ask(path="events.jsonl")
    assert answer.rows == [("2026-11-23T21:10", "USD", "gift", 1, "2.50")]
    assert cpu_seconds > 0
    assert wall_seconds > 0


def test_a_process_that_ends_instead_of_counting_is_told_by_its_last_words(program, tmp_path):
    with Apart(sys.executable, program, tmp_path / "log") as process, pytest.raises(UnavailableError) as told:
        process.ask(path="end")
    assert str(told.value) == "it ended: no more of this"


def test_what_has_not_been_installed_is_told(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("nothing==1.0\n")
    with pytest.raises(UnavailableError, match="its environment has not been made"):
        python_of(requirements, tmp_path / "environment", installs=False)


def test_what_does_not_install_is_told_in_one_line(tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(f"{tmp_path / 'nowhere'}\n")
    with pytest.raises(UnavailableError, match=r"^it does not install: .*nowhere"):
        python_of(requirements, tmp_path / "environment")
    assert not (tmp_path / "environment" / ".installed").exists()


def test_the_others_go_on_without_an_engine_that_cannot_run(workload):
    class Broken:
        name, reads, note, workload = "broken", "", "", None

        def warm_up(self):
            raise UnavailableError("it ended")

    unavailable = {}
    (one, *_) = highwater.engines(workload)
    measured = engines._measure([Broken(), one], 2, workload, Progress(disable=True), unavailable)
    assert unavailable == {"broken": "it ended"}
    assert [(each.name, len(each.rounds)) for each in measured] == [("Highwater", 2)]


def measured(name, in_y, units=0.0):
    a_million = {"requests": 2 * units, "write_units": units} if units else {}
    one = engines.Round(2.0, 2 * in_y, 2 * in_y, in_y)
    return engines.Measured(
        name, "lines", "", 100, "d", in_y, in_y, in_y, 2 * in_y, 2.0, 2 * in_y, 1_000, a_million, [], [one]
    )


def figures(**changed):
    named = {
        engines.FIVE: measured(engines.FIVE, 2.9),
        engines.ONE: measured(engines.ONE, 1.8),
        engines.ONE_WITHOUT_IDS: measured(engines.ONE_WITHOUT_IDS, 1.5),
        engines.STORED: measured(engines.STORED, 4.0, 16_000),
        engines.STORED_ONE: measured(engines.STORED_ONE, 2.5, 12_000),
        engines.IDEMPOTENCY: measured(engines.IDEMPOTENCY, 1_200.0, 2_000_000),
        "Flink SQL, batch": measured("Flink SQL, batch", 2.6),
        "Flink SQL, batch, going on": measured("Flink SQL, batch, going on", 1.2),
    }
    told = SimpleNamespace(**(named | {name: measured(name, value) for name, value in changed.items()}))
    return msgspec.to_builtins(
        {"engines": list(vars(told).values()), "unavailable": {"bytewax": "why"}, "passes_max": 12, "versions": {}}
    )


def test_what_must_be_reached_is_held_against_what_was_measured():
    part = engines.describe(figures())
    reached = {bar.what: bar.is_reached for bar in part.bars}
    assert reached == {
        "whole ingest, the metrics shipped": True,
        "whole ingest, one metric": True,
        "ahead of Flink at its warmest, a job": True,
        "ahead of Flink at its warmest, a job that goes on": False,
        "Highwater, stored, beside BatchProcessor + Idempotency: CPU": True,
        "Highwater, stored, beside BatchProcessor + Idempotency: write units": True,
        "Highwater, one metric, stored, beside BatchProcessor + Idempotency: CPU": True,
        "Highwater, one metric, stored, beside BatchProcessor + Idempotency: write units": True,
    }
    slower = engines.describe(figures(Highwater=3.1))
    whole, *_ = slower.bars
    assert not whole.is_reached
    assert whole.why == "Looking up, remembering and logging ids takes 0.30 Y of it."


def test_the_page_names_every_engine_and_why_one_is_missing():
    part = engines.describe(figures())
    table, stored, missing = part.tables
    assert [row[0] for row in table.rows][:2] == ["Flink SQL, batch, going on", engines.ONE_WITHOUT_IDS]
    assert len(table.rows) == 8
    assert [row[1:] for row in stored.rows][-1] == ["2,400", "4,000,000", "2,000,000"]
    assert missing.rows == [["bytewax", "why"]]
    (chart,) = part.charts
    assert "Flink SQL, batch" in chart.draw()
