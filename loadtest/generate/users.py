"""The users of the load test: who puts events, who asks, who probes, and who watches the stream.

Each does one thing for as long as the load runs, and then waits to be stopped. Requests show in Locust's own tables.
"""

import contextlib
import random
from abc import abstractmethod
from collections.abc import Sequence
from http import HTTPStatus
from itertools import count
from typing import Any, ClassVar

import gevent
import msgspec
from gevent.event import Event
from gevent.pool import Pool
from locust import FastHttpUser, User, task

from loadtest.generate.bookkeeping import Bookkeeping
from loadtest.generate.kinesis import AnswerLostError, KinesisPuts, RequestRefusedError
from loadtest.generate.messages import Begin
from loadtest.generate.pacing import Arrival, arrivals, when_due
from loadtest.generate.questions import Question, draw, probes, stream
from loadtest.generate.sender import LANES, Sender
from loadtest.generate.worker import TELL_SECONDS, Seat, Worker
from loadtest.ledger import OpenLedger
from loadtest.producer.delivery import Retry
from loadtest.recording import Lag, Ledger, Probe, Query, Run
from loadtest.target import StreamStanding, now_ms
from loadtest.traffic import PROBERS_FROM, Names, PutRecord, Traffic, probe_customer, probe_due_ms, probe_event

GRACE_SECONDS = 30.0  # after the load, for what the stream has not taken yet
REQUESTS_AT_ONCE = 200  # of one analyst, or one prober
ASK_SECONDS = 35.0  # more than API Gateway gives an answer
WATCH_SECONDS = 1.0
# All that are under way are asked for together, so that asking is no load to speak of; an address has some 8 KB.
PROBES_ASKED_SECONDS, PROBES_A_QUESTION = 0.1, 100
PROBE_PATIENCE_MS = 60_000


class Seated(User):
    """A user with a seat in the run, which it tells of what it sees each second."""

    abstract = True
    worker: ClassVar[Worker]  # set when Locust has begun
    seat: Seat

    @task
    def take_part(self) -> None:
        """Wait for the run, do the user's part in it, and wait to be stopped."""
        self.seat, begin, number = self.worker.take_seat(type(self).__name__)
        self.prepare(begin, number)
        telling = gevent.spawn(self._tell_each_second)
        try:
            self.play(begin.run)
        finally:
            telling.kill()
            self.gather(is_last=True)
            self.seat.tell(self.ledger(), is_done=True)
        Event().wait()

    def _tell_each_second(self) -> None:
        while True:
            gevent.sleep(TELL_SECONDS)
            self.gather()
            self.seat.tell()

    def prepare(self, begin: Begin, number: int) -> None:
        """Make what the user's part takes. Shapes: number, from 0, among the users of its kind."""

    @abstractmethod
    def play(self, run: Run) -> None:
        """Do the user's part, from the start of the load to its end."""

    def gather(self, *, is_last: bool = False) -> None:
        """Put into the seat what is to be told now. Shapes: is_last, whether nothing comes after it."""

    def ledger(self) -> Ledger | None:
        """What the stream has accepted of this user, if it puts anything."""
        return None

    def hear(self, name: str, elapsed_ms: float, size_bytes: int, error: Exception | None) -> None:
        """Have Locust show a request of Kinesis."""
        self.environment.events.request.fire(
            request_type="Kinesis", name=name, response_time=elapsed_ms, response_length=size_bytes, exception=error
        )


class Asker(Seated, FastHttpUser):
    """A user who asks the API, with a token."""

    abstract = True
    insecure = False  # FastHttpUser would take any certificate otherwise, and be told the token of whoever has none
    concurrency = REQUESTS_AT_ONCE
    connection_timeout = network_timeout = ASK_SECONDS

    def ask(self, question: Question) -> tuple[int, bytes]:
        """Ask. Returns: the answer's status, 0 when none came, and the answer."""
        response = self.client.get(question.path, name=question.name, headers=self.worker.headers)
        return response.status_code or 0, response.content or b""


