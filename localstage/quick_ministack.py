"""MiniStack with a quick Query: `python -m localstage.quick_ministack` instead of `python -m ministack`.

MiniStack (1.4.21) holds the key condition of a Query against every item of the partition, and parses it anew for each:
of a partition of 2 000 items a Query of four took 70 ms, and the stage's own tables have such partitions. Here the two
conditions that Highwater asks are parsed once; whatever else is evaluated, MiniStack does as it always did.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ministack.services import dynamodb, dynamodb_streams, kinesis, sns

from localstage import control, faults
from localstage.faults import Faults
from localstage.meter import Answer, Handler, Meter, Request, operation_of
from localstage.meter import install as install_meter

Item = Mapping[str, Mapping[str, str]]

KEY_RANGE = re.compile(r"(\w+) = (:\w+)(?: AND (\w+) BETWEEN (:\w+) AND (:\w+))?")


class KeyRange(NamedTuple):
    """A Query's key condition, of keys that are texts: an equal partition key, and from low to high the sort key's."""

    partition_key: str
    partition: Mapping[str, str]
    sort_key: str | None
    low: str
    high: str

    def holds(self, item: Item) -> bool:
        """Whether an item satisfies it. Texts order by code point here as their UTF-8 does there."""
        if item[self.partition_key] != self.partition:
            return False
        return self.sort_key is None or self.low <= item[self.sort_key]["S"] <= self.high


def quick(evaluate: Callable[..., bool]) -> Callable[..., bool]:
    """Make MiniStack's evaluation of conditions quick where it is a Query's."""
    latest_values: Item = {}
    latest: KeyRange | None = None

    def evaluate_quickly(
        expression: str, item: Item, values: Item, names: Mapping[str, str], slot: str = "ConditionExpression"
    ) -> bool:
        nonlocal latest_values, latest
        if slot != "KeyConditionExpression":
            return evaluate(expression, item, values, names, slot=slot)
        if values is not latest_values:  # one request's values are one object, and no other's while it is kept here
            latest_values, latest = values, key_range(expression, values)
        return evaluate(expression, item, values, names, slot=slot) if latest is None else latest.holds(item)

    return evaluate_quickly


def key_range(expression: str, values: Item) -> KeyRange | None:
    """Read `pk = :pk` or `pk = :pk AND sk BETWEEN :low AND :high`; None of any other condition."""
    match = KEY_RANGE.fullmatch(expression)
    if match is None or not all("S" in value for value in values.values()):
        return None
    partition_key, partition, sort_key, low, high = match.groups()
    bounds = (values[low]["S"], values[high]["S"]) if sort_key else ("", "")
    return KeyRange(partition_key, values[partition], sort_key, *bounds)


def watched(service: str, handle: Handler, meter: Meter, injected: Faults) -> Handler:
    """Count what a service is asked, and let the faults meet it first."""

    async def handle_watched(*parts: Any) -> Answer:
        request = Request(*parts)
        operation = operation_of(service, request)
        answer = await injected.meet(service, operation) or await handle(*request)
        meter.request(service, operation, request.body, answer)
        return answer

    return handle_watched


def main() -> None:
    """Run MiniStack so."""
    from ministack import app  # noqa: PLC0415  it reads its settings when it is imported

    meter, injected = Meter(), faults.Faults()
    dynamodb._evaluate_condition = quick(dynamodb._evaluate_condition)  # noqa: SLF001  there is no other way in
    install_meter(meter, dynamodb, kinesis, sns)
    faults.install(injected, kinesis, dynamodb_streams)
    for service, handle in app.SERVICE_HANDLERS.items():
        app.SERVICE_HANDLERS[service] = watched(service, handle, meter, injected)
    app.app = control.beside(app.app, meter, injected)
    app.main()


if __name__ == "__main__":
    main()
