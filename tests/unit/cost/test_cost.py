"""Counted units times prices; and the numbers of docs/cost.md, which the command prints."""

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ops.cost import __main__ as command
from ops.cost.load import ID_UNITS, PARTIAL_UNITS, Load, between, item_an_event_units, units_of
from ops.cost.prices import PRICES_PATH, Price, PriceError, dollars, read_prices

PROJECT = Path(__file__).parents[3]
SHOWN = re.findall(
    r"```console\n\$ \.venv/bin/python -m ops\.cost ([^\n]+)\n(.*?)```",
    (PROJECT / "docs/cost.md").read_text(),
    re.DOTALL,
)


def test_dollars_are_units_times_prices_by_service():
    prices = {"a.x": Price(Decimal("0.5"), 1_000_000), "a.y": Price(Decimal(3), 1), "b.z": Price(Decimal(1), 10)}
    assert dollars({"a.x": 2_000_000, "a.y": 2, "b.z": 0}, prices) == {"a": Decimal(7), "b": Decimal(0)}


@pytest.mark.parametrize(
    ("units", "named"), [({"a.q": 1}, "a.q"), ({"a.x": -1}, "a.x"), ({"a.x": float("nan")}, "a.x")]
)
def test_a_unit_without_a_price_and_a_count_that_is_none_are_refused_by_name(units, named):
    with pytest.raises(PriceError, match=named):
        dollars(units, {"a.x": Price(Decimal(1), 1)})


@pytest.mark.parametrize(
    ("line", "instead", "told"),
    [
        ("requests = { usd = 3.50", "requests = { usd = -3.50", "apigateway.requests: usd is a price of 0 or more"),
        ("requests = { usd = 3.50", "requests = { usd = nan", "apigateway.requests: usd is a price of 0 or more"),
        ("requests = { usd = 3.50", 'requests = { usd = "3"', "apigateway.requests: usd is a price of 0 or more"),
        (
            "shard_hours = { usd = 0.015, per = 1 }",
            "shard_hours = { usd = 0.015, per = 0 }",
            "kinesis.shard_hours: per",
        ),
        ("shard_hours = { usd = 0.015, per = 1 }", "shard_hours = 0.015", "kinesis.shard_hours is not of the form"),
        ("[xray]\ntraces", "[xray]\ntracez", "xray.tracez is no unit that we count"),
        ("[xray]\ntraces = { usd = 5.00, per = 1_000_000 }", "[xray]", "there is no price for xray.traces"),
        ("[xray]", "[xray", "is no table of prices"),
    ],
)
def test_a_table_of_prices_that_cannot_be_is_refused_by_name(tmp_path, capsys, line, instead, told):
    shipped = PRICES_PATH.read_text()
    assert line in shipped
    table = tmp_path / "mine.toml"
    table.write_text(shipped.replace(line, instead, 1))
    assert command.main(["--events-per-day", "1000", "--prices", str(table)]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_a_table_that_is_not_there_is_one_line(tmp_path, capsys):
    assert command.main(["--events-per-day", "1000", "--prices", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--events-per-day", "0"], "events a day: more than 0"),
        (["--events-per-day", "nan"], "events a day: more than 0"),
        (["--events-per-day", "1", "--set", "shardz=1"], "shardz is no input"),
        (["--events-per-day", "1", "--set", "shards=few"], "shards is a number"),
        (["--events-per-day", "1", "--set", "arm64=yes"], "arm64 is true or false"),
        (["--events-per-day", "1", "--set", "peak=-1"], "peak is 0 or more"),
    ],
)
def test_an_input_that_cannot_be_is_one_line_and_exit_code_2(capsys, arguments, told):
    assert command.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_every_unit_that_a_load_counts_has_a_price_and_every_price_is_of_one():
    counted = units_of(Load(1e6)).keys() | units_of(Load(1e6, arm64=True)).keys()
    assert counted == read_prices().keys()


@pytest.mark.parametrize("arguments", [arguments for arguments, _ in SHOWN])
def test_the_documents_numbers_are_what_the_command_prints(capsys, arguments):
    """After a change: put what the command prints in its place in docs/cost.md."""
    assert command.main(arguments.split()) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.rstrip().splitlines()]
    assert dict(SHOWN)[arguments].rstrip().splitlines() == printed


def test_the_documents_sentence_of_what_costs_without_events_is_true():
    prices = read_prices()
    bills = [dollars(units_of(Load(events)), prices) for events in (1e6, 1.0)]
    all_of_it, without_events = (f"{sum(bill.values()):.0f}" for bill in bills)
    assert f"Of {all_of_it} dollars {without_events} are there without events" in (PROJECT / "docs/cost.md").read_text()


def test_the_document_shows_two_loads():
    assert {arguments.split()[1] for arguments, _ in SHOWN} == {"1_000_000", "1_000_000_000"}


def test_what_was_measured_is_met_and_between_it_is_in_proportion():
    assert [between(ID_UNITS, events) for events, _ in ID_UNITS] == [units for _, units in ID_UNITS]
    assert between(ID_UNITS, 650) == pytest.approx((4 + 13) / 2)
    assert between(ID_UNITS, 1) == ID_UNITS[0][1]
    assert between(ID_UNITS, 20_000) == 2 * ID_UNITS[-1][1]


@given(st.floats(1, 1e10), st.floats(1, 100))
def test_more_events_never_cost_less_and_a_longer_window_never_more_writes(events, more):
    prices = read_prices()
    few, many = (sum(dollars(units_of(Load(each)), prices).values()) for each in (events, events * more))
    assert many >= few * Decimal("0.995")  # a record of a byte less may take one unit of Kinesis less
    writes = [units_of(Load(events, batching_window_s=window))["dynamodb.write_units"] for window in (1.0, more)]
    assert writes[1] <= writes[0] * 1.001


def test_at_a_steady_thousand_events_a_second_the_write_units_are_those_that_were_measured():
    """`benchmarks.rollup_units`: 96 498 and 9 600 write units of ingest in ten minutes on four shards."""
    load = Load(1_000 * 86_400, shards=4)
    writes = units_of(load)["dynamodb.write_units"] / 30 / 24 / 6
    assert load.events_per_batch == 250
    assert writes == pytest.approx(96_498 + 9_600 + 41, rel=0.02)


def test_at_a_few_events_a_second_an_item_an_event_is_cheaper_and_the_model_says_so():
    load = Load(1e6)
    ours, theirs = units_of(load)["dynamodb.write_units"], item_an_event_units(load)["dynamodb.write_units"]
    assert ours > theirs
    longer = replace(load, batching_window_s=10.0)
    assert units_of(longer)["dynamodb.write_units"] < theirs / 2


def test_as_many_alarms_are_priced_as_are_deployed():
    resources = yaml.safe_load((PROJECT / ".chalice" / "resources.yaml").read_text())["Resources"].values()
    alarms = [each for each in resources if each.get("Type") == "AWS::CloudWatch::Alarm"]
    assert len(alarms) == Load(1.0).alarms


def test_the_processor_that_is_priced_is_the_one_that_prod_has():
    config = json.loads((PROJECT / ".chalice" / "config.json").read_text())
    of_prod = {"lambda_architecture": "x86_64", **config, **config["stages"]["prod"]}["lambda_architecture"]
    assert of_prod == ("arm64" if Load(1.0).arm64 else "x86_64")


def test_measured_sizes_ascend():
    for measured in (PARTIAL_UNITS, ID_UNITS):
        assert list(measured) == sorted(measured)
