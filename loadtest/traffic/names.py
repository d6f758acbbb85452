"""The names that one run's events carry and no other's: its source, its customers, its currencies. Pure.

So a stage may count other traffic meanwhile: the run's groups are told from it by their names.
"""

import string
from functools import cached_property
from hashlib import blake2b

from msgspec import Struct

from loadtest.recording import Run

ORDER_TYPES = ("standard", "express", "gift")
LOWER, ANY = string.ascii_lowercase, string.ascii_letters


class Names(Struct, frozen=True, dict=True):
    """What is called how in the run with this id. Shapes: currencies, how many the events of workers have."""

    run_id: str
    customers_count: int
    currencies_count: int

    @classmethod
    def of(cls, run: Run) -> "Names":
        """The names of a run."""
        return cls(run.run_id, run.profile.events.customers, run.profile.events.currencies)

    @property
    def source(self) -> str:
        """The `source` of all its events."""
        return f"/loadtest/{self.run_id}"

    @cached_property
    def customers(self) -> tuple[str, ...]:
        """The customers by their number, and behind them the hot one."""
        return (*(f"{self.run_id}-{number:05d}" for number in range(self.customers_count)), f"{self.run_id}-hot")

    @cached_property
    def currencies(self) -> tuple[str, ...]:
        """The currencies of the workers' events, by their number."""
        return self._currencies[:-1]

    @property
    def probe_currency(self) -> str:
        """The currency of the probes."""
        return self._currencies[-1]

    def probe_customer(self, prober: int, number: int) -> str:
        """The customer whose one order a probe is."""
        return f"{self.run_id}-probe-{prober}-{number}"

    @cached_property
    def _currencies(self) -> tuple[str, ...]:
        # A small letter first: no real currency is written so, and there are 70 304.
        found: dict[str, None] = {}
        attempt = 0
        while len(found) <= self.currencies_count:
            first, second, third, *_ = blake2b(f"{self.run_id}/{attempt}".encode(), digest_size=3).digest()
            found[LOWER[first % len(LOWER)] + ANY[second % len(ANY)] + ANY[third % len(ANY)]] = None
            attempt += 1
        return tuple(found)
