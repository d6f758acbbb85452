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
Positive = Annotated[float, Meta(gt=0, le=1_000_000)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]

# A partial of the metric `customers` holds 2 000 groups, and a window has one for each shard and each of 4 buckets. On
# a stream of one shard 7 200 customers in a minute, probes among them, leave room for how unevenly they are dealt: a
# bucket has 1 800 of them, give or take 37. Beyond the limit they would share one group, and nobody could tell them
# apart any more.
CUSTOMERS_MAX = 6_000
PROBES_A_SECOND_MAX = 20  # each a customer of its own

ROUNDING = 1e-9  # ten times 0.1 is a little more than 1


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

    def __post_init__(self) -> None:
        if self.ramp_seconds > self.seconds:
            raise ValueError("ramp_seconds is longer than seconds")
        if self.burst and self.burst.every_seconds >= self.seconds:
            raise ValueError("there would be no burst: every_seconds is no less than seconds")


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

    def __post_init__(self) -> None:
        dead = self.too_late + self.future + self.poison
        repeats = self.duplicates + self.conflicts
        if dead + repeats + self.late + self.hot > 1 + ROUNDING:
            raise ValueError("the shares add up to more than 1")
        if 2 * repeats + dead > 1 + ROUNDING:
            raise ValueError("there are more duplicates and conflicts than events that they could repeat")


class Events(Struct, frozen=True, forbid_unknown_fields=True):
    """What events are like: customers are Zipf-like, the encodings have weights."""

    customers: Annotated[int, Meta(ge=1, le=CUSTOMERS_MAX)] = 1_000
    zipf: Positive = 1.0
    currencies: Annotated[int, Meta(ge=1, le=8)] = 4
    encodings: dict[Encoding, Positive] = msgspec.field(default_factory=lambda: {Encoding.AGGREGATE: 1.0})
    shares: Shares = Shares()

    def __post_init__(self) -> None:
        if not self.encodings:
            raise ValueError("encodings has none")


class Analysts(Struct, frozen=True, forbid_unknown_fields=True):
    """Who asks meanwhile. Units: queries and probes a second, of all together."""

    queries: Annotated[float, Meta(ge=0)] = 1
    probes: Annotated[float, Meta(ge=0, le=PROBES_A_SECOND_MAX)] = 1


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
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 1
    settle_seconds: Positive = 300

    def __post_init__(self) -> None:
        late = [fault.kind for fault in self.faults if fault.at_seconds + fault.seconds > self.arrivals.seconds]
        if late:
            raise ValueError(f"the load would end before the fault {late[0]}")
        if self.reshard is None:
            return
        if self.reshard.at_seconds >= self.arrivals.seconds:
            raise ValueError("the load would end before the reshard")
        # What shares a record that is on its way while its shard is split lies in one of the children, whosever it is.
        # A repeat goes to its own, whose log knows nothing of it: it would count twice (docs/guarantees.md, "Repeats").
        has_repeats = self.events.shares.duplicates or self.events.shares.conflicts
        if has_repeats and self.events.encodings.keys() != {Encoding.PLAIN}:
            raise ValueError("with a reshard, duplicates and conflicts need encodings = { plain = 1 }")


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
