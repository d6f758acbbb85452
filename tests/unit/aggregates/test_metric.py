from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from chalicelib import definitions
from chalicelib.aggregates.measures import Count, Distinct, Max, Mean, Min, Quantile, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.change import Change
from chalicelib.errors import DefinitionError
from tests.builders import CATALOG, DAY_MS


class Thing(Struct):
    name: str
    size: Decimal
    count: int
    ratio: float


def metric(**changes):
    declared = {"name": "things", "event_type": "thing", "by": ("name",), "measures": {"n": Count()}}
    return Metric(**(declared | changes))


def catalog(*metrics):
    return Catalog({"thing": Thing}, metrics)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"name": "Bad Name"}, "a name is"),
        ({"name": "alert"}, "the name is one that"),
        ({"event_type": "nothing"}, "'nothing'"),
        ({"measures": {}}, "measures nothing"),
        ({"measures": {"n": Count}}, "no Count()"),
        ({"by": ("colour",)}, "'colour'"),
        ({"by": ("size",)}, "no text"),
        ({"measures": {"total": Sum("weight")}}, "'weight'"),
        ({"measures": {"total": Sum("ratio")}}, "no int or Decimal"),
        ({"measures": {"name": Count()}}, "named like"),
        ({"measures": {"window_start": Count()}}, "named like"),
        ({"measures": {"a b": Count()}}, "no plain name"),
        ({"window": "7m"}, "does not divide a day"),
        ({"window": "soon"}, "a duration is"),
        ({"lateness": "0s"}, "a duration is"),
        ({"retention": "forever"}, "a duration is"),
        ({"rollups": ("1h", "soon")}, "a duration is"),
        ({"rollups": ("1h", "90m")}, "rollup of 90m is no multiple of its windows of 1h"),
        ({"rollups": ("1d", "1h")}, "rollup of 1h is no multiple of its windows of 1d"),
        ({"rollups": ("1m",)}, "rollup of 1m is no multiple of its windows of 1m"),
        ({"rollups": ("1h", "5h")}, "rollup of 5h does not divide a day"),
        ({"buckets": 0}, "below 1"),
        ({"by": (), "buckets": 2}, "nothing to deal"),
        ({"group_limit": 1_000_000}, "at most 11363 groups"),
        ({"measures": {"m": Distinct("colour")}}, "no field 'colour'"),
        ({"measures": {"m": Distinct("size")}}, "'size' is no text or int"),
        ({"measures": {"total": Sum("size"), "m": Distinct("size")}}, "'size' is no text or int"),
        ({"measures": {"m": Distinct("name", lg_k=12)}}, "the measure 'm': its lg_k 12 is no integer from 13 to 21"),
        ({"measures": {"m": Distinct("name", lg_k=22)}}, "its lg_k 22"),
        ({"measures": {"m": Distinct("name", lg_k="14")}}, "its lg_k '14'"),
        ({"measures": {"m": Distinct("name")}}, "at most 15 groups"),
        ({"measures": {"m": Distinct("name", lg_k=18)}}, "at most 0 groups"),
        ({"measures": {"m": Quantile("name", 0.5)}}, "'name' is no int or Decimal"),
        ({"measures": {"m": Quantile("ratio", 0.5)}}, "'ratio' is no int or Decimal"),
        ({"measures": {"m": Quantile("size", 95)}}, "the measure 'm': its rank 95 is no number from 0 to 1"),
        ({"measures": {"m": Quantile("size", -0.1)}}, "its rank -0.1"),
        ({"measures": {"m": Quantile("size", float("nan"))}}, "its rank nan"),
        ({"measures": {"m": Quantile("size", Decimal("0.5"))}}, "its rank"),
        ({"measures": {"m": Quantile("size", "0.5")}}, "its rank '0.5'"),
        ({"measures": {"m": Quantile("size", True)}}, "its rank True"),
        ({"measures": {"m": Quantile("size", 0.5, k=7)}}, "the measure 'm': its k 7 is no integer from 8 to 65535"),
        ({"measures": {"m": Quantile("size", 0.5, k=65_536)}}, "its k 65536"),
        ({"measures": {"m": Quantile("size", 0.5)}}, "at most 25 groups"),
    ],
)
def test_a_wrong_declaration_is_refused_at_import_and_named(changes, fault):
    with pytest.raises(DefinitionError, match=fault):
        catalog(metric(**changes))


@pytest.mark.parametrize(
    ("window", "rollups", "minutes"),
    [
        ("1m", None, [1, 60, 1440]),
        ("1h", None, [60, 1440]),
        ("1d", None, [1440]),
        ("45m", None, [45, 1440]),
        ("1m", (), [1]),
        ("1m", ("5m", "6h"), [1, 5, 360]),
    ],
)
def test_windows_are_rolled_up_to_hours_and_days_unless_declared_otherwise(window, rollups, minutes):
    assert [step_ms / 60_000 for step_ms in metric(window=window, rollups=rollups).steps_ms] == minutes


def test_an_event_type_that_is_no_struct_is_refused_by_name():
    with pytest.raises(DefinitionError, match="event type 'thing'"):
        Catalog({"thing": dict}, [])


