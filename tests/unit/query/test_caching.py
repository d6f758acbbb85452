"""What may be kept of an answer, and when asking again is answered by 304.

The stage's lateness is a day, its complete_until is 1.5 s before NOW.
"""

import pytest

from chalicelib.access.grant import EVERYTHING, Grant
from chalicelib.aggregates.measures import Count, Mean, Sum
from chalicelib.aggregates.metric import Catalog, Metric
from chalicelib.aggregates.windows import format_instant
from chalicelib.reading.ports import ShardProgress
from chalicelib.records.shard import Shard
from tests.unit.query.shop import DAY_MS, HOUR_MS, MINUTE_MS, NOW_MS, START_MS, Sale, Stage, Stream, sold

HOUR = {"start": format_instant(START_MS), "end": format_instant(START_MS + HOUR_MS)}
CLOSED_MS = START_MS + HOUR_MS + DAY_MS


def complete_until(instant_ms):
    return Stream([Shard("shard-0", is_open=True)], [ShardProgress("shard-0", "0042", instant_ms)])


def headers(sales=(), complete_until_ms=NOW_MS, **parameters):
    return Stage(sales, complete_until(complete_until_ms)).answer(**(HOUR | parameters)).headers


def test_a_range_that_is_closed_and_complete_is_kept():
    assert headers(complete_until_ms=CLOSED_MS)["Cache-Control"] == "private, max-age=3600"


@pytest.mark.parametrize("stream", [complete_until(CLOSED_MS - 1), Stream([Shard("shard-0", is_open=True)])])
def test_what_can_change_is_asked_for_again(stream):
    assert Stage([], stream).answer(**HOUR).headers["Cache-Control"] == "private, no-cache"


def test_the_same_answer_has_the_same_validator():
    assert headers([sold(0)])["ETag"] == headers([sold(0)])["ETag"]


def test_a_closed_answer_is_the_same_however_much_more_is_complete():
    assert headers(complete_until_ms=CLOSED_MS)["ETag"] == headers(complete_until_ms=CLOSED_MS + HOUR_MS)["ETag"]


def test_an_open_answer_is_another_when_more_is_complete():
    assert headers(complete_until_ms=NOW_MS)["ETag"] != headers(complete_until_ms=NOW_MS + MINUTE_MS)["ETag"]


def test_another_count_is_another_answer():
    assert headers([sold(0)])["ETag"] != headers([sold(0), sold(60)])["ETag"]


@pytest.mark.parametrize(
    "parameters",
    [
        {"format": "csv"},
        {"limit": 9},
        {"step": "5m"},
        {"group_by": "shop"},
        {"where": "shop:a"},
        {"measures": "n"},
        {"order_by": "-n"},
        {"start": format_instant(START_MS - HOUR_MS)},
    ],
)
def test_another_question_is_another_answer(parameters):
    assert headers([sold(0)])["ETag"] != headers([sold(0)], **parameters)["ETag"]


def test_a_measure_that_is_declared_anew_gives_another_answer():
    def stage(measure):
        metric = Metric(name="sales", event_type="sale", measures={"n": Count(), "x": measure})
        return Stage([sold(0, price="3")], complete_until(CLOSED_MS), catalog=Catalog({"sale": Sale}, [metric]))

    total, mean = Sum("price"), Mean("price")  # of the same accumulators: what is stored is the same
    assert stage(total).answer(**HOUR).headers["ETag"] != stage(mean).answer(**HOUR).headers["ETag"]


def test_another_page_is_another_answer():
    stage = Stage([sold(0, "a"), sold(0, "b"), sold(0, "c")], complete_until(CLOSED_MS))
    asked = HOUR | {"group_by": "shop", "limit": 1}
    first = stage.ask(**asked)
    second = stage.ask(**asked, cursor=first["next"])
    etags = {stage.answer(**asked, cursor=cursor).headers["ETag"] for cursor in (first["next"], second["next"])}
    assert len(etags | {stage.answer(**asked).headers["ETag"]}) == 3


def test_answers_depend_on_who_asks_and_on_what_is_accepted():
    assert headers()["Vary"] == "Accept, Accept-Encoding, Authorization"


def test_what_there_is_to_ask_for_has_a_validator():
    stage = Stage()
    listed = stage.query.list_metrics(EVERYTHING).headers["ETag"]
    assert stage.query.list_metrics(EVERYTHING).headers["ETag"] == listed
    assert stage.query.describe_metric(EVERYTHING, "sales").headers["ETag"] != listed
    assert stage.query.list_metrics(Grant("ada", ("sales",), NOW_MS)).headers["ETag"] != listed
