"""Which changes of the aggregates table invoke its consumers: Lambda's event filters, by how partition keys begin.

Most changes are of metrics that nobody is told of. Lambda reads them for nothing; an invocation of fan-out each second
for each of the table's partitions, to find that there is nothing to do, was most of what one shard alone cost too much.
A filter only spares invocations: each consumer passes over by itself what it would have kept away.

Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function", and its quotas: five filters
a mapping, of which one has to match, 4 096 characters each.
"""

import json
from collections.abc import Collection, Iterable

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.windows import format_duration
from chalicelib.aws.aggregates_keys import ALERT

FILTERS_MAX, PATTERN_CHARACTERS_MAX = 5, 4_096
# Items go by time to live alone, and as many go as are made: what has expired is no change of a count.
CHANGES = {"eventName": ["INSERT", "MODIFY"]}
NO_KEY = {"exists": False}  # what no item is: Lambda takes no empty list


def rollup_patterns(catalog: Catalog) -> list[str]:
    """Of windows that larger ones are made of, of every metric: what may have been settled is carried on of all."""
    return _patterns(
        f"{metric.name}#{format_duration(step_ms)}#"
        for metric in catalog.metrics.values()
        for step_ms in metric.steps_ms[:-1]
    )


def fan_out_patterns(catalog: Catalog, watched: Collection[str]) -> list[str]:
    """Of windows of metrics that are published or watched, and of alerts."""
    told_of = catalog.told_of(watched)
    return _patterns([f"{ALERT}#", *(f"{name}#" for name in catalog.metrics if name in told_of)])


def _patterns(prefixes: Iterable[str]) -> list[str]:
    """The patterns that let changes of keys through that begin so.

    Returns: as few as Lambda takes; of more prefixes than fit in them, the one that asks for no key.
    """
    patterns = [_pattern([])]
    prefixes_of_last: list[object] = []
    for prefix in prefixes:
        matcher = {"prefix": prefix}
        if len(longer := _pattern([*prefixes_of_last, matcher])) <= PATTERN_CHARACTERS_MAX:
            prefixes_of_last.append(matcher)
            patterns[-1] = longer
        else:
            prefixes_of_last = [matcher]
            patterns.append(_pattern(prefixes_of_last))
    return patterns if len(patterns) <= FILTERS_MAX else [json.dumps(CHANGES)]


def _pattern(matchers: list[object]) -> str:
    keys = {"pk": {"S": matchers or [NO_KEY]}}
    return json.dumps({**CHANGES, "dynamodb": {"Keys": keys}}, separators=(",", ":"))
