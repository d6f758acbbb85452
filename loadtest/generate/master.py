"""The master's side of a run: it begins when all users are there, and writes down what they have seen.

    profile, stage → users are spawned → all are PRESENT → BEGIN, a moment ahead → SEEN, each second → all are done

In the run's folder stand run.json from the beginning on, progress.jsonl, a line each second, and at the end
recording.json.
"""

import logging
import os
import shlex
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import msgspec
from locust import User
from locust.env import Environment
from locust.runners import LocalRunner, MasterRunner

from loadtest import profile as profiles
from loadtest import recording
from loadtest.completeness import wait_until_complete
from loadtest.generate.gathered import SETTLED_SECONDS, Gathered
from loadtest.generate.messages import BEGIN, PRESENT, SEEN, Begin, Present, Seen, encode
from loadtest.generate.plan import (
    PLAN_VARIABLE,
    PROGRESS,
    RECORDING,
    RUN,
    Plan,
    machine,
    new_run_id,
    versions,
)
from loadtest.profile import ProfileError
from loadtest.recording import LOST_WORKER, FaultDone, Ledger, Recording, Run
from loadtest.target import TOKEN_VARIABLE, HttpApi, TargetError, Where, ask_stream, now_ms, reached
from loadtest.traffic import PROBERS_FROM, Traffic

logger = logging.getLogger(__name__)

OUT_DIR = Path("out") / "loadtest"
LEAD_MS = 1_000  # from the message to the first event
PRESENT_SECONDS = 60.0
LOST_SECONDS = 30.0  # a worker that says nothing for so long is lost; each tells something each second
SPAWN_RATE = 100.0
REFUSED = 2
Tick = tuple[int, float, list[type[User]]]


class AbortedError(Exception):
    """The run cannot be; the text is one line."""


