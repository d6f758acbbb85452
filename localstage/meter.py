"""What the emulated AWS is asked for: requests by operation, and what AWS would charge for, by the names of the prices.

It counts in MiniStack's own process, from what MiniStack's handlers are given and what they do to items: MiniStack by
itself answers one unit for a put of any size. Not counted: PartiQL, twice the units of a transaction, the writes of
secondary indexes; nothing here asks for those.

Source: DynamoDB Developer Guide, "DynamoDB read and write operations"; Amazon Kinesis Data Streams pricing, "PUT
Payload Unit"; Amazon SNS pricing, "each 64 KB chunk of published data is billed as 1 request".
"""
# ruff: noqa: SLF001  MiniStack has no other way in

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from localstage.capacity import Item, base64_bytes, item_bytes, read_units, write_units
from ops.cost.load import PUBLISH_BYTES, PUT_PAYLOAD_BYTES

Answer = tuple[int, dict[str, str], Any]
Handler = Callable[..., Awaitable[Answer]]  # of a Request's five parts

OK = 200
MESSAGE_PARTS = (".Message", ".Name", ".DataType", ".StringValue", ".BinaryValue")
S3_OPERATIONS = {
    ("PUT", True): "PutObject",
    ("GET", True): "GetObject",
    ("HEAD", True): "HeadObject",
    ("DELETE", True): "DeleteObject",
    ("POST", False): "DeleteObjects",
    ("PUT", False): "CreateBucket",
    ("HEAD", False): "HeadBucket",
    ("GET", False): "GetBucket",
}
CHARGED_AS_PUTS = {"s3.PutObject", "s3.ListObjectsV2"}
CHARGED_BY_REQUEST = {"sqs": "sqs.requests", "secretsmanager": "secretsmanager.requests", "kms": "kms.requests"}


class Meter:
    """Counts, from the emulator's start on. Shapes: by_table, of each table its `write_units` and `read_units`."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.bytes_in: Counter[str] = Counter()
        self.bytes_out: Counter[str] = Counter()
        self.units: Counter[str] = Counter()
        self.by_table: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))

    def usage(self) -> dict[str, Any]:
        """All that was counted so far, as JSON has it."""
        units: defaultdict[str, float] = defaultdict(float, self.units)
        for counted in self.by_table.values():
            for unit, count in counted.items():
                units[f"dynamodb.{unit}"] += count
        return {
            "units": dict(units),
            "requests": dict(self.requests),
            "by_table": {table: dict(counted) for table, counted in self.by_table.items()},
            "bytes_in": dict(self.bytes_in),
            "bytes_out": dict(self.bytes_out),
        }

    def request(self, service: str, operation: str, body: bytes, answer: Answer) -> None:
        """Count a request that was answered."""
        name = f"{service}.{operation}"
        self.requests[name] += 1
        self.bytes_in[name] += len(body)
        if isinstance(answer[2], bytes | str):
            self.bytes_out[name] += len(answer[2])
        if unit := CHARGED_BY_REQUEST.get(service):
            self.units[unit] += 1
        elif name in CHARGED_AS_PUTS:
            self.units["s3.put_requests"] += 1

    def records(self, put: Sequence[Mapping[str, Any]]) -> None:
        """Count what it takes to put these records."""
        sizes = [base64_bytes(record.get("Data", "")) for record in put]
        self.units["kinesis.put_payload_units"] += sum(max(1, -(-size // PUT_PAYLOAD_BYTES)) for size in sizes)

    def publish(self, message_bytes: int) -> None:
        """Count what a Publish, or a PublishBatch of so many bytes together, takes."""
        self.units["sns.publishes"] += max(1, -(-message_bytes // PUBLISH_BYTES))

    def write(self, table: str, old: Item | None, new: Item | None) -> float:
        """Count a write of one item; return what it took."""
        units = write_units(old, new)
        self.by_table[table]["write_units"] += units
        return units

    def read(self, table: str, size_bytes: int, *, consistent: bool) -> float:
        """Count a read of so much at once; return what it took."""
        units = read_units(size_bytes, consistent=consistent)
        self.by_table[table]["read_units"] += units
        return units


class Request(NamedTuple):
    """A request as MiniStack hands it to a service. Shapes: headers, their names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: Mapping[str, list[str]]


def operation_of(service: str, request: Request) -> str:
    """What AWS calls the request."""
    method, path, headers, body, query = request
    if target := headers.get("x-amz-target"):
        return target.rpartition(".")[2]
    if service == "s3":
        if "list-type" in query:
            return "ListObjectsV2"
        return S3_OPERATIONS.get((method, path.count("/") > 1 and not path.endswith("/")), method)
    form = query if "Action" in query else parse_qs(body.decode("utf-8", "replace"))
    return form.get("Action", [method])[0]


