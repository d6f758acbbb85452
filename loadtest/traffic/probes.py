"""Probes: single events, each the one order of a customer of its own, so that the API tells at once whether it counts.

They are counted like any other: the ledger of prober p has `worker` PROBERS_FROM + p.
"""

from loadtest.recording import Run
from loadtest.traffic.names import ORDER_TYPES, Names
from loadtest.traffic.text import write_event

PROBERS_FROM = 1_000_000  # above all workers
PROBE_CENTS = 10_00


def probe_due_ms(run: Run, number: int) -> int:
    """When a probe is due, which is also its event time: they come evenly, all probers' together.

    Shapes: number, from 0; several probers share the numbers (of two, one takes the even ones).
    """
    return run.started_ms + int(number * 1000 / run.profile.analysts.probes)


def probe_customer(run: Run, prober: int, number: int) -> str:
    """The `user_id` whose one order this probe is."""
    return Names.of(run).probe_customer(prober, number)


def probe_event(run: Run, prober: int, number: int) -> tuple[str, bytes]:
    """A probe's partition key and bytes."""
    names = Names.of(run)
    customer = names.probe_customer(prober, number)
    data = write_event(
        sender=f"probe-{prober}",
        number=number,
        source=names.source,
        time_ms=probe_due_ms(run, number),
        user_id=customer,
        cents=PROBE_CENTS,
        currency=names.probe_currency,
        order_type=ORDER_TYPES[0],
    )
    return customer, data
