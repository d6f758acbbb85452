"""Gives the stream another number of shards while it is under load, as a profile says."""

import threading
import time
from types import TracebackType
from typing import Any, Self

from botocore.exceptions import BotoCoreError, ClientError

from loadtest.profile import Reshard
from loadtest.recording import FaultDone
from loadtest.target import Target, now_ms
from ops import aws

KIND = "reshard"
POLL_SECONDS = 5.0
PATIENCE_SECONDS = 600.0


class ReshardUnderLoad:
    """Does so between `with` and its end, on a thread of its own; `done` tells of it then.

    Source: Kinesis API Reference, "UpdateShardCount": uniform scaling, at most double and no less than half.
    """

    def __init__(self, target: Target, reshard: Reshard | None, *, started_ms: int) -> None:
        self.done: list[FaultDone] = []
        self._ending = threading.Event()
        self._thread = (
            threading.Thread(target=self._reshard, args=(target, reshard, started_ms), name=KIND, daemon=True)
            if reshard
            else None
        )

    def __enter__(self) -> Self:
        if self._thread is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def _reshard(self, target: Target, reshard: Reshard, started_ms: int) -> None:
        if self._ending.wait(max(0.0, started_ms / 1000 + reshard.at_seconds - time.time())):
            self.done.append(FaultDone(KIND, now_ms(), "the load ended before it was due", happened=False))
            return
        at_ms = now_ms()
        try:
            what, happened = self._change(target.client("kinesis"), target.stream, reshard.shards)
        except (BotoCoreError, ClientError) as error:
            what, happened = aws.reason(error), False
        self.done.append(FaultDone(KIND, at_ms, what, happened))

    def _change(self, kinesis: Any, stream: str, shards: int) -> tuple[str, bool]:
        before = _open_shards(kinesis, stream)
        kinesis.update_shard_count(StreamName=stream, TargetShardCount=shards, ScalingType="UNIFORM_SCALING")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if _open_shards(kinesis, stream) == shards and _status(kinesis, stream) == "ACTIVE":
                return f"the stream went from {before} shards to {shards}", before != shards
            if self._ending.wait(POLL_SECONDS):
                return f"the stream was still on its way from {before} shards to {shards} when the load ended", True
        return f"the stream did not come from {before} shards to {shards} in time", False


def _open_shards(kinesis: Any, stream: str) -> int:
    count: int = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["OpenShardCount"]
    return count


def _status(kinesis: Any, stream: str) -> str:
    status: str = kinesis.describe_stream_summary(StreamName=stream)["StreamDescriptionSummary"]["StreamStatus"]
    return status
