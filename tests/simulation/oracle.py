"""What must be stored, by the producers' own word: independent of the code under test, and naive."""

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

from chalicelib.aggregates.partial import Partial, PartialKey
from chalicelib.records.rejection import Rejected
from tests.simulation.producer import Counted, Sent


def counts_of(records: Iterable[Sent]) -> Counter:
    """(metric, window, group, measure) → value, of all events in these records."""
    counts: Counter = Counter()
    for piece in (piece for sent in records for piece in sent.truth if isinstance(piece, Counted)):
        for metric, group in (("orders", (piece.currency, piece.order_type)), ("customers", (piece.user_id,))):
            counts[metric, piece.window_start_ms, group, "count"] += 1
            counts[metric, piece.window_start_ms, group, "sum"] += piece.amount
    return counts


def dead_letters_of(records: Iterable[Sent]) -> dict[str, list[str]]:
    """Sequence number → the reasons of its dead letters, in order."""
    reasons = {sent.sequence_number: [piece for piece in sent.truth if isinstance(piece, str)] for sent in records}
    return {sequence_number: each for sequence_number, each in reasons.items() if each}


def stored_counts(partials: Mapping[PartialKey, Partial]) -> Counter:
    """The same of what is stored, merged over writers and buckets."""
    counts: Counter = Counter()
    for key, partial in partials.items():
        for group, (count, total, *_) in partial.groups.items():
            counts[key.metric, key.window_start_ms, group, "count"] += count
            counts[key.metric, key.window_start_ms, group, "sum"] += Decimal(total)
    return counts


def stored_dead_letters(objects: Mapping[tuple[str, str, str], Iterable[Rejected]]) -> dict[str, list[str]]:
    """The same of the dead letters that are stored."""
    return {
        sequence_number: [str(piece.refusal.reason) for piece in pieces]
        for (_, _, sequence_number), pieces in objects.items()
    }