class ThingChanged(Change[Thing], frozen=True):
    pass


class Nothing(Change, frozen=True):
    pass


def test_a_metric_over_changes_looks_at_the_fields_of_the_row():
    measures = {"n": Count(), "total": Sum("size"), "mean": Mean("size"), "counts": Sum("count")}
    Catalog({"thing": ThingChanged}, [metric(measures=measures)])
    with pytest.raises(DefinitionError, match="no field 'old'"):
        Catalog({"thing": ThingChanged}, [metric(by=("old",))])


@pytest.mark.parametrize("measure", [Min("size"), Max("size"), Distinct("name"), Quantile("size", 0.5)])
def test_a_measure_that_cannot_take_an_old_row_back_is_refused_by_name(measure):
    with pytest.raises(
        DefinitionError, match=f"'things': the measure 'm', a {type(measure).__name__}, cannot take back"
    ):
        Catalog({"thing": ThingChanged}, [metric(measures={"n": Count(), "m": measure})])


class Unchecked(Change[Thing], frozen=True):
    def __post_init__(self):
        pass


@pytest.mark.parametrize(
    ("data_class", "fault"),
    [(Nothing, "change of ~Row"), (Change[Thing], "no msgspec Struct"), (Unchecked, "replaces Change's own")],
)
def test_a_change_of_nothing_in_particular_is_refused_by_name(data_class, fault):
    with pytest.raises(DefinitionError, match=f"event type 'thing': .*{fault}"):
        Catalog({"thing": data_class}, [])


@pytest.mark.parametrize("event_type", ["thing", "nothing"])
def test_an_event_type_that_a_table_is_mapped_to_is_declared_as_a_change(event_type):
    with pytest.raises(DefinitionError, match=f"'{event_type}': it is not declared as a Change"):
        catalog().check_change(event_type)
    Catalog({"thing": ThingChanged}, []).check_change("thing")


def test_two_metrics_of_one_name_are_refused():
    with pytest.raises(DefinitionError, match="same name"):
        catalog(metric(), metric())


def test_measures_share_what_is_stored_for_them():
    shared = metric(measures={"n": Count(), "total": Sum("size"), "mean": Mean("size")})
    assert list(map(str, shared.accumulators)) == ["count()", "sum(size)"]


def test_quantiles_of_one_field_share_a_sketch_of_one_size():
    of_size = {"p50": Quantile("size", 0.5), "p99": Quantile("size", 0.99), "finer": Quantile("size", 0.5, k=512)}
    shared = metric(measures={**of_size, "names": Distinct("name")}, group_limit=1)
    assert list(map(str, shared.accumulators)) == ["quantiles(size)", "quantiles(size)", "distinct(name)"]
    assert (shared.measured, shared.distinct, shared.fields) == (("size",), ("name",), ("size", "name"))


def test_what_is_stored_of_the_shipped_metrics_still_means_the_same():
    assert {metric.name: metric.fingerprint for metric in definitions.METRICS} == {
        "orders": "a490c979",
        "customers": "de38185c",
        "customers_distinct": "ee347cfd",
        "order_value": "882bb5f6",
        "order_status": "86a71628",
    }


def test_the_fingerprint_changes_with_the_meaning_only():
    assert metric().fingerprint == metric(retention="5d", group_limit=7).fingerprint
    changed = [
        {"by": ()},
        {"measures": {"n": Max("size")}},
        {"buckets": 2},
        {"spread": 2},
        {"measures": {"n": Min("size")}},
        {"measures": {"n": Distinct("name")}},
        {"measures": {"n": Distinct("name", lg_k=13)}},
        {"measures": {"n": Quantile("size", 0.5)}},
        {"measures": {"n": Quantile("size", 0.5, k=128)}},
    ]
    assert len({metric(**change).fingerprint for change in [{}, *changed]}) == 10
    assert metric(**changed[-2]).fingerprint == metric(measures={"n": Quantile("size", 0.9)}).fingerprint


def test_an_event_is_too_late_for_all_its_metrics_or_for_none():
    both = catalog(metric(lateness="1h"), metric(name="other"))
    assert both.lateness_ms("thing", DAY_MS) == 3_600_000
    assert both.lateness_ms("thing", 1_000) == 1_000
    assert catalog().lateness_ms("thing", DAY_MS) == DAY_MS


@given(st.text(min_size=1, max_size=20))
def test_a_group_has_one_bucket_and_writers_share_its_partitions(user_id):
    spread = metric(buckets=8, spread=4)
    bucket = spread.bucket_of((user_id,))
    assert {spread.partition_of(bucket, f"writer-{n}") for n in range(40)} == set(spread.partitions_of(bucket))


def test_buckets_are_stable_across_releases():
    assert [CATALOG.metrics["customers"].bucket_of((user,)) for user in ("ada", "grace", "edsger")] == [0, 3, 2]


def test_a_metric_that_is_kept_shorter_than_the_stream_keeps_its_events_is_refused():
    six_days = catalog(metric(retention="6d"))
    six_days.outlives(6 * DAY_MS)
    with pytest.raises(DefinitionError, match="'things': its retention is below the stream's own 7d"):
        six_days.outlives(7 * DAY_MS)
