"""The aggregates table's stream, as its consumers take it: which item changed, by its key; images it has none.

What is of no interest to them is handed on all the same, without a key: its sequence number may be the checkpoint of
what lies before it.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.aggregates.metric import Catalog
from chalicelib.aggregates.rollup import WindowKey
from chalicelib.aws.aggregates_keys import alert_of, window_of
from chalicelib.consumers.ports import AlertKey, StoredChange
from chalicelib.records.rejection import Refusal
from chalicelib.records.table_changes import TableRecord, parse_table_records


def parse_stored_changes(catalog: Catalog, event: Mapping[str, Any]) -> list[StoredChange]:
    """Read the changes out of Lambda's event of the table's stream, in their order.

    Shapes: the key is None of what has expired, of items that are neither a declared metric's window nor an alert, and
            of records of another shape than DynamoDB documents.
    Raises: KeyError when it is no such event.
    """
    records = parse_table_records(event)
    return [StoredChange(record.sequence_number or "", _key_of(catalog, record)) for record in records]


def _key_of(catalog: Catalog, record: TableRecord) -> WindowKey | AlertKey | None:
    change = record.change
    if isinstance(change, Refusal) or change.is_expiry:
        return None
    keys = [change.keys.get(name, {}).get("S") for name in ("pk", "sk")]
    match keys:
        case [str(partition_key), str(sort_key)] if record.sequence_number:
            return window_of(catalog, partition_key, sort_key) or alert_of(partition_key, sort_key)
        case _:
            return None
