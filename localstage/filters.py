"""Which records the filters of a mapping let through.

Lambda's patterns are EventBridge's, less two operators; MiniStack matches those as EventBridge does, so it does here.

Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function", filter rule syntax.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from ministack.services import eventbridge

from localstage.source import EncodedRecord

Filter = Callable[[EncodedRecord], bool]

NOT_LAMBDAS = {"cidr", "wildcard"}  # operators that EventBridge has and Lambda has not


def filter_of(patterns: Sequence[str]) -> Filter:
    """Make the filter of patterns of which one has to match.

    Raises: ValueError, with the pattern and the reason, for one that Lambda would refuse.
    """
    alternatives = [alternative for pattern in patterns for alternative in _compiled(pattern)]

    def lets_through(record: EncodedRecord) -> bool:
        delivered = orjson.loads(record.body)
        return any(eventbridge._matches_detail(delivered, each) for each in alternatives)  # noqa: SLF001  see above

    return lets_through


def _compiled(pattern: str) -> list[Any]:
    alternatives, reason = eventbridge._parse_pattern_text(pattern)  # noqa: SLF001  there is no other way in
    if alternatives is None:
        raise ValueError(f"{pattern}: {reason}")
    if unknown := NOT_LAMBDAS.intersection(_operators(orjson.loads(pattern))):
        raise ValueError(f"{pattern}: Lambda has no {', '.join(sorted(unknown))}")
    compiled: list[Any] = alternatives
    return compiled


def _operators(rule: Any, *, in_a_list: bool = False) -> Iterator[str]:
    """The operators of a rule: the keys within its lists of values, however deep."""
    if isinstance(rule, Mapping):
        for key, value in rule.items():
            if in_a_list:
                yield key
            yield from _operators(value, in_a_list=in_a_list)
    elif isinstance(rule, list):
        for value in rule:
            yield from _operators(value, in_a_list=True)
