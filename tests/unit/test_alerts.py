from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib import definitions
from chalicelib.aggregates.measures import Count, Distinct, Max, Mean, Measure, Min, Quantile, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.alerts import (
    Above,
    Alert,
    Below,
    RateOfChange,
    Rule,
    check_alerts,
    override_thresholds,
    parse_threshold,
)
from chalicelib.definitions import OrderPlaced
from chalicelib.errors import DefinitionError


class Names(Measure, frozen=True):
    type_name = "array"
    accumulators = ()


MEASURES = {
    "n": Count(),
    "total": Sum("amount"),
    "low": Min("amount"),
    "high": Max("amount"),
    "mean": Mean("amount"),
    "users": Distinct("user_id"),
    "median": Quantile("amount", 0.5),
}
ORDERS = Metric(
    name="orders", event_type="order.placed", by=("currency", "order_type"), measures=MEASURES, group_limit=9
)
NAMES = Metric(name="names", event_type="order.placed", measures={"names": Names()})
CATALOG = Catalog({"order.placed": OrderPlaced}, [ORDERS, NAMES])


def alert(name="much", metric="orders", measure="n", rule=Above(5), **more):  # noqa: B008  it is immutable
    return Alert(name=name, metric=metric, measure=measure, rule=rule, **more)


def test_the_declared_alerts_come_back_as_they_are():
    alerts = (alert(), alert("little", rule=Below(Decimal("0.5")), by=("currency",), step="60m"))
    assert check_alerts(alerts, CATALOG) == alerts


def test_the_shipped_alerts_are_well_declared():
    catalog = Catalog(definitions.EVENT_TYPES, definitions.METRICS)
    assert check_alerts(definitions.ALERTS, catalog) == definitions.ALERTS


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ({"name": "Much"}, "alert 'Much': a name is 1..63"),
        ({"name": "a/b"}, "alert 'a/b': a name is 1..63"),
        ({"name": "a#b"}, "alert 'a#b': a name is 1..63"),
        ({"name": "a" * 64}, "a name is 1..63"),
        ({"name": None}, "alert None: a name is 1..63"),
        ({"metric": "other"}, "alert 'much': no metric is named 'other'"),
        ({"measure": "revenue"}, "alert 'much': its metric has no measure 'revenue'"),
        ({"metric": "names", "measure": "names"}, "alert 'much': the measure 'names' is no number"),
        ({"by": ("user_id",)}, "alert 'much': its metric has no dimension 'user_id'"),
        ({"by": "currency"}, "alert 'much': its dimensions 'currency' are no tuple"),
        ({"by": ["currency"]}, r"alert 'much': its dimensions \['currency'\] are no tuple"),
        ({"step": 60}, "alert 'much': its step 60 is no text"),
        ({"by": ("currency", "currency")}, "alert 'much': it groups by a dimension twice"),
        ({"step": "5m"}, "alert 'much': its metric has no windows of 5m"),
        ({"step": "soon"}, "alert 'much': a duration is"),
        ({"rule": 5}, r"alert 'much': 5 is no Above\(…\)"),
        ({"rule": Rule(5)}, r"alert 'much': Rule\(threshold=5\) is no Above\(…\)"),
    ],
)
def test_a_mistake_in_a_declaration_names_itself(wrong, rule):
    with pytest.raises(DefinitionError, match=rule):
        check_alerts([alert(**wrong)], CATALOG)


@pytest.mark.parametrize("threshold", [1.5, True, "5", None, Decimal("NaN"), Decimal("-Infinity"), Decimal("1e999999")])
def test_a_threshold_that_is_no_finite_exact_number_is_refused(threshold):
    with pytest.raises(DefinitionError, match=r"alert 'much': its threshold .* is no finite int or Decimal"):
        check_alerts([alert(rule=RateOfChange(threshold))], CATALOG)


def test_two_alerts_of_one_name_are_refused_by_name():
    with pytest.raises(DefinitionError, match="two alerts are named 'much'"):
        check_alerts([alert(), alert(rule=Below(1))], CATALOG)


def test_what_is_listed_and_no_alert_is_refused():
    with pytest.raises(DefinitionError, match="alert 7 is not declared"):
        check_alerts([7], CATALOG)


def test_above_and_below_leave_the_threshold_itself_alone():
    assert [Above(5).fires(value, None) for value in (4, 5, 6, Decimal("5.000001"))] == [False, False, True, True]
    assert [Below(5).fires(value, None) for value in (6, 5, 4, Decimal("4.999999"))] == [False, False, True, True]


@pytest.mark.parametrize(
    ("threshold", "before", "value", "fires"),
    [
        ("0.5", 100, 150, True),
        ("0.5", 100, 149, False),
        ("0.5", 100, 50, False),
        ("-0.5", 100, 50, True),
        ("-0.5", 100, 51, False),
        ("-0.5", 100, 150, False),
        ("-1", 100, 0, True),
        ("0.5", -100, -50, True),  # against the size of what was, whatever its sign
        ("-0.5", -100, -150, True),
        ("0.5", 0, 100, False),
        ("0.5", Decimal("0.00"), 100, False),
        ("0.5", None, 100, False),
        ("-0.5", None, 0, False),
    ],
)
def test_a_rate_of_change_reaches_its_threshold(threshold, before, value, fires):
    assert RateOfChange(Decimal(threshold)).fires(value, before) is fires


@given(st.integers(1, 10**12), st.integers(-(10**6), 10**6).filter(bool))
def test_a_rate_of_change_is_not_rounded(before, millionths):
    threshold = Decimal(millionths).scaleb(-6)
    reached = before + before * threshold  # 18 digits at most: exact
    assert RateOfChange(threshold).fires(reached, before)
    with localcontext(prec=90):
        assert not RateOfChange(threshold + Decimal("1e-60").copy_sign(threshold)).fires(reached, before)


@pytest.mark.parametrize(
    ("rule", "measures"),
    [(Above(1), {"n", "total", "high", "users"}), (Below(1), {"low"}), (RateOfChange(1), set())],
)
def test_an_alert_comes_early_where_more_counting_cannot_make_it_untrue(rule, measures):
    assert {measure for measure in MEASURES if alert(measure=measure, rule=rule).fires_early(ORDERS)} == measures


def test_a_threshold_set_at_run_time_takes_the_place_of_the_declared_one():
    overridden = override_thresholds([alert(), alert("other")], {"much": " 7.50 "})
    assert overridden.alerts == (alert(rule=Above(Decimal("7.50"))), alert("other"))
    assert (overridden.refused, overridden.unknown) == ((), 0)


@pytest.mark.parametrize("text", ["", "much", "NaN", "Infinity", "1e999999", "5,0", "0x10"])
def test_a_threshold_that_is_no_number_leaves_the_declared_one_and_is_told(text):
    overridden = override_thresholds([alert(), alert("other")], {"much": text})
    assert overridden.alerts == (alert(), alert("other"))
    assert overridden.refused == ("much",)


def test_a_threshold_for_no_alert_is_ignored_and_counted():
    assert override_thresholds([alert()], {"none": "1", "nobody": "x"}).unknown == 2


@given(st.text())
def test_whatever_is_set_is_a_finite_number_or_refused(text):
    try:
        assert parse_threshold(text).is_finite()
    except ValueError as error:
        assert "finite" in str(error)  # noqa: PT017  and nothing of the text
