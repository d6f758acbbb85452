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
        ("API_AUTH", "None"),
        ("API_AUTH", ""),
        ("API_TOKENS_SECRET", "a b"),
        ("API_TOKENS_MAX_AGE", "2h"),
        ("RESULTS_TOPIC_ARN", "results"),
        ("RESULTS_TOPIC_ARN", "arn:aws:sqs:us-east-1:000000000000:results"),
        ("REDRIVE_QUEUE_URL", "redrive"),
        ("POWERTOOLS_TRACE_DISABLED", "perhaps"),
        ("API_CORS_ORIGIN", "*"),
        ("API_CORS_ORIGIN", "example.org"),
        ("API_CORS_ORIGIN", "https://example.org/"),
        ("API_CORS_ORIGIN", "https://a.example,https://b.example"),
    ],
)
def test_a_malformed_setting_is_refused_by_name(variable, value):
    with pytest.raises(SettingError, match=f"^{variable}"):
        read_settings({"STAGE": "dev", variable: value})


def test_a_missing_stage_is_refused_by_name():
    with pytest.raises(SettingError, match=r"^STAGE"):
        read_settings({})


def test_callers_need_a_token_and_no_other_origin_may_read_unless_a_setting_says_so():
    settings = read_settings({"STAGE": "dev"})
    assert (settings.api_auth, settings.api_cors_origin) == ("token", None)
    assert (settings.api_tokens_secret, settings.api_tokens_max_age_ms) == ("highwater-dev-api-tokens", 60_000)
    settings = read_settings({"STAGE": "dev", "API_AUTH": "iam", "API_CORS_ORIGIN": "http://localhost:5173"})
    assert (settings.api_auth, settings.api_cors_origin) == ("iam", "http://localhost:5173")


@pytest.mark.parametrize("url", ["http://127.0.0.1:4566", "http://localhost:4566/", "http://[::1]:4566"])
def test_a_local_stage_may_ask_for_no_credentials(url):
    assert read_settings({"STAGE": "prod", "API_AUTH": "none", "AWS_ENDPOINT_URL": url}).api_auth == "none"


@pytest.mark.parametrize("url", [None, "", "https://dynamodb.eu-west-1.amazonaws.com", "http://127.0.0.1.evil.org",
                                 "http://localhost@evil.org", "http://[::1", "127.0.0.1:4566"])  # fmt: skip
def test_no_other_stage_may_whatever_its_name(url):
    variables = {"STAGE": "local", "API_AUTH": "none"} | ({} if url is None else {"AWS_ENDPOINT_URL": url})
    with pytest.raises(SettingError, match=r"^API_AUTH is none, which only a local stage may have"):
        read_settings(variables)


@pytest.mark.parametrize(("handler", "function"), [("app.ingest", "ingest"), ("app.app", "api"), (None, None)])
def test_the_function_that_lambda_starts_is_known_by_its_handler(handler, function):
    environment = {"STAGE": "dev", "RESULTS_TOPIC_ARN": "arn:aws-cn:sns:cn-north-1:000000000000:highwater-dev-results"}
    assert read_settings(environment | ({} if handler is None else {"_HANDLER": handler})).function == function


@pytest.mark.parametrize(
    ("function", "variable"),
    [
        ("ingest", "RESULTS_TOPIC_ARN"),
        ("fan_out", "RESULTS_TOPIC_ARN"),
        ("tick", "RESULTS_TOPIC_ARN"),
        ("redrive", "REDRIVE_QUEUE_URL"),
    ],
)
def test_what_only_the_template_knows_is_asked_for_by_the_functions_that_cannot_do_without(function, variable):
    with pytest.raises(SettingError, match=rf"^{variable} is missing, and the function {function} cannot do without$"):
        read_settings({"STAGE": "dev", "_HANDLER": f"app.{function}"})
    assert read_settings({"STAGE": "dev", "_HANDLER": "app.capture"}).function == "capture"


@pytest.mark.parametrize(
    ("environment", "is_traced"),
    [
        ({}, False),
        ({"AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000"}, True),
        ({"AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000", "POWERTOOLS_TRACE_DISABLED": "False"}, True),
        ({"AWS_XRAY_DAEMON_ADDRESS": "169.254.79.129:2000", "POWERTOOLS_TRACE_DISABLED": "1"}, False),
    ],
)
def test_there_are_traces_where_there_is_a_daemon_that_takes_them(environment, is_traced):
    assert read_settings({"STAGE": "dev"} | environment).is_traced is is_traced