class Conductor:
    """One run. Made when it is asked for, and over when Locust has stopped the users."""

    def __init__(self, environment: Environment, producer: type[User], others: list[type[User]]) -> None:
        self._environment = environment
        self._runner: Any = environment.runner
        self._producer = producer
        self._others = others
        self._held = ExitStack()
        self._workers = len(self._runner.clients.ready) if isinstance(self._runner, MasterRunner) else 1
        if not self._workers:
            raise AbortedError("there are no workers yet")
        self._plan = self._make_plan()
        self.folder = Path(self._plan.folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self._held.close()
            raise AbortedError(f"there is no place for the report: {error}") from None
        environment.host = self._plan.target.stage.api_url
        self._seats: dict[str, Present] = {}
        self._numbers: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._done: set[str] = set()
        self._lost: dict[str, int] = {}  # by seat: since when, epoch milliseconds
        self._gathered = Gathered()
        self._run: Run | None = None
        self._ticks = 0
        self._began = time.monotonic()
        self._telling = gevent.spawn(self._tell_each_second)

    def tick(self) -> Tick | None:
        """What Locust asks each second: which users there have to be; None when the run is over."""
        self._ticks += 1
        if self._run is None and time.monotonic() > self._began + PRESENT_SECONDS:
            logger.error("loadtest: not all users were there within %.0f s", PRESENT_SECONDS)
            self._environment.process_exit_code = REFUSED
            return None
        if self._run is not None and self._is_over():
            return None
        if self._ticks == 1:  # in two steps, so that each worker process gets a producer
            return self._workers, SPAWN_RATE, [self._producer]
        return self._workers + len(self._others), SPAWN_RATE, self._others

    def on_present(self, environment: Environment, msg: Any) -> None:  # noqa: ARG002 (Locust calls it so)
        """Take note of a user, and begin when all are there."""
        present = msgspec.json.decode(msg.data, type=Present)
        self._seats[present.seat] = present
        if self._run is None and len(self._seats) == self._workers + len(self._others):
            self._begin()

    def on_seen(self, environment: Environment, msg: Any) -> None:  # noqa: ARG002 (Locust calls it so)
        """Take in what a user has seen."""
        seen = msgspec.json.decode(msg.data, type=Seen)
        self._heard[seen.seat] = time.monotonic()
        self._gathered.add(seen)
        if seen.is_done:
            self._done.add(seen.seat)
            self._lost.pop(seen.seat, None)

    def close(self) -> None:
        """Write the recording, once all users are stopped; end what was begun for the run."""
        self._telling.kill()
        try:
            if self._run is not None:
                self._write(self._run)
        finally:
            self._held.close()

    def _make_plan(self) -> Plan:
        """What was found out already, or what Locust's options ask for. Raises: AbortedError."""
        if told := os.environ.get(PLAN_VARIABLE):
            return msgspec.json.decode(told, type=Plan)
        options: Any = self._environment.parsed_options
        run_id = new_run_id()
        try:
            profile = profiles.load(options.profile)
            where = Where(options.api_url or None, options.endpoint_url or None)
            found = self._held.enter_context(
                reached(options.stage, profile, run_id, where=where, state_dir=None, tell=logger.info)
            )
        except (ProfileError, TargetError) as error:
            raise AbortedError(str(error)) from None
        if found.token is not None and TOKEN_VARIABLE not in os.environ:
            if not isinstance(self._runner, LocalRunner):
                self._held.close()
                raise AbortedError(f"the workers need a token for the API, in {TOKEN_VARIABLE} of each of them")
            os.environ[TOKEN_VARIABLE] = found.token
            self._held.callback(os.environ.pop, TOKEN_VARIABLE, None)
        folder = str(OUT_DIR / run_id)
        command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
        return Plan(run_id, options.profile, profile, found.target, folder, command, found.token is not None)

    def _begin(self) -> None:
        """Number the users among their kind, and have all begin."""
        numbered: dict[str, int] = {}
        for seat in sorted(self._seats.values(), key=lambda each: each.seat):
            self._numbers[seat.seat] = numbered.get(seat.kind, 0)
            numbered[seat.kind] = self._numbers[seat.seat] + 1
        target = self._plan.target
        self._run = Run(
            self._plan.run_id, self._plan.profile, now_ms() + LEAD_MS, self._workers, target.stage.lateness_ms
        )
        self._heard = dict.fromkeys(self._seats, time.monotonic())
        (self.folder / RUN).write_bytes(msgspec.json.encode(self._run))
        self._runner.send_message(BEGIN, encode(Begin(self._run, target, self._numbers, self._plan.needs_token)))

    def _is_over(self) -> bool:
        """Whether every user is done, or lost."""
        for seat in self._seats:
            silent_seconds = time.monotonic() - self._heard[seat]
            is_gone = silent_seconds > LOST_SECONDS or self._has_quit(seat)
            if seat in self._done or seat in self._lost or not is_gone:
                continue
            self._lost[seat] = now_ms() - int(silent_seconds * 1000)
            logger.error("loadtest: %s is lost", self._name_of(seat))
        return self._seats.keys() <= self._done | self._lost.keys()

    def _has_quit(self, seat: str) -> bool:
        return isinstance(self._runner, MasterRunner) and seat.partition("#")[0] not in self._runner.clients

    def _name_of(self, seat: str) -> str:
        return f"{self._seats[seat].kind} {self._numbers[seat]}"

    def _tell_each_second(self) -> None:
        with (self.folder / PROGRESS).open("ab", buffering=0) as lines:
            while True:
                gevent.sleep(1)
                if self._run is None or now_ms() < self._run.started_ms + SETTLED_SECONDS * 1000:
                    continue
                progress = self._gathered.progress((now_ms() - self._run.started_ms) // 1000)
                progress.note = "; ".join(f"{self._name_of(seat)} is lost" for seat in self._lost)
                lines.write(msgspec.json.encode(progress) + b"\n")

    def _write(self, run: Run) -> None:
        stopped_ms = now_ms()
        for seat in self._seats.keys() - self._done:
            self._lost.setdefault(seat, stopped_ms)
        told = Recording(
            run=run,
            stage=self._plan.target.stage,
            stopped_ms=stopped_ms,
            complete_until_ms=None,
            ledgers=[*self._gathered.ledgers.values(), *self._ledgers_of_lost(run)],
            seconds=[self._gathered.seconds[at] for at in sorted(self._gathered.seconds)],
            probes=self._gathered.probes,
            queries=self._gathered.queries,
            lags=self._gathered.lags,
            faults=[
                FaultDone(LOST_WORKER, at_ms, f"{self._name_of(seat)} was lost", happened=True)
                for seat, at_ms in self._lost.items()
            ],
            versions=versions(),
            machine=machine(),
            profile_name=self._plan.profile_name,
            command=self._plan.command,
        )
        recording.write(told, self.folder / RECORDING)
        if PLAN_VARIABLE in os.environ:  # whoever began this waits, and proves
            return
        logger.info("loadtest: waiting until all that was accepted is counted")
        target = self._plan.target
        api, kinesis = HttpApi(target.stage.api_url), target.client("kinesis")
        told.complete_until_ms = wait_until_complete(
            stopped_ms + target.clock_margin_ms,
            run.profile.settle_seconds,
            ask=lambda: ask_stream(api, os.environ.get(TOKEN_VARIABLE)),
            put_ticks=lambda: target.put_ticks(kinesis, now_ms()),
            tell=lambda _until_ms: None,
        )
        recording.write(told, self.folder / RECORDING)
        logger.info("loadtest: recorded; prove it: python -m loadtest.verify %s (docs/loadtest.md)", self.folder)

    def _ledgers_of_lost(self, run: Run) -> Iterable[Ledger]:
        """Of what the stream has taken of a worker that was lost nobody knows anything."""
        for seat in self._seats.keys() - self._gathered.ledgers.keys():
            number = self._numbers[seat]
            if self._seats[seat].kind == self._producer.__name__:
                yield Ledger(number, [], [(0, Traffic(run, number).total - 1)])
            elif self._seats[seat].kind == "ProbeUser":
                probes = int(run.profile.analysts.probes * run.profile.arrivals.seconds)
                yield Ledger(PROBERS_FROM + number, [], [(0, probes - 1)] if probes else [])


class Master:
    """What becomes of Locust's own events: a run is made for each start, and closed at each stop."""

    def __init__(self, environment: Environment, producer: type[User], others: list[type[User]]) -> None:
        self._environment = environment
        self._users = producer, others
        self._conductor: Conductor | None = None
        runner: Any = environment.runner
        runner.register_message(PRESENT, lambda **told: self._conductor and self._conductor.on_present(**told))
        runner.register_message(SEEN, lambda **told: self._conductor and self._conductor.on_seen(**told))

    def tick(self) -> Tick | None:
        """What `LoadTestShape` is asked: see `Conductor.tick`."""
        if self._conductor is None:
            try:
                self._conductor = Conductor(self._environment, *self._users)
            except AbortedError as refusal:
                logger.error("loadtest: %s", refusal)  # noqa: TRY400 (it is told in one line)
                self._environment.process_exit_code = REFUSED
                return None
            self._environment.process_exit_code = 0  # that requests fail is told in the report, not by Locust's code
        return self._conductor.tick()

    def stop(self) -> None:
        """Close the run that there is."""
        conductor, self._conductor = self._conductor, None
        if conductor is not None:
            conductor.close()
