"""The load test as Locust runs it: `python -m loadtest` starts it, and so can you.

    locust -f loadtest/locustfile.py                                  its web UI, on one process
    locust -f loadtest/locustfile.py --master                         … with workers:
    locust -f loadtest/locustfile.py --worker --master-host HOST      as many as you like, on any machine

docs/loadtest.md tells the rest. Workers learn all from the master but AWS credentials and HIGHWATER_TOKEN.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # Locust puts its own file's folder there

from locust import LoadTestShape, events
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtest.generate.master import Master, Tick
from loadtest.generate.users import AnalystUser, ProbeUser, ProducerUser, Seated, WatchUser
from loadtest.generate.worker import Worker

__all__ = ["AnalystUser", "ProbeUser", "ProducerUser", "RunShape", "WatchUser"]


class RunShape(LoadTestShape):
    """How many users there are: as the run needs them. The load itself does not depend on their number."""

    master: Master | None = None

    def tick(self) -> Tick | None:
        """Ask the run."""
        return self.master.tick() if self.master is not None else None


@events.init_command_line_parser.add_listener  # type: ignore[untyped-decorator]
def add_arguments(parser: LocustArgumentParser) -> None:
    """Add the load test's own; `--profile` is one of Locust's."""
    parser.set_defaults(profile="smoke")
    add = parser.add_argument  # not a group's: what is in one the web UI does not show
    add("--stage", default="local", help="The stage to load; local is the one that runs on this machine (make stage)")
    add("--api-url", default="", help="Where its API is, if not where its stack tells, or on 127.0.0.1:8000")
    add("--endpoint-url", default="", help="Where its AWS is, if not AWS itself, or on 127.0.0.1:4566")


@events.init.add_listener  # type: ignore[untyped-decorator]
def wire(environment: Environment, runner: Any, **_: Any) -> None:
    """Give users and shape what they need of this process."""
    listen_to = environment.events
    if not isinstance(runner, MasterRunner):
        Seated.worker = worker = Worker(environment)
        listen_to.test_start.add_listener(lambda **_: worker.forget())  # type: ignore[no-untyped-call]
    if not isinstance(runner, WorkerRunner):
        RunShape.master = master = Master(environment, ProducerUser, [AnalystUser, ProbeUser, WatchUser])
        listen_to.test_stop.add_listener(lambda **_: master.stop())  # type: ignore[no-untyped-call]
