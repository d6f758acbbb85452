"""What one would otherwise write in a Lambda function: aws_kinesis_agg, and Powertools' BatchProcessor as documented.

All keep their counts in memory and store nothing. BatchProcessor calls a handler for each record, so of KPL aggregates
it is given what `deaggregate_records` makes: each user record in the form of a Lambda record.

Source: aws_kinesis_agg's README; Powertools for AWS Lambda (Python), "Batch Processing", "Processing messages from
Kinesis".
"""

import io
import json
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from functools import partial as bind
from typing import Any

import orjson
from aws_kinesis_agg.deaggregator import deaggregate_records, iter_deaggregate_records
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.kinesis_stream_event import KinesisStreamRecord

from benchmarks.engines.engine import AGGREGATES, KPL, PLAIN, RECORDS, InProcess
from benchmarks.engines.totals import Groups, Totals, add, totals_of
from benchmarks.engines.workload import LambdaEvent, Workload

Begun = tuple[Callable[[LambdaEvent], object], Callable[[], Totals]]
JSON_PARSERS: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "orjson": orjson.loads}


class Nowhere(io.StringIO):
    """A stream that keeps nothing: what a log costs beyond this process is not counted."""

    def write(self, text: str) -> int:
        """Claim that it is written."""
        return len(text)


class Context:
    """What Powertools looks at of a Lambda context."""

    function_name = "count-orders"

    def get_remaining_time_in_millis(self) -> int:
        """As at the beginning of a minute's invocation."""
        return 60_000


def engines(workload: Workload, logged: Workload) -> list[InProcess]:
    """The alternatives. Shapes: logged, fewer events, for it logs each."""
    deaggregating = [
        InProcess(
            f"aws_kinesis_agg + {name}",
            KPL,
            "iter_deaggregate_records, base64, the fold",
            workload,
            AGGREGATES,
            bind(_begin_deaggregating, loads),
        )
        for name, loads in JSON_PARSERS.items()
    ]
    return [
        *deaggregating,
        InProcess(
            "Powertools BatchProcessor",
            RECORDS,
            "process_partial_response; a handler that folds data_as_json()",
            workload,
            PLAIN,
            _begin_processing,
        ),
        InProcess(
            "Powertools BatchProcessor, KPL",
            KPL,
            "the same, given what deaggregate_records makes",
            workload,
            AGGREGATES,
            _begin_processing_aggregates,
        ),
        InProcess(
            "Powertools BatchProcessor + Logger",
            RECORDS,
            "the same of plain records, and logger.info(payload) of each, kept nowhere",
            logged,
            PLAIN,
            _begin_logging,
        ),
    ]


def _begin_deaggregating(loads: Callable[[bytes], Any]) -> Begun:
    groups: Groups = {}

    def handle(event: LambdaEvent) -> None:
        for record in iter_deaggregate_records(event["Records"]):
            add(groups, loads(b64decode(record["kinesis"]["data"])))

    return handle, lambda: totals_of(groups)


def _begin_processing() -> Begun:
    groups: Groups = {}
    processor = BatchProcessor(event_type=EventType.KinesisDataStreams)

    def handle_record(record: KinesisStreamRecord) -> None:
        add(groups, record.kinesis.data_as_json())

    return bind(_process, processor, handle_record), lambda: totals_of(groups)


def _begin_processing_aggregates() -> Begun:
    handle, totals = _begin_processing()
    return lambda event: handle({"Records": deaggregate_records(event["Records"])}), totals


def _begin_logging() -> Begun:
    groups: Groups = {}
    processor = BatchProcessor(event_type=EventType.KinesisDataStreams)
    logger = _logger()

    def handle_record(record: KinesisStreamRecord) -> None:
        payload = record.kinesis.data_as_json()
        logger.info(payload)
        add(groups, payload)

    return bind(_process, processor, handle_record), lambda: totals_of(groups)


@cache
def _logger() -> Logger:
    return Logger(service="orders", stream=Nowhere())  # a second one of this name would write where the first does


def _process(processor: BatchProcessor, handle_record: Callable[..., None], event: LambdaEvent) -> None:
    context: Any = Context()
    answer = process_partial_response(event=event, record_handler=handle_record, processor=processor, context=context)
    if answer["batchItemFailures"]:
        raise RuntimeError(f"records failed: {len(answer['batchItemFailures'])}")
