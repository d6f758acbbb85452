"""When the fingerprint of what decides changes, and when it does not."""

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


def test_the_deciding_code_is_all_there():
    assert all((decisions.CHALICELIB / name).exists() for name in decisions.DECIDING)
    assert any("records/decode.py" in part for part in decisions._coded())
