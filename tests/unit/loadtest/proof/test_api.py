"""The API's client asks again when the API is busy, tells a refusal as it was told, and tells nobody the token."""

import json
from decimal import Decimal

import pytest

from loadtest.proof import Api, ApiError
from loadtest.proof.ranges import cut, whole
from tests.unit.loadtest.proof.http_stage import Stage


def test_numbers_are_exact_and_the_token_is_sent(stage: Stage) -> None:
    stage.answers = [(200, '{"revenue": 0.10000000000000000001}')]
    assert Api(stage.url, "a-token").get("/v1/x", {"start": "a b"}) == {"revenue": Decimal("0.10000000000000000001")}
    assert stage.seen == [("/v1/x", {"start": "a b"}, "Bearer a-token")]


def test_without_a_token_none_is_sent(stage: Stage) -> None:
    stage.answers = [(200, "{}")]
    Api(stage.url).get("/v1/x", {})
    assert stage.seen[0][2] is None


def test_what_is_busy_is_asked_again(stage: Stage) -> None:
    slept: list[float] = []
    stage.answers = [(503, ""), (429, ""), (200, "1")]
    assert Api(stage.url, sleep=slept.append).get("/v1/x", {}) == 1
    assert slept == [1, 2]


def test_what_stays_busy_is_given_up(stage: Stage) -> None:
    stage.answers = [(503, "{}")]
    with pytest.raises(ApiError) as refused:
        Api(stage.url, sleep=lambda _: None).get("/v1/x", {})
    assert (refused.value.status, refused.value.is_of_too_much) == (503, True)


def test_a_refusal_is_not_asked_again_and_names_what_is_wrong(stage: Stage) -> None:
    stage.answers = [(400, json.dumps({"detail": "group_by: too many rows", "parameter": "group_by"}))]
    with pytest.raises(ApiError, match=r"/v1/x: 400: group_by: too many rows") as refused:
        Api(stage.url, "a-token").get("/v1/x", {})
    assert refused.value.is_of_too_much
    assert "a-token" not in str(refused.value)
    assert len(stage.seen) == 1


def test_who_may_not_ask_is_told_so(stage: Stage) -> None:
    stage.answers = [(401, "<html>")]
    with pytest.raises(ApiError, match="401: no problem document") as refused:
        Api(stage.url).get("/v1/x", {})
    assert not refused.value.is_of_too_much


def test_an_answer_that_is_no_json_is_an_error_of_one_line(stage: Stage) -> None:
    stage.answers = [(200, "<html>")]
    with pytest.raises(ApiError, match="/v1/x: 200, and no JSON"):
        Api(stage.url).get("/v1/x", {})


def test_a_stage_that_is_not_there_is_an_error_of_one_line() -> None:
    with pytest.raises(ApiError) as refused:
        Api("http://127.0.0.1:1", "a-token", sleep=lambda _: None).get("/v1/x", {})
    assert (refused.value.status, "\n" in str(refused.value)) == (0, False)


# ---- which parts a range is asked for in

MINUTE = 60_000
TOUCHED = [(2 * MINUTE, ("a",)), (2 * MINUTE, ("b",)), (5 * MINUTE, ("a",)), (7 * MINUTE, ("a",)), (7 * MINUTE, ("b",))]


def test_the_range_is_of_whole_windows_around_what_was_touched() -> None:
    assert whole(TOUCHED, MINUTE, 0, 0) == (2 * MINUTE, 8 * MINUTE)
    assert whole(TOUCHED, MINUTE, 90_000, 90_000) == (0, 9 * MINUTE)
    assert whole([], MINUTE, 0, 0) is None


@pytest.mark.parametrize(
    ("rows_max", "parts"),
    [(100, [(0, 9)]), (3, [(0, 7), (7, 9)]), (2, [(0, 5), (5, 7), (7, 9)]), (1, [(0, 5), (5, 7), (7, 9)])],
)
def test_parts_join_and_hold_no_more_than_a_page_where_they_can(rows_max: int, parts: list[tuple[int, int]]) -> None:
    told = cut((0, 9 * MINUTE), TOUCHED, rows_max)
    assert [(start // MINUTE, end // MINUTE) for start, end in told] == parts
