"""MiniStack as the local stage runs it: `python -m localstage.quick_ministack` instead of `python -m ministack`.

It counts what it is asked (`localstage.meter`), does on purpose what befalls AWS (`localstage.faults`), and is quick
where the stage is busy. All is put in from outside, while MiniStack starts; whatever is not named here is its own.
"""
# ruff: noqa: SLF001  MiniStack has no other way in

import os
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn
from ministack.services import dynamodb, dynamodb_streams, kinesis, sns

from localstage import control, faults, meter, quick_json, quick_kinesis, quick_query
from localstage.faults import Faults
from localstage.meter import Answer, Handler, Meter, Request, operation_of

KEEP_ALIVE_SECONDS = 75  # MiniStack's own


def watched(service: str, handle: Handler, counting: Meter, injected: Faults) -> Handler:
    """Count what a service is asked, and let the faults meet it first."""

    async def handle_watched(*parts: Any) -> Answer:
        request = Request(*parts)
        operation = operation_of(service, request)
        answer = await injected.meet(service, operation) or await handle(*request)
        counting.request(service, operation, request.body, answer)
        return answer

    return handle_watched


def read_at_once(decode: Callable[[bytes, dict[str, str]], bytes]) -> Callable[..., Awaitable[bytes]]:
    """Read a request's body in one piece: MiniStack copies what it has so far for each 64 KB that come."""

    async def read(receive: Callable[[], Awaitable[Any]], _method: str, headers: dict[str, str]) -> bytes:
        return decode(await control.body_of(receive), headers)

    return read


def main() -> None:
    """Run MiniStack so."""
    from ministack import app  # noqa: PLC0415  it reads its settings when it is imported

    counting, injected = Meter(), Faults()
    quick_json.install(dynamodb, dynamodb_streams, kinesis)
    quick_kinesis.install(kinesis)
    meter.install(counting, dynamodb, kinesis, sns)
    quick_query.install(dynamodb)
    faults.install(injected, kinesis, dynamodb_streams)
    for service, handle in app.SERVICE_HANDLERS.items():
        app.SERVICE_HANDLERS[service] = watched(service, handle, counting, injected)
    app._read_request_body = read_at_once(app._decode_aws_chunked_body)
    serve(control.beside(app.app, counting, injected), int(app._resolve_port()))


def serve(app: control.App, port: int) -> None:
    """Serve it until the process ends, on the interface that MiniStack is told.

    Why not MiniStack's own way: under Hypercorn and h11, pure Python, a put takes 1.0 ms of a core, and 0.4 so.
    """
    uvicorn.run(
        app,
        host=os.environ["BIND_HOST"],
        port=port,
        http="httptools",
        loop="uvloop",
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        log_config=None,  # MiniStack's stands
        access_log=False,
        server_header=False,
    )


if __name__ == "__main__":
    main()