class ProducerUser(Seated):
    """Puts one worker's share of the events, each when it is due."""

    def prepare(self, begin: Begin, number: int) -> None:
        """Make its traffic, and what has that accepted."""
        kinesis = begin.target.client("kinesis")
        self._started_ms = begin.run.started_ms
        self._book = Bookkeeping(number)
        self._sender = Sender(
            Traffic(begin.run, number).slots(),
            started_ms=begin.run.started_ms,
            book=self._book,
            put=_puts(begin, kinesis, LANES),
            shards=lambda: begin.target.shards(kinesis),
            clock_ms=now_ms,
            hear=lambda elapsed_ms, size_bytes, error: self.hear("PutRecords", elapsed_ms, size_bytes, error),
        )

    def play(self, run: Run) -> None:  # noqa: ARG002 (its sender has it)
        """Send all slots."""
        self._sender.run(GRACE_SECONDS)

    def gather(self, *, is_last: bool = False) -> None:
        """Put the seconds that are over into the seat, at the end the one that is under way too."""
        self.seat.seen.seconds += self._book.take_seconds(max(0, now_ms() - self._started_ms) // 1000 + is_last)

    def ledger(self) -> Ledger:
        """What was accepted."""
        return self._book.ledger()


class AnalystUser(Asker):
    """Asks what analysts ask, as often as many together do; none waits for another's answer."""

    def play(self, run: Run) -> None:
        """Ask until the load ends, and wait for the answers."""
        chance = random.Random(f"{run.run_id}/analyst")
        currencies = Names.of(run).currencies
        asking = Pool(REQUESTS_AT_ONCE)
        due = arrivals(run.profile.analysts.queries, run.started_ms, run.profile.arrivals.seconds, chance)
        for arrival in when_due(due, now_ms, gevent.sleep):
            asking.spawn(self._ask, arrival, draw(chance, arrival.due_ms, currencies))
        asking.join(ASK_SECONDS)

    def _ask(self, arrival: Arrival, question: Question) -> None:
        """Ask, and note how long it took from when it was due: what had to wait here waited for the stage."""
        status, _ = self.ask(question)
        self.seat.seen.queries.append(Query(question.name, arrival.due_ms, now_ms() - arrival.due_ms, status))


class ProbeUser(Asker):
    """Puts single events, and asks for each until the API tells of it: how fresh answers are."""

    def prepare(self, begin: Begin, number: int) -> None:
        """Make its ledger."""
        self._number = number
        self._ledger = OpenLedger(PROBERS_FROM + number)
        self._invisible: dict[str, tuple[int, int]] = {}  # by customer: when it was due, and when accepted
        self._put = _puts(begin, begin.target.client("kinesis"), REQUESTS_AT_ONCE)

    def play(self, run: Run) -> None:
        """Probe until the load ends, and wait for the last ones to be visible."""
        putting = Pool(REQUESTS_AT_ONCE)
        asking = gevent.spawn(self._ask_for_all)
        for arrival in when_due(_probes(run), now_ms, gevent.sleep):
            putting.spawn(self._put_probe, run, arrival)
        putting.join(PROBE_PATIENCE_MS / 1000)
        putting.kill()
        while self._invisible:
            gevent.sleep(PROBES_ASKED_SECONDS)
        asking.kill()

    def ledger(self) -> Ledger:
        """What was accepted."""
        return self._ledger.close()

    def _put_probe(self, run: Run, arrival: "ProbeArrival") -> None:
        self._put_until_accepted(PutRecord(*probe_event(run, self._number, arrival.number), [arrival.number]))
        self._invisible[probe_customer(run, self._number, arrival.number)] = (arrival.due_ms, now_ms())

    def _put_until_accepted(self, record: PutRecord) -> None:
        retry = Retry(sleep=gevent.sleep, random=lambda: 1.0)
        is_lost = False
        for failed_attempts in count():
            self._ledger.send(record.numbers)
            self._ledger.resend(int(is_lost))
            began_ms = now_ms()
            error: Exception | None = None
            try:
                (answer,) = self._put([record])
                error = RequestRefusedError(answer.error) if answer.error is not None else None
            except RequestRefusedError as refusal:
                error = refusal
            except AnswerLostError as lost:
                error, is_lost = lost, True
            self.hear("PutRecords (probe)", now_ms() - began_ms, len(record.data), error)
            if error is None:
                self._ledger.accept(record.numbers)
                return
            if not is_lost:
                self._ledger.refuse(record.numbers)
            retry.pause(failed_attempts)

    def _ask_for_all(self) -> None:
        """Note when the API first tells of each probe."""
        while True:
            gevent.sleep(PROBES_ASKED_SECONDS)
            customers = list(self._invisible)
            for start in range(0, len(customers), PROBES_A_QUESTION):
                self._ask_for(customers[start : start + PROBES_A_QUESTION])

    def _ask_for(self, customers: Sequence[str]) -> None:
        """Note which of these the API tells of; None of one that it does not tell of in time."""
        due_ms = [self._invisible[customer][0] for customer in customers]
        status, body = self.ask(probes(customers, min(due_ms), max(due_ms)))
        told: set[str] = set()
        if status == HTTPStatus.OK:
            with contextlib.suppress(msgspec.MsgspecError):
                told = {row.user_id for row in msgspec.json.decode(body, type=ProbesAnswer).data}
        told_ms = now_ms()
        for customer in customers:
            _, accepted_ms = self._invisible[customer]
            if customer in told or told_ms > accepted_ms + PROBE_PATIENCE_MS:
                del self._invisible[customer]
                self.seat.seen.probes.append(Probe(accepted_ms, told_ms if customer in told else None))


class ProbeRow(msgspec.Struct, frozen=True):
    """A row of the answer to `probes`, as far as it is looked at."""

    user_id: str


class ProbesAnswer(msgspec.Struct, frozen=True):
    """The answer to `probes`, as far as it is looked at."""

    data: list[ProbeRow]


class WatchUser(Asker):
    """Watches how far behind each shard is."""

    def play(self, run: Run) -> None:
        """Ask each second until the load ends."""
        end_ms = run.started_ms + run.profile.arrivals.seconds * 1000
        gevent.sleep(max(0, run.started_ms - now_ms()) / 1000)
        while now_ms() < end_ms:
            status, body = self.ask(stream(0, ()))
            if status == HTTPStatus.OK:
                with contextlib.suppress(msgspec.MsgspecError):
                    standing = msgspec.json.decode(body, type=StreamStanding)
                    at_ms = now_ms()
                    self.seat.seen.lags += [
                        Lag(at_ms, each.shard_id, each.behind_ms) for each in standing.open_shards()
                    ]
            gevent.sleep(WATCH_SECONDS)


class ProbeArrival(msgspec.Struct, frozen=True):
    """A probe is due. Units: due_ms, epoch milliseconds."""

    number: int
    due_ms: int


def _probes(run: Run) -> Any:
    """All probes of the run, when each is due."""
    if not run.profile.analysts.probes:
        return
    end_ms = run.started_ms + run.profile.arrivals.seconds * 1000
    for number in count():
        due_ms = probe_due_ms(run, number)
        if due_ms >= end_ms:
            return
        yield ProbeArrival(number, due_ms)


def _puts(begin: Begin, kinesis: Any, connections: int) -> KinesisPuts:
    target = begin.target
    return KinesisPuts(target.session(), kinesis.meta.endpoint_url, target.stream, target.region, connections)
