"""Settings: environment variables, read once into one frozen object. Nothing else reads the environment.

botocore's own variables (`AWS_ENDPOINT_URL`, region, credentials) are left to botocore, so that any AWS-compatible
endpoint serves. The README lists every setting.
"""

import os
import re
from collections.abc import Mapping

from msgspec import Struct

from chalicelib.aggregates.windows import parse_duration
from chalicelib.errors import SettingError


class Settings(Struct, frozen=True):
    """A stage's settings. Units: what ends in _ms is milliseconds."""

    stage: str
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


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; a stage's resources have their usual names unless a variable says otherwise.

    Raises: SettingError, naming the variable that is missing or malformed.
    """
    stage = environment.get("STAGE", "")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,19}", stage):
        raise SettingError(f"STAGE is a name of 1..20 of a-z, 0-9 and -, a letter first, not {stage!r}")
    return Settings(
        stage=stage,
        events_stream=_name(environment, "EVENTS_STREAM", f"highwater-{stage}-events"),
        aggregates_table=_name(environment, "AGGREGATES_TABLE", f"highwater-{stage}-aggregates"),
        orders_table=_name(environment, "ORDERS_TABLE", f"highwater-{stage}-orders"),
        dead_letters_bucket=_name(environment, "DEAD_LETTERS_BUCKET", f"highwater-{stage}-dead-letters"),
        ids_table=_name(environment, "IDS_TABLE", f"highwater-{stage}-ids"),
        idempotency_table=_name(environment, "IDEMPOTENCY_TABLE", f"highwater-{stage}-idempotency"),
        results_topic_arn=environment.get("RESULTS_TOPIC_ARN", ""),
        redrive_queue_url=environment.get("REDRIVE_QUEUE_URL", ""),
        lateness_ms=_duration(environment, "LATENESS", "1d"),
        future_tolerance_ms=_duration(environment, "FUTURE_TOLERANCE", "5m"),
        dedup_horizon_ms=_duration(environment, "DEDUP_HORIZON", "15m"),
        events_retention_ms=_duration(environment, "EVENTS_RETENTION", "7d"),
    )


def _name(environment: Mapping[str, str], variable: str, usual: str) -> str:
    name = environment.get(variable, usual)
    if not re.fullmatch(r"[A-Za-z0-9._-]{3,128}", name):
        raise SettingError(f"{variable} is a resource's name (3..128 of A-Z, a-z, 0-9, . _ -), not {name[:40]!r}")
    return name


def _duration(environment: Mapping[str, str], variable: str, usual: str) -> int:
    try:
        return parse_duration(environment.get(variable, usual))
    except ValueError as error:
        raise SettingError(f"{variable}: {error}") from error
