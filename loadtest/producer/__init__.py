"""How a service puts its events on Highwater's stream: the reference for producers, and a tool (`--help` tells how).

    with Producer(boto3.client("kinesis"), "highwater-prod-events") as producer:
        producer.put({"specversion": "1.0", "id": "7", "source": "/shop", "type": "order.placed", ...})
    print(producer.receipt.last_sequence_numbers)

What it promises: an event that was put is accepted by the stream at least once, or is handed back in an
`UnacceptedError`. An event keeps its `id` whenever it is sent again, so that a consumer can tell it from another.
"""

from loadtest.producer.client import Producer, UnacceptedError
from loadtest.producer.delivery import Receipt, Retry
from loadtest.producer.event import Event, EventTooLargeError, PartitionKeyError, key_at, to_wire
from loadtest.producer.packing import Encoding
from loadtest.producer.stage import kinesis_client, stream_name

__all__ = [
    "Encoding",
    "Event",
    "EventTooLargeError",
    "PartitionKeyError",
    "Producer",
    "Receipt",
    "Retry",
    "UnacceptedError",
    "key_at",
    "kinesis_client",
    "stream_name",
    "to_wire",
]
