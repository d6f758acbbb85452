"""Which records a filter lets through, by the patterns of Lambda's developer guide."""

import orjson
import pytest

from localstage.filters import filter_of
from localstage.source import EncodedRecord

EXPIRED = {
    "eventName": "REMOVE",
    "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
    "dynamodb": {"Keys": {"pk": {"S": "orders#1m#0"}}},
}
CHANGED = {"eventName": "MODIFY", "dynamodb": {"Keys": {"pk": {"S": "orders#1m#0"}, "sk": {"N": "7"}}}}


def let_through(*patterns):
    lets_through = filter_of(patterns)
    records = {"expired": EXPIRED, "changed": CHANGED}
    return {name for name, each in records.items() if lets_through(EncodedRecord("1", 0, orjson.dumps(each)))}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ('{"eventName": ["INSERT", "MODIFY"]}', {"changed"}),
        ('{"eventName": ["REMOVE"], "userIdentity": {"type": ["Service"]}}', {"expired"}),
        ('{"userIdentity": {"type": [{"exists": false}]}}', {"changed"}),
        ('{"eventName": [{"anything-but": ["REMOVE"]}]}', {"changed"}),
        ('{"dynamodb": {"Keys": {"pk": {"S": [{"prefix": "orders#"}]}}}}', {"changed", "expired"}),
        ('{"dynamodb": {"Keys": {"pk": {"S": [{"suffix": "#1"}]}}}}', set()),
        ('{"$or": [{"eventName": ["REMOVE"]}, {"dynamodb": {"Keys": {"sk": {"N": ["7"]}}}}]}', {"changed", "expired"}),
        ('{"nothing": ["of the kind"]}', set()),
    ],
)
def test_a_record_is_let_through_that_the_pattern_matches(pattern, expected):
    assert let_through(pattern) == expected


def test_one_of_several_patterns_is_enough():
    assert let_through('{"eventName": ["MODIFY"]}', '{"eventName": ["REMOVE"]}') == {"changed", "expired"}


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("not JSON", "Invalid JSON"),
        ("[]", "Filter is not an object"),
        ("{}", "Empty objects"),
        ('{"eventName": "INSERT"}', "must be an object or an array"),
        ('{"eventName": []}', "Empty arrays"),
        ('{"eventName": [{"regex": ".*"}]}', "Unrecognized match type regex"),
        ('{"eventName": [{"wildcard": "M*"}]}', "Lambda has no wildcard"),
        ('{"a": {"b": [{"anything-but": {"wildcard": "M*"}}]}}', "Lambda has no wildcard"),
    ],
)
def test_a_pattern_that_lambda_would_refuse_is_refused_with_the_reason(pattern, reason):
    with pytest.raises(ValueError, match=reason):
        filter_of([pattern])
