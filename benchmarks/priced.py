"""What a simulated stage's spending comes to for a million events: units that have a price, and dollars.

Lambda's time is made of CPU: a function of 1 024 MB has 1 024 / 1 769 of a processor, so what takes a second of CPU
here takes 1.73 there. On top come, for each invocation, its round trips to AWS that wait for one another. The CPU of
making a request, which stores in memory do not need, is measured with boto3 against an emulator and added for each.

Left out is what depends on time, contents or taste and not on how much is counted: storage, the API, metrics, alarms,
traces, the effects of handlers.

Source: AWS Lambda Developer Guide, "Configure Lambda function memory": at 1 769 MB a function has one vCPU.
"""

import tempfile
from pathlib import Path
from statistics import median
from time import process_time

from msgspec import Struct

from benchmarks.simulated_stage import IDS, Spending
from localstage import aws
from localstage.emulator import Emulator
from ops.cost.load import GB, Load
from ops.cost.prices import dollars, read_prices
from ops.resources import ensure

MILLION = 1e6
MEMORY_GB, VCPUS = 1.0, 1_024 / 1_769
ROUND_TRIP_S = 0.005  # assumed
ROUND_TRIPS = {"ingest": 4, "fan_out": 2, "rollup": 3, "tick": 12}  # those that wait for one another
BAD_SHARE = 1e-4  # of records: each makes an object in the bucket of dead letters
PUTS, ROUNDS = 100, 5  # that tell the CPU of a request
HOUR_S = 3_600


class Priced(Struct, frozen=True):
    """For a million events. Shapes: requests, of DynamoDB; writes, by function and the id log; dollars, by service."""

    requests: float
    write_units: float
    read_units: float
    writes: dict[str, float]
    units: dict[str, float]
    dollars: dict[str, float]
    total: float


def price(spending: Spending, request_cpu_s: float) -> Priced:
    """Price what a stage has taken."""
    scale = MILLION / spending.events
    functions = spending.functions
    invocations = sum(spent.invocations for spent in functions.values())
    busy_s = sum(
        (spent.cpu_s + spent.requests * request_cpu_s) / VCPUS + spent.invocations * ROUND_TRIPS[name] * ROUND_TRIP_S
        for name, spent in functions.items()
    )
    writes = {name: float(spent.write_units) for name, spent in functions.items() if spent.write_units}
    writes["ingest"] -= spending.tables[IDS]
    writes["id log"] = float(spending.tables[IDS])
    shard_hours = spending.shards * spending.seconds / HOUR_S
    units = {
        "kinesis.shard_hours": shard_hours,
        "kinesis.extended_retention_shard_hours": shard_hours,
        "kinesis.put_payload_units": spending.put_payload_units + spending.shards * spending.seconds / 60,
        "lambda.requests": invocations,
        "lambda.gb_seconds_x86_64": busy_s * MEMORY_GB,
        "dynamodb.write_units": sum(spent.write_units for spent in functions.values()),
        "dynamodb.read_units": sum(spent.read_units for spent in functions.values()),
        "s3.put_requests": spending.records * BAD_SHARE,
        "sns.publishes": sum(spent.publishes for spent in functions.values()),
        "cloudwatch.log_gb": invocations * Load(1).log_bytes / GB,
    }
    units = {name: count * scale for name, count in units.items()}
    bill = {service: float(cost) for service, cost in dollars(units, read_prices()).items()}
    return Priced(
        requests=sum(spent.requests for spent in functions.values()) * scale,
        write_units=units["dynamodb.write_units"],
        read_units=units["dynamodb.read_units"],
        writes={name: count * scale for name, count in writes.items()},
        units=units,
        dollars=bill,
        total=sum(bill.values()),
    )


def measure_request_cpu() -> float:
    """Seconds of CPU that boto3 takes for a PutItem of 1 KB."""
    item = {"pk": {"S": "partition"}, "sk": {"S": "window"}, "groups": {"B": bytes(900)}}
    with tempfile.TemporaryDirectory() as scratch, Emulator(0, Path(scratch) / "aws.log") as emulator:
        ensure("bench", endpoint_url=emulator.endpoint_url, session=aws.session(), shards=1)
        client = aws.client("dynamodb", emulator.endpoint_url)
        measured = []
        for _ in range(ROUNDS):
            started = process_time()
            for _ in range(PUTS):
                client.put_item(TableName="highwater-bench-aggregates", Item=item, ReturnConsumedCapacity="TOTAL")
            measured.append((process_time() - started) / PUTS)
    return median(measured)
