"""Profiles: those that come along are good, and of another the mistake is named, in one line."""

from collections import Counter

import pytest

from chalicelib import definitions
from chalicelib.aggregates.metric import GROUP_KEY_BYTES_MAX
from loadtest.profile import CUSTOMERS_MAX, PROBES_A_SECOND_MAX, PROFILES_DIR, ProfileError, load
from loadtest.traffic import Names
from loadtest.traffic.names import ORDER_TYPES

GOOD = """
description = "some"
[arrivals]
rate = 100
seconds = 60
"""
RESHARD = 'reshard = { at_seconds = 30, shards = 8 }\ndescription = "some"\n[arrivals]\nrate = 1\nseconds = 60\n'
EVENTS = "[events]\n"
SHARES = "[events.shares]\n"
FAULT = "[[faults]]\n"


@pytest.mark.parametrize("name", sorted(path.stem for path in PROFILES_DIR.glob("*.toml")))
def test_a_profile_that_comes_along_is_good_and_says_what_it_is(name):
    assert load(name).description


def test_the_profiles_are_those_that_the_readme_lists():
    readme = (PROFILES_DIR / "README.md").read_text()
    for path in PROFILES_DIR.glob("*.toml"):
        assert f"| `{path.stem}` |" in readme


def test_a_profile_can_be_anywhere(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert load(str(path)).arrivals.rate == 100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD + "colour = 1\n", "unknown field `colour` - at `$.arrivals`"),
        ("colour = 1\n" + GOOD, "unknown field `colour`"),
        (GOOD + SHARES + "duplicate = 0.1\n", "unknown field `duplicate` - at `$.events.shares`"),
        (GOOD + FAULT + 'kind = "rain"\nat_seconds = 1\n', "Invalid enum value 'rain' - at `$.faults[0].kind`"),
        (GOOD + FAULT + 'kind = "replay"\nat_second = 1\n', "`at_second` - at `$.faults[0]`"),
        (GOOD + "[events.encodings]\nlz4 = 1\n", "Invalid enum value 'lz4' - at `key` in `$.events.encodings`"),
        (GOOD.replace("100", '"100"'), "Expected `float`, got `str` - at `$.arrivals.rate`"),
        (GOOD.replace("100", "0"), "`float` > 0.0 - at `$.arrivals.rate`"),
        (GOOD.replace("100", "inf"), "`float` <= 1000000.0 - at `$.arrivals.rate`"),
        (GOOD.replace("100", "nan"), "at `$.arrivals.rate`"),
        (GOOD.replace("seconds = 60", ""), "missing required field `seconds` - at `$.arrivals`"),
        (GOOD.replace('"some"', '""'), "at `$.description`"),
        ("seed = -1\n" + GOOD, "at `$.seed`"),
        (GOOD + "ramp_seconds = 61\n", "ramp_seconds is longer than seconds - at `$.arrivals`"),
        (GOOD + "burst = { events = 10, every_seconds = 60 }\n", "no burst: every_seconds is no less than seconds"),
        (GOOD + EVENTS + "customers = 6001\n", "`int` <= 6000 - at `$.events.customers`"),
        (GOOD + EVENTS + "currencies = 9\n", "`int` <= 8 - at `$.events.currencies`"),
        (GOOD + EVENTS + "encodings = {}\n", "encodings has none - at `$.events`"),
        (GOOD + SHARES + "late = 1.1\n", "`float` <= 1.0 - at `$.events.shares.late`"),
        (GOOD + SHARES + "late = 0.6\nhot = 0.5\n", "the shares add up to more than 1 - at `$.events.shares`"),
        (GOOD + SHARES + "duplicates = 0.4\nconflicts = 0.2\n", "more duplicates and conflicts than events that they"),
        (GOOD + "[analysts]\nprobes = 21\n", "`float` <= 20.0 - at `$.analysts.probes`"),
        (GOOD + FAULT + 'kind = "replay"\nat_seconds = 50\nseconds = 20\n', "would end before the fault replay"),
        (RESHARD.replace("30", "60"), "the load would end before the reshard"),
        (RESHARD + SHARES + "duplicates = 0.1\n", "duplicates and conflicts need encodings = { plain = 1 }"),
        ("description =\n", "Invalid value (at line 1, column 14)"),
    ],
)
def test_a_mistake_is_named_by_its_file_and_its_path_in_one_line(tmp_path, text, told):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ProfileError) as error:
        load(str(path))
    assert str(error.value).startswith("mine.toml: ")
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["smok", "/nowhere/smoke.toml"])
def test_of_a_profile_that_there_is_not_it_is_told_which_there_are(name):
    with pytest.raises(ProfileError, match=f"there is no profile {name}; there are: burst, faults, .*smoke"):
        load(name)


def test_what_cannot_be_read_is_told(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff")
    for unreadable in (path, tmp_path):
        with pytest.raises(ProfileError):
            load(str(unreadable) + "/" * unreadable.is_dir())


def test_a_reshard_without_repeats_may_have_any_encoding(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(RESHARD + SHARES + "late = 0.1\npoison = 0.1\n")
    assert load(str(path)).reshard


@pytest.mark.parametrize("run_id", ["q7x", "a", "20261124-120000-7f3a", "zzzzzzzz"])
def test_as_many_customers_as_a_profile_may_have_fit_in_the_partials_of_one_shard(run_id):
    (customers,) = (metric for metric in definitions.METRICS if metric.name == "customers")
    names = Names(run_id, CUSTOMERS_MAX, 8)
    in_a_minute = [*names.customers, *(names.probe_customer(0, number) for number in range(60 * PROBES_A_SECOND_MAX))]
    assert max(Counter(customers.bucket_of((name,)) for name in in_a_minute).values()) <= customers.group_limit
    assert sum(map(len, in_a_minute)) / customers.buckets < GROUP_KEY_BYTES_MAX


@pytest.mark.parametrize("name", ["customers_distinct", "order_value", "orders"])
def test_as_many_currencies_as_a_profile_may_have_fit_in_one_partial(name):
    (metric,) = (metric for metric in definitions.METRICS if metric.name == name)
    currencies = len({*Names("q7x", 1, 8).currencies, Names("q7x", 1, 8).probe_currency})
    assert currencies * (len(ORDER_TYPES) if "order_type" in metric.by else 1) <= metric.group_limit