class Gauge:
    """Reads the units off what MiniStack's DynamoDB does, one request after the other as it does them.

    Shapes: dynamodb, MiniStack's module of it, whose functions are replaced by `install`.
    """

    def __init__(self, meter: Meter, dynamodb: Any) -> None:
        self._meter = meter
        self._dynamodb = dynamodb
        self._read_bytes = 0  # of the request under way
        self._written: float | None = None  # likewise, its units

    def install(self) -> None:
        """Have MiniStack tell of every item."""
        module = self._dynamodb
        module.handle_request = self._began(module.handle_request)
        module._emit_stream_event = self._emitted(module._emit_stream_event)
        module._conditional_check_failed = self._refused(module._conditional_check_failed)
        module._apply_projection = self._projected(module._apply_projection)
        module._batch_get_item = self._got_in_a_batch(module._batch_get_item)
        module._evaluate_condition = self._evaluated(module._evaluate_condition)
        module._add_consumed_capacity = self._consumed

    def _began(self, handle: Handler) -> Handler:
        async def begun(*request: Any) -> Answer:
            self._read_bytes, self._written = 0, None
            return await handle(*request)  # it waits for nothing, so no other request comes between

        return begun

    def _emitted(self, emit: Callable[..., None]) -> Callable[..., None]:
        def emitted(table: str, event: str, old: Item | None, new: Item | None) -> None:
            self._written = self._meter.write(table, old, new)
            emit(table, event, old, new)

        return emitted

    def _refused(self, refuse: Callable[..., Answer]) -> Callable[..., Answer]:
        """A write that its condition keeps from being made takes what it would have taken."""

        def refused(data: Mapping[str, Any], old: Item | None, *rest: Any) -> Answer:
            if "TableName" in data:
                self._meter.write(data["TableName"], old, data.get("Item"))
            return refuse(data, old, *rest)

        return refused

    def _projected(self, project: Callable[..., Any]) -> Callable[..., Any]:
        def projected(item: Item, data: Mapping[str, Any]) -> Any:
            if not data.get("FilterExpression"):
                self._read_bytes += item_bytes(item)
            return project(item, data)

        return projected

    def _evaluated(self, evaluate: Callable[..., bool]) -> Callable[..., bool]:
        """An item that is held against a filter is read, whether or not that lets it through."""

        def evaluated(expression: str, item: Item, *rest: Any, slot: str = "ConditionExpression") -> bool:
            if slot == "FilterExpression":
                self._read_bytes += item_bytes(item)
            return evaluate(expression, item, *rest, slot=slot)

        return evaluated

    def _got_in_a_batch(self, get: Callable[..., Answer]) -> Callable[..., Answer]:
        """Of a batch each item counts by itself, one that is not there too."""

        def got(data: Mapping[str, Any]) -> Answer:
            answer = get(data)
            if answer[0] == OK:
                for name, asked in data["RequestItems"].items():
                    table = self._dynamodb._tables[name]
                    for key in asked.get("Keys", ()):
                        item = self._dynamodb._get_item_by_key(table, key) or {}
                        self._meter.read(name, item_bytes(item), consistent=asked.get("ConsistentRead", False))
            return answer

        return got

    def _consumed(self, result: dict[str, Any], data: Mapping[str, Any], table: str, write: bool = False) -> None:
        """What MiniStack calls at the end of each put, update, deletion, get, query and scan."""
        if write:
            units = self._meter.write(table, None, None) if self._written is None else self._written
        else:
            units = self._meter.read(table, self._read_bytes, consistent=data.get("ConsistentRead", False))
        if data.get("ReturnConsumedCapacity", "NONE") != "NONE":
            result["ConsumedCapacity"] = {"TableName": table, "CapacityUnits": float(units)}


def install(meter: Meter, dynamodb: Any, kinesis: Any, sns: Any) -> None:
    """Have MiniStack's modules of these services tell the meter of every item, record and message."""
    Gauge(meter, dynamodb).install()
    put_record, put_records = kinesis._put_record, kinesis._put_records
    publish, publish_batch = sns._publish, sns._publish_batch

    def put_and_count(data: Mapping[str, Any]) -> Answer:
        return _then(put_record(data), lambda: meter.records([data]))

    def put_all_and_count(data: Mapping[str, Any]) -> Answer:
        return _then(put_records(data), lambda: meter.records(data["Records"]))

    def publish_and_count(form: Mapping[str, Any]) -> Answer:
        return _then(publish(form), lambda: meter.publish(_message_bytes(form)))

    def publish_all_and_count(form: Mapping[str, Any]) -> Answer:
        return _then(publish_batch(form), lambda: meter.publish(_message_bytes(form)))

    kinesis._put_record, kinesis._put_records = put_and_count, put_all_and_count
    sns._publish, sns._publish_batch = publish_and_count, publish_all_and_count


def _then(answer: Answer, count: Callable[[], None]) -> Answer:
    """What was refused is not charged for."""
    if answer[0] == OK:
        count()
    return answer


def _message_bytes(form: Mapping[str, Any]) -> int:
    """The size of a message, or of a batch of them: their texts and all of their attributes.

    Shapes: form, the fields of the request's form, each a list of one text.
    """
    return sum(len(texts[0].encode()) for name, texts in form.items() if f".{name}".endswith(MESSAGE_PARTS))
