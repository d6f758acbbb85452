"""The traffic of a load test, event by event: what worker w sends as its event n follows from the run alone.

    for slot in Traffic(run, worker=0).slots():
        ...                                     # wait until slot.due_ms
        for record in slot.records(shards):     # PutRecords: record.partition_key, record.data
            ...                                 # accepted: record.numbers go into the worker's ledger

This package is the one place that knows what an event is like. Whoever counts other events than orders changes `names`,
`text` and `columns` here, and `loadtest.expectation`, which counts them.

What a sender must keep, so that it stays certain what the stage makes of each event: a shard's records of a slot are
put once those of the slots before it were accepted or given up. Within a slot any order will do.
"""

from loadtest.traffic.names import Names
from loadtest.traffic.probes import PROBERS_FROM, probe_customer, probe_due_ms, probe_event
from loadtest.traffic.slots import PutRecord, Slot, Traffic

__all__ = [
    "PROBERS_FROM",
    "Names",
    "PutRecord",
    "Slot",
    "Traffic",
    "probe_customer",
    "probe_due_ms",
    "probe_event",
]
