"""What a stage costs a month: `python -m ops.cost --events-per-day 1000000`. Prices are an input: `--prices FILE`."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ops.arguments import REFUSED, Parser, setting
from ops.cost.load import DAYS, Load, item_an_event_units, units_of
from ops.cost.prices import PRICES_PATH, PriceError, Prices, Units, dollars, dollars_by_unit, read_prices

DONE = 0
WIDTH = 100
FEW = 100  # of which the fraction is shown
SETTABLE: dict[str, Any] = {field.name: field.default for field in fields(Load) if field.name != "events_per_day"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0 done, 2 refused."""
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        prices = read_prices(options.prices)
        load = _load(options)
        units = units_of(load)
        console = Console(width=WIDTH)
        console.print(_title(load))
        console.print(_table(load, units, prices, of_units=not options.brief))
        console.print(_comparison(load, units, prices))
    except PriceError as error:
        sys.stderr.write(f"ops.cost: {error}\n")
        return REFUSED
    return DONE


def _load(options: argparse.Namespace) -> Load:
    load = Load(options.events_per_day)
    for name, text in options.set:
        if name not in SETTABLE:
            raise PriceError(f"{name} is no input; there are: {', '.join(SETTABLE)}")
        kind = type(SETTABLE[name])
        try:
            value = {"true": True, "false": False}[text] if kind is bool else kind(text)
        except KeyError:
            raise PriceError(f"{name} is true or false, not {text!r}") from None
        except ValueError:
            raise PriceError(f"{name} is a number, not {text!r}") from None
        if value < 0:
            raise PriceError(f"{name} is 0 or more, not {text}")
        load = replace(load, **{name: value})
    return load


def _title(load: Load) -> str:
    shards = f"{load.shards_needed} {'shard' if load.shards_needed == 1 else 'shards'}"
    batch = f"{load.events_per_batch:,.0f} a batch"
    return f"{load.events_per_day:,.0f} events a day on {shards}, {batch}; for {DAYS} days:"


def _table(load: Load, units: Units, prices: Prices, *, of_units: bool) -> Table:
    table = Table("")
    for heading in ("units", "USD / units", "USD") if of_units else ("USD",):
        table.add_column(heading, justify="right")
    between = ["", ""] if of_units else []
    costs = dollars_by_unit(units, prices)
    for unit, count in units.items() if of_units else ():
        price = prices[unit]
        digits = 2 if count < FEW else 0
        table.add_row(unit, f"{count:,.{digits}f}", f"{price.usd} / {price.per:,}", _usd(costs[unit]))
    table.add_section()
    for service, cost in dollars(units, prices).items():
        table.add_row(service, *between, _usd(cost))
    table.add_section()
    total = sum(costs.values(), Decimal())
    of_a_million = total / Decimal(load.events_per_day * DAYS / 1e6)
    table.add_row("all", *between, _usd(total))
    table.add_row("all, for a million events", *between, _usd(of_a_million))
    return table


def _comparison(load: Load, units: Units, prices: Prices) -> str:
    writes = {"dynamodb.write_units": units["dynamodb.write_units"]}
    mine, theirs = (sum(dollars(each, prices).values()) for each in (writes, item_an_event_units(load)))
    return (
        f"Write units alone: {_usd(mine)} here, {_usd(theirs)} with one item an event"
        f" ({writes['dynamodb.write_units'] / item_an_event_units(load)['dynamodb.write_units']:.1%})."
    )


def _usd(cost: Decimal | int) -> str:
    return f"{cost:,.2f}"


def _parser() -> Parser:
    description, *_ = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m ops.cost", description=description)
    add = parser.add_argument
    add("--events-per-day", type=_events, required=True, help="how many events, on an average day")
    add("--prices", type=Path, default=PRICES_PATH, help="the table of unit prices (%(default)s)")
    add("--brief", action="store_true", help="by service alone")
    set_help = f"an input of the model in place of its default; repeatable: {', '.join(SETTABLE)}"
    add("--set", action="append", default=[], type=setting, metavar="NAME=VALUE", help=set_help)
    return parser


def _events(text: str) -> float:
    try:
        return float(text.replace("_", ""))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of events") from None


if __name__ == "__main__":
    sys.exit(main())
