"""What a load test does to a stage: how much of what traffic, for how long, which faults, and what has to hold.

Only this file knows the form of a profile, `loadtest/profiles/NAME.toml`; `loadtest/profiles/README.md` tells it to
whoever writes one.
"""

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from loadtest.producer import Encoding

PROFILES_DIR = Path(__file__).with_name("profiles")

Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class ProfileError(ValueError):
    """No profile, or one with a mistake; the text names the file and the key in one line."""


class Burst(Struct, frozen=True, forbid_unknown_fields=True):
    """So many events at once, each so many seconds, on top of the rate."""

    events: Count
    every_seconds: Positive


class Arrivals(Struct, frozen=True, forbid_unknown_fields=True):
    """When events come: open arrivals, which do not wait for the stage. Units: rate is events a second."""

    rate: Positive
    seconds: Positive
    ramp_seconds: Annotated[float, Meta(ge=0)] = 0
    burst: Burst | None = None


class Shares(Struct, frozen=True, forbid_unknown_fields=True):
    """Which part of all events is not the usual one.

    Shapes: duplicates are events sent again under their id; conflicts, under an id that was sent with other content;
            late ones count in the windows of an hour before; too_late, future and poison become dead letters; hot ones
            have one and the same customer.
    """

    duplicates: Share = 0
    conflicts: Share = 0
    late: Share = 0
    too_late: Share = 0
    future: Share = 0
    poison: Share = 0
    hot: Share = 0


class Events(Struct, frozen=True, forbid_unknown_fields=True):
    """What events are like: customers are Zipf-like, the encodings have weights."""

    customers: Count = 1_000
    zipf: Positive = 1.0
    currencies: Annotated[int, Meta(ge=1, le=8)] = 4
    encodings: dict[Encoding, Positive] = msgspec.field(default_factory=lambda: {Encoding.AGGREGATE: 1.0})
    shares: Shares = Shares()


class Analysts(Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks meanwhile. Units: queries and probes a second, of all together."""

    queries: Annotated[float, Meta(ge=0)] = 1
    probes: Annotated[float, Meta(ge=0)] = 1


class FaultKind(StrEnum):
    """What can be done to a local stage while it is under load."""

    KILL_WORKER = "kill-worker"
    THROTTLE_DYNAMODB = "throttle-dynamodb"
    DELAY_SNS = "delay-sns"
    EXPIRE_ITERATORS = "expire-iterators"
    REPLAY = "replay"


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """One fault, or one repeated.

    Units: at_seconds and seconds from the load's start and from the fault's. Shapes: share, of DynamoDB's writes that
           are refused; delay_ms, of each SNS publish; times, how often, evenly over `seconds`.
    """

    kind: FaultKind
    at_seconds: Annotated[float, Meta(ge=0)]
    seconds: Annotated[float, Meta(ge=0)] = 0
    share: Share = 0.2
    delay_ms: Annotated[int, Meta(ge=1, le=60_000)] = 500
    times: Count = 1


class Reshard(Struct, frozen=True, forbid_unknown_fields=True):
    """The stream is given another number of shards midway."""

    at_seconds: Positive
    shards: Count


class Objectives(Struct, frozen=True, forbid_unknown_fields=True):
    """What has to hold beside exactness; what is None is told and not judged. Units: milliseconds where it ends in _ms.

    Shapes: rate_share, the accepted rate by the offered one.
    """

    rate_share: Share | None = 0.99
    freshness_p99_ms: Positive | None = None
    query_p99_ms: Positive | None = None


class LocalStage(Struct, frozen=True, forbid_unknown_fields=True):
    """How a local stage is started for the run, if none runs. Shapes: settings, environment variables of functions."""

    shards: Count = 4
    settings: dict[str, str] = msgspec.field(default_factory=dict)


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """A load test. Units: settle_seconds, how long after the load the answers may take to be complete."""

    description: Annotated[str, Meta(min_length=1)]
    arrivals: Arrivals
    events: Events = Events()
    analysts: Analysts = Analysts()
    objectives: Objectives = Objectives()
    faults: tuple[Fault, ...] = ()
    reshard: Reshard | None = None
    local: LocalStage = LocalStage()
    seed: int = 1
    settle_seconds: Positive = 300


def load(name: str) -> Profile:
    """Read a profile: by name one of `loadtest/profiles/`, by path (with a `/` or ending in .toml) any other.

    Raises: ProfileError.
    """
    path = Path(name) if "/" in name or name.endswith(".toml") else PROFILES_DIR / f"{name}.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Profile)
    except FileNotFoundError:
        there_are = ", ".join(sorted(each.stem for each in PROFILES_DIR.glob("*.toml")))
        raise ProfileError(f"there is no profile {name}; there are: {there_are}") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ProfileError(f"{path.name}: {error}") from None
