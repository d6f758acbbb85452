import pytest

from chalicelib.errors import SettingError
from chalicelib.settings import read_settings


def test_a_stage_names_its_resources():
    settings = read_settings({"STAGE": "dev"})
    assert settings.events_stream == "highwater-dev-events"
    assert settings.aggregates_table == "highwater-dev-aggregates"
    assert settings.dead_letters_bucket == "highwater-dev-dead-letters"
    assert settings.lateness_ms == 86_400_000


def test_a_variable_overrules_the_usual_name():
    assert read_settings({"STAGE": "dev", "EVENTS_STREAM": "legacy"}).events_stream == "legacy"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("STAGE", ""),
        ("STAGE", "Prod"),
        ("STAGE", "a" * 21),
        ("EVENTS_STREAM", "no spaces"),
        ("AGGREGATES_TABLE", ""),
        ("LATENESS", "soon"),
        ("FUTURE_TOLERANCE", "-5m"),
    ],
)
def test_a_malformed_setting_is_refused_by_name(variable, value):
    with pytest.raises(SettingError, match=f"^{variable}"):
        read_settings({"STAGE": "dev", variable: value})


def test_a_missing_stage_is_refused_by_name():
    with pytest.raises(SettingError, match=r"^STAGE"):
        read_settings({})
