"""Settings: environment variables, read once into one frozen object. Nothing else reads the environment.

botocore's own variables (`AWS_ENDPOINT_URL`, region, credentials) are left to botocore, so that any AWS-compatible
endpoint serves. The README lists every setting.
"""

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import urlsplit

from msgspec import Struct

from chalicelib.aggregates.windows import DURATION_MS_MAX, format_duration, parse_duration
from chalicelib.errors import SettingError

API_TOKENS_MAX_AGE_MS_MAX = 3_600_000  # API Gateway keeps no authorizer's answer for longer
# What only the template knows: its form, and the functions that cannot do without.
LOCATORS = {
    "RESULTS_TOPIC_ARN": (r"arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+", {"fan_out", "ingest", "tick"}),
    "REDRIVE_QUEUE_URL": (r"https?://[^\s/]+/\S+", {"redrive"}),
}
FLAGS = {"1": True, "true": True, "0": False, "false": False}
STAGE_NAME = r"[a-z][a-z0-9-]{0,19}"  # as the template has it
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class ApiAuth(StrEnum):
    """How callers of the HTTP API are told apart."""

    TOKEN = "token"  # noqa: S105 (no token, but the word)
    IAM = "iam"
    NONE = "none"


class Settings(Struct, frozen=True):
    """A stage's settings. Units: what ends in _ms is milliseconds.

    Shapes: function is the one that Lambda starts here, by its name in `app.py`, `api` for the routes; None elsewhere.
            is_traced says whether there is a daemon that takes traces.
    """

    stage: str
    function: str | None
    is_traced: bool
    events_stream: str
    aggregates_table: str
    orders_table: str
    dead_letters_bucket: str
    ids_table: str
    idempotency_table: str
    results_topic_arn: str
    redrive_queue_url: str
    lateness_ms: int
    future_tolerance_ms: int
    dedup_horizon_ms: int
    events_retention_ms: int
    api_auth: ApiAuth
    api_tokens_secret: str
    api_tokens_max_age_ms: int
    api_cors_origin: str | None


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; a stage's resources have their usual names unless a variable says otherwise.

    Raises: SettingError, naming the variable that is missing or malformed: whatever the function, and what this one
            cannot do without.
    """
    function = _function(environment)
    stage = environment.get("STAGE", "")
    if not re.fullmatch(STAGE_NAME, stage):
        raise SettingError(f"STAGE is a name of 1..20 of a-z, 0-9 and -, a letter first, not {stage!r}")
    return Settings(
        stage=stage,
        function=function,
        is_traced=_is_traced(environment),
        events_stream=_name(environment, "EVENTS_STREAM", f"highwater-{stage}-events"),
        aggregates_table=_name(environment, "AGGREGATES_TABLE", f"highwater-{stage}-aggregates"),
        orders_table=_name(environment, "ORDERS_TABLE", f"highwater-{stage}-orders"),
        dead_letters_bucket=_name(environment, "DEAD_LETTERS_BUCKET", f"highwater-{stage}-dead-letters"),
        ids_table=_name(environment, "IDS_TABLE", f"highwater-{stage}-ids"),
        idempotency_table=_name(environment, "IDEMPOTENCY_TABLE", f"highwater-{stage}-idempotency"),
        results_topic_arn=_locator(environment, "RESULTS_TOPIC_ARN", function),
        redrive_queue_url=_locator(environment, "REDRIVE_QUEUE_URL", function),
        lateness_ms=_duration(environment, "LATENESS", "1d"),
        future_tolerance_ms=_duration(environment, "FUTURE_TOLERANCE", "5m"),
        dedup_horizon_ms=_duration(environment, "DEDUP_HORIZON", "15m"),
        events_retention_ms=_duration(environment, "EVENTS_RETENTION", "7d"),
        api_auth=_api_auth(environment),
        api_tokens_secret=_name(environment, "API_TOKENS_SECRET", f"highwater-{stage}-api-tokens"),
        api_tokens_max_age_ms=_duration(environment, "API_TOKENS_MAX_AGE", "1m", at_most_ms=API_TOKENS_MAX_AGE_MS_MAX),
        api_cors_origin=_origin(environment, "API_CORS_ORIGIN"),
    )


def _name(environment: Mapping[str, str], variable: str, usual: str) -> str:
    name = environment.get(variable, usual)
    if not re.fullmatch(r"[A-Za-z0-9._-]{3,128}", name):
        raise SettingError(f"{variable} is a resource's name (3..128 of A-Z, a-z, 0-9, . _ -), not {name[:40]!r}")
    return name


def _locator(environment: Mapping[str, str], variable: str, function: str | None) -> str:
    """Read where something is; a function that does without need not be told."""
    locator = environment.get(variable, "")
    form, needed_by = LOCATORS[variable]
    if not locator and function in needed_by:
        raise SettingError(f"{variable} is missing, and the function {function} cannot do without")
    if locator and not re.fullmatch(form, locator):
        raise SettingError(f"{variable} is malformed: {locator[:80]!r}")
    return locator


def _function(environment: Mapping[str, str]) -> str | None:
    """Read which function Lambda starts here: `app.app` are the routes, `app.ingest` is `ingest`.

    Source: AWS Lambda Developer Guide, "Defined runtime environment variables".
    """
    module, _, attribute = environment.get("_HANDLER", "").partition(".")
    if module != "app":
        return None
    return "api" if attribute == "app" else attribute


def _is_traced(environment: Mapping[str, str]) -> bool:
    """Read whether there is somebody to tell traces to, and nobody has forbidden it.

    Why: Lambda names X-Ray's daemon in the environment, a local stage has none; `POWERTOOLS_TRACE_DISABLED` is
         Powertools' own switch, and the cheaper here: off, X-Ray's SDK is not even loaded.
    """
    is_disabled = environment.get("POWERTOOLS_TRACE_DISABLED", "false").lower()
    if is_disabled not in FLAGS:
        raise SettingError(f"POWERTOOLS_TRACE_DISABLED is true or false, not {is_disabled[:40]!r}")
    return bool(environment.get("AWS_XRAY_DAEMON_ADDRESS")) and not FLAGS[is_disabled]


def _duration(environment: Mapping[str, str], variable: str, usual: str, at_most_ms: int = DURATION_MS_MAX) -> int:
    try:
        duration_ms = parse_duration(environment.get(variable, usual))
    except ValueError as error:
        raise SettingError(f"{variable}: {error}") from error
    if duration_ms > at_most_ms:
        raise SettingError(f"{variable} is at most {format_duration(at_most_ms)}, not {format_duration(duration_ms)}")
    return duration_ms


def _api_auth(environment: Mapping[str, str]) -> ApiAuth:
    """Read how callers are told apart; not at all only where AWS itself is on this machine.

    Why: a package is made with the setting of whoever makes it, so no name of a stage could keep `none` out of it. On
         Lambda nothing listens on loopback: a function that is told so fails, and lets nobody in.
    """
    text = environment.get("API_AUTH", ApiAuth.TOKEN)
    if text not in set(ApiAuth):
        raise SettingError(f"API_AUTH is one of {', '.join(ApiAuth)}, not {text[:40]!r}")
    if text == ApiAuth.NONE and _host(environment.get("AWS_ENDPOINT_URL", "")) not in LOOPBACK:
        raise SettingError(
            "API_AUTH is none, which only a local stage may have: AWS_ENDPOINT_URL is not on this machine"
        )
    return ApiAuth(text)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _origin(environment: Mapping[str, str], variable: str) -> str | None:
    origin = environment.get(variable)
    if not origin:
        return None
    if not re.fullmatch(r"https?://[a-z0-9.-]{1,253}(:[0-9]{1,5})?", origin):
        raise SettingError(f"{variable} is one origin, such as https://example.org, and no *, not {origin[:40]!r}")
    return origin
