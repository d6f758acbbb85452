import pytest

from chalicelib.http import SECURITY_HEADERS, HttpAnswer, etag_of, finish

ETAG = etag_of([b"the answer"])
ANSWER = HttpAnswer(200, {"Content-Type": "text/plain", "ETag": ETAG, "Cache-Control": "private"}, "the answer")


def test_every_answer_has_the_security_headers_and_is_not_stored_unless_it_says_so():
    plain = finish(HttpAnswer(404, {"Content-Type": "text/plain"}, "none"), None)
    assert plain.headers == {**SECURITY_HEADERS, "Cache-Control": "no-store", "Content-Type": "text/plain"}
    assert finish(ANSWER, None).headers["Cache-Control"] == "private"


def test_an_answer_keeps_its_own_policy():
    own = HttpAnswer(200, {"Content-Security-Policy": "default-src 'self'"}, "")
    assert finish(own, None).headers["Content-Security-Policy"] == "default-src 'self'"


@pytest.mark.parametrize("given", [ETAG, ETAG.removeprefix("W/"), f'"other", {ETAG}', "*", f" {ETAG} "])
def test_what_the_asker_has_is_not_sent_again(given):
    answer = finish(ANSWER, given)
    assert (answer.status, answer.body) == (304, "")
    assert answer.headers["ETag"] == ETAG
    assert answer.headers["Cache-Control"] == "private"
    assert "Content-Type" not in answer.headers


@pytest.mark.parametrize("given", [None, "", '"other"', ETAG[:-2], "W/"])
def test_what_the_asker_has_not_is_sent(given):
    assert finish(ANSWER, given).status == 200


def test_a_problem_is_sent_whatever_the_asker_has():
    problem = HttpAnswer(400, {"ETag": ETAG}, "{}")
    assert finish(problem, "*").status == 400


def test_a_validator_tells_where_parts_end():
    assert etag_of([b"ab", b"c"]) != etag_of([b"a", b"bc"])
