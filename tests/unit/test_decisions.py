"""When the fingerprint of what decides changes, and when it does not."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from chalicelib import decisions
from chalicelib.aggregates.measures import Count
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.decisions import fingerprint
from chalicelib.settings import read_settings
from tests.builders import CATALOG

SETTINGS = read_settings({"STAGE": "test"})
METRICS = tuple(CATALOG.metrics.values())

NOTHING = decisions._meaning('"""Tells what is in a package."""')
LOADED = """
import json, sys
import chalicelib.wiring.ingest
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "chalicelib"]))
"""
# What ingest loads besides, and why two versions of it may take turns. `wiring/__init__.py` is of every function.
DECIDES_NOTHING = {
    "alerts.py": "fan_out's and tick's: which messages there are",
    "aws/capacity.py": "counts write units",
    "aws/clients.py": "time-outs and tries of a call",
    "aws/concurrent.py": "threads",
    "aws/failures.py": "which calls are made again, not what they say",
    "consumers/cut.py": "how what others put on a stream is cut",
    "consumers/ports.py": "protocols, and the data that they speak of",
    "consumers/put_requests.py": "as cut.py",
    "errors.py": "names",
    "reading/merged.py": "how queries and the functions behind ingest read what is stored",
    "reading/plans.py": "as merged.py",
    "reading/ports.py": "as merged.py",
    "settings.py": "the settings that decide are in the fingerprint themselves",
    "telemetry.py": "tells what was decided",
    "wiring/__init__.py": "loads, and wraps: logs, traces, metrics",
    "wiring/discretion.py": "what is told of an error",
}


def with_metric(**changed):
    return Catalog(CATALOG.event_types, (replace(METRICS[0], **changed), *METRICS[1:]))


def test_the_same_is_the_same_in_another_order():
    assert fingerprint(Catalog(CATALOG.event_types, METRICS[::-1]), SETTINGS) == fingerprint(CATALOG, SETTINGS)


def test_a_metric_that_is_added_decides_otherwise():
    more = Metric(name="more", event_type=METRICS[0].event_type, measures={"count": Count()})
    assert fingerprint(Catalog(CATALOG.event_types, (*METRICS, more)), SETTINGS) != fingerprint(CATALOG, SETTINGS)


@pytest.mark.parametrize("changed", [{"window": "5m"}, {"lateness": "1h"}, {"group_limit": 7}, {"retention": "401d"}])
def test_a_metric_that_is_changed_decides_otherwise(changed):
    assert fingerprint(with_metric(**changed), SETTINGS) != fingerprint(CATALOG, SETTINGS)


@pytest.mark.parametrize(
    "variable", ["EVENTS_STREAM", "AGGREGATES_TABLE", "IDS_TABLE", "IDEMPOTENCY_TABLE", "ORDERS_TABLE"]
)
def test_another_resource_by_which_counts_are_told_decides_otherwise(variable):
    """By turns, one batch would be counted in two tables, and its ids looked up in one of them."""
    set_so = read_settings({"STAGE": "test", variable: "another"})
    assert fingerprint(CATALOG, set_so) != fingerprint(CATALOG, SETTINGS)


@pytest.mark.parametrize("variable", ["LATENESS", "FUTURE_TOLERANCE", "DEDUP_HORIZON"])
def test_a_setting_of_time_decides_otherwise(variable):
    set_so = read_settings({"STAGE": "test", variable: "7m"})
    assert fingerprint(CATALOG, set_so) != fingerprint(CATALOG, SETTINGS)


def test_what_decides_nothing_is_nothing_to_it():
    set_so = read_settings(
        {"STAGE": "test", "API_TOKENS_MAX_AGE": "5m", "RESULTS_TOPIC_ARN": "arn:aws:sns:us-east-1:000000000000:results"}
    )
    assert fingerprint(CATALOG, set_so) == fingerprint(CATALOG, SETTINGS)
    assert fingerprint(with_metric(published=not METRICS[0].published), SETTINGS) == fingerprint(CATALOG, SETTINGS)


def test_code_is_what_it_does_and_not_how_it_is_laid_out():
    laid_out = decisions._meaning('"""A module."""\ndef f(a):\n    """One."""\n    return a  # why\n')
    assert laid_out == decisions._meaning("def f(a): return (a)")
    assert laid_out != decisions._meaning("def f(a): return a + 1")


def test_whatever_ingest_loads_is_in_it_or_decides_nothing():
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=decisions.CHALICELIB.parent, capture_output=True, text=True, check=True
    )
    loaded = {Path(path).relative_to(decisions.CHALICELIB).as_posix() for path in json.loads(done.stdout)}
    code = {name for name in loaded if decisions._meaning((decisions.CHALICELIB / name).read_text()) != NOTHING}
    hashed = {part.split()[0] for part in decisions._coded()}
    assert code - hashed == set(DECIDES_NOTHING)
    assert hashed & set(DECIDES_NOTHING) == set()


def test_what_is_named_as_deciding_is_there():
    assert [name for name in decisions.DECIDING if not (decisions.CHALICELIB / name).exists()] == []
