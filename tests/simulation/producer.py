"""What simulated producers put on the stream, each piece with what must become of it. Knows nothing of the decoder."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

from tests.builders import MINUTE_MS, aggregated, gzipped, json_line, order, zstd

DAY_MS = 1440 * MINUTE_MS
POISON = [
    (b"not json", "malformed"),
    (b"", "malformed"),
    (b"\x1f\x8bbroken", "malformed"),
    (json_line({"type": "nobody.knows"}), "unknown type"),
    (json_line(order(amount=0)), "invalid"),
]


@dataclass(frozen=True)
class Counted:
    """An event that must be in every metric once."""

    window_start_ms: int
    currency: str
    order_type: str
    user_id: str
    amount: Decimal


@dataclass(frozen=True)
class Sent:
    """A record on a shard, and the truth about each piece of it: an event to count, or a dead letter's reason."""

    sequence_number: str
    arrived_at_ms: int
    data: bytes
    truth: tuple[Counted | str, ...]


def send(chance: Random, sequence_number: str, now_ms: int) -> Sent:
    """Make a record as some producer would put it now."""
    kind = chance.random()
    if kind < 0.05:  # an aggregate with a corrupt digest
        data = aggregated(_piece(chance, now_ms)[0])
        return Sent(sequence_number, now_ms, data[:-1] + bytes([data[-1] ^ 1]), ("broken aggregate",))
    if kind < 0.5:
        data, truth = _piece(chance, now_ms)
        wrap = chance.choice([bytes, bytes, gzipped, zstd]) if isinstance(truth, Counted) else bytes
        return Sent(sequence_number, now_ms, wrap(data), (truth,))
    pieces = [_piece(chance, now_ms) for _ in range(chance.randrange(1, 5))]
    return Sent(sequence_number, now_ms, aggregated(*(data for data, _ in pieces)), tuple(truth for _, truth in pieces))


def _piece(chance: Random, now_ms: int) -> tuple[bytes, Counted | str]:
    if chance.random() < 0.1:
        return chance.choice(POISON)
    age_ms = chance.choice([0, chance.randrange(3 * MINUTE_MS), chance.randrange(3 * MINUTE_MS)])
    verdict = None
    if chance.random() < 0.05:
        age_ms, verdict = chance.choice([(DAY_MS + 1, "too late"), (-6 * MINUTE_MS, "from the future")])
    time_ms = now_ms - age_ms
    cents = chance.randrange(1, 10**6)
    currency, order_type = chance.choice(["EUR", "USD"]), chance.choice(["standard", "gift"])
    user_id = f"user-{chance.randrange(6)}"
    event = order(
        chance.randrange(10**9),
        time=_rfc3339(time_ms),
        amount=cents / 100,
        user_id=user_id,
        currency=currency,
        order_type=order_type,
    )
    counted = Counted(time_ms // MINUTE_MS * MINUTE_MS, currency, order_type, user_id, Decimal(cents) / 100)
    return json_line(event), verdict or counted


def _rfc3339(instant_ms: int) -> str:
    seconds, milliseconds = divmod(instant_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"
