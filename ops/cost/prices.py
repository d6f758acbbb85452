"""Only this file knows the form of a table of prices. Units times prices are dollars; nothing else is done with them.

A unit is named `service.unit`, as the table has it: `dynamodb.write_units`.
"""

import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

PRICES_PATH = Path(__file__).with_name("prices.toml")
FORM = "{ usd = 0.5, per = 1_000_000 }"


class PriceError(ValueError):
    """A price that cannot be, or that there is none; the text names it in one line."""


@dataclass(frozen=True, slots=True)
class Price:
    """Units: usd, US dollars for `per` units."""

    usd: Decimal
    per: int

    def of(self, units: float) -> Decimal:
        """What these units cost."""
        return self.usd * Decimal(units) / self.per


Prices = Mapping[str, Price]
Units = Mapping[str, float]


def read_prices(path: Path = PRICES_PATH) -> dict[str, Price]:
    """Read a table of prices. Returns: by unit, its price.

    Raises: PriceError, naming the key, for one that is unknown or missing (the table that is shipped says which there
            are), is negative, or has another form; and for a file that is none.
    """
    prices = _read(path)
    known = prices if path == PRICES_PATH else _read(PRICES_PATH)
    if unknown := sorted(prices.keys() - known.keys()):
        raise PriceError(f"{path.name}: {unknown[0]} is no unit that we count; there are: {', '.join(known)}")
    if missing := sorted(known.keys() - prices.keys()):
        raise PriceError(f"{path.name}: there is no price for {missing[0]}")
    return prices


def dollars(units: Units, prices: Prices) -> dict[str, Decimal]:
    """What counted units cost, by service, in the order of the units.

    Raises: PriceError, naming the unit, for one without a price and for a negative count.
    """
    bill: defaultdict[str, Decimal] = defaultdict(Decimal)
    for unit, cost in dollars_by_unit(units, prices).items():
        bill[unit.partition(".")[0]] += cost
    return dict(bill)


def dollars_by_unit(units: Units, prices: Prices) -> dict[str, Decimal]:
    """What counted units cost, each.

    Raises: as `dollars`.
    """
    for unit, count in units.items():
        if unit not in prices:
            raise PriceError(f"there is no price for {unit}")
        if not 0 <= count < float("inf"):
            raise PriceError(f"{unit}: {count} is no number of units")
    return {unit: prices[unit].of(count) for unit, count in units.items()}


def _read(path: Path) -> dict[str, Price]:
    try:
        table = tomllib.loads(path.read_text(), parse_float=Decimal)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceError(f"{path} is no table of prices: {error}") from error
    entries = {
        f"{service}.{unit}": entry
        for service, section in table.items()
        for unit, entry in (section.items() if isinstance(section, dict) else [("", section)])
    }
    return {unit: _price(path, unit, entry) for unit, entry in entries.items()}


def _price(path: Path, unit: str, entry: object) -> Price:
    if not isinstance(entry, dict) or entry.keys() != {"usd", "per"}:
        raise PriceError(f"{path.name}: {unit} is not of the form {FORM}")
    usd, per = entry["usd"], entry["per"]
    if isinstance(usd, bool) or not isinstance(usd, int | Decimal) or not Decimal(usd).is_finite() or usd < 0:
        raise PriceError(f"{path.name}: {unit}: usd is a price of 0 or more, not {usd}")
    if isinstance(per, bool) or not isinstance(per, int) or per < 1:
        raise PriceError(f"{path.name}: {unit}: per is a whole number of 1 or more, not {per}")
    return Price(Decimal(usd), per)
