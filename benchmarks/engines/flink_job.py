"""Flink SQL counts orders from a file of JSON lines, parallelism 1. Runs in PyFlink's own environment; see `apart`.

SQL runs in the JVM alone; Python only hands it over and takes the totals. Each request is a job of its own in the same
JVM, so that the JVM's compiler has seen the work before.
"""

import json
import os
import sys
from typing import Any

from pyflink.table import EnvironmentSettings, TableEnvironment

TABLE = """
CREATE TABLE events (
    `time` {time_type},
    data ROW<amount DECIMAL(12, 2), currency STRING, order_type STRING>{watermark}
) WITH (
    'connector' = 'filesystem', 'path' = '{path}', 'format' = 'json', 'json.timestamp-format.standard' = 'ISO-8601'
)
"""
WATERMARK = ",\n    WATERMARK FOR `time` AS `time` - INTERVAL '60' SECOND"

# Of a bounded input the text of the minute is the cheapest to group by.
BATCH = """
SELECT minute_text, currency, order_type, COUNT(*), SUM(amount)
FROM (
    SELECT SUBSTRING(`time`, 1, 16) AS minute_text, data.currency AS currency, data.order_type AS order_type,
           data.amount AS amount
    FROM events
)
GROUP BY minute_text, currency, order_type
"""
STREAMING = """
SELECT DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm'), currency, order_type, COUNT(*), SUM(amount)
FROM (
    SELECT window_start, window_end, data.currency AS currency, data.order_type AS order_type, data.amount AS amount
    FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(`time`), INTERVAL '1' MINUTE))
)
GROUP BY window_start, window_end, currency, order_type
"""


def environment(mode: str) -> TableEnvironment:
    """Where the jobs of this mode run."""
    settings = EnvironmentSettings.in_batch_mode() if mode == "batch" else EnvironmentSettings.in_streaming_mode()
    tables = TableEnvironment.create(settings)
    tables.get_config().set("parallelism.default", "1")
    tables.get_config().set("table.local-time-zone", "UTC")
    return tables


def count(tables: TableEnvironment, mode: str, path: str) -> list[Any]:
    """Totals of the events of a file."""
    is_batch = mode == "batch"
    text = TABLE.format(
        time_type="STRING" if is_batch else "TIMESTAMP_LTZ(3)", watermark="" if is_batch else WATERMARK, path=path
    )
    tables.execute_sql("DROP TABLE IF EXISTS events")
    tables.execute_sql(text)
    with tables.execute_sql(BATCH if is_batch else STREAMING).collect() as rows:
        return [[minute, currency, kind, events, str(revenue)] for minute, currency, kind, events, revenue in rows]


def main() -> None:
    """Count whenever told to, in one mode for as long as the process runs."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the JVM prints is no answer
    tables: dict[str, TableEnvironment] = {}
    for line in sys.stdin:
        request = json.loads(line)
        mode = request["mode"]
        if mode not in tables:
            tables[mode] = environment(mode)
        rows = count(tables[mode], mode, request["path"])
        answers.write(json.dumps({"rows": rows, "events": sum(row[3] for row in rows)}) + "\n")


if __name__ == "__main__":
    main()
