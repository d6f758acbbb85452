"""Events as bytes: CloudEvents of some 240 bytes, and what is wrong with poison. Pure."""

from hashlib import md5

import numpy as np

from chalicelib.aggregates.windows import format_instant
from loadtest.producer import Encoding
from loadtest.producer.packing import DIGEST_BYTES, encode_payload
from loadtest.traffic.columns import Columns, Kind
from loadtest.traffic.names import ORDER_TYPES, Names

EVENT = (
    '{{"specversion":"1.0","id":"{sender}-%d","source":"{source}","type":"order.placed","time":"%s",'
    '"data":{{"order_id":"order-%d","user_id":"%s","amount":%d.%02d,"currency":"%s","order_type":"%s"}}}}'
)

# What breaks the rules of `order.placed`, each by itself.
INVALID = (
    (b'"amount":', b'"amount":-'),
    (b'"amount":', b'"amount":10000'),
    (b'"currency":"', b'"currency":"x'),
    (b'"order_id":"order', b'"order_no":"order'),
    (b'"specversion":"1.0"', b'"specversion":"0.3"'),
    (b'"time":"', b'"time":"about '),
)


class Writer:
    """Writes the events of one worker."""

    def __init__(self, names: Names, worker: int) -> None:
        self._customers = names.customers
        self._currencies = names.currencies
        self._event = EVENT.format(sender=worker, source=names.source)

    def write(self, columns: Columns) -> list[bytes]:
        """The bytes of each of these events; of a broken aggregate, the whole record's.

        Why so: by the columns, hardly a line of Python runs for each event.
        """
        instants_ms, places = np.unique(columns.times_ms, return_inverse=True)
        instants = list(map(format_instant, instants_ms.tolist()))
        originals = columns.originals.tolist()
        values = zip(
            originals,
            map(instants.__getitem__, places.tolist()),
            originals,
            map(self._customers.__getitem__, columns.customers.tolist()),
            (columns.cents // 100).tolist(),
            (columns.cents % 100).tolist(),
            map(self._currencies.__getitem__, columns.currencies.tolist()),
            map(ORDER_TYPES.__getitem__, columns.order_types.tolist()),
            strict=True,
        )
        texts = list(map(str.encode, map(self._event.__mod__, values)))
        for place in np.flatnonzero(columns.kinds >= Kind.MALFORMED).tolist():
            texts[place] = _spoil(texts[place], Kind(columns.kinds[place]), int(columns.numbers[place]))
        return texts


def write_event(
    *, sender: str, number: int, source: str, time_ms: int, user_id: str, cents: int, currency: str, order_type: str
) -> bytes:
    """The bytes of one event."""
    values = (number, format_instant(time_ms), number, user_id, *divmod(cents, 100), currency, order_type)
    return (EVENT.format(sender=sender, source=source) % values).encode()


def _spoil(text: bytes, kind: Kind, number: int) -> bytes:
    match kind:
        case Kind.MALFORMED:
            return text[: len(text) // 2]
        case Kind.INVALID:
            return text.replace(*INVALID[number % len(INVALID)], 1)
        case Kind.UNKNOWN_TYPE:
            return text.replace(b'"order.placed"', b'"order.lost"', 1)
        case _:
            whole = encode_payload(("a", "b"), (text, text), Encoding.AGGREGATE)
            return whole[:-DIGEST_BYTES] + md5(whole, usedforsecurity=False).digest()
