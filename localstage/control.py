"""How the emulated AWS is asked what it has counted, and told what to do on purpose: HTTP below `/_highwater/`.

    GET  /_highwater/usage    what was counted (`Meter.usage`)
    GET  /_highwater/faults   what is being done on purpose, and how often it was (`faults.Told`)
    POST /_highwater/faults   change it (`faults.Wanted`); the answer is `Told`

No AWS client asks for these paths. Like all of the emulated AWS they are there on loopback alone.
"""

import urllib.request
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import MsgspecError

from localstage.faults import Faults, Told, Wanted
from localstage.meter import Meter

USAGE, FAULTS = "/_highwater/usage", "/_highwater/faults"
TIMEOUT_SECONDS = 10

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def beside(app: App, meter: Meter, faults: Faults) -> App:
    """Serve these paths, and leave all others to the ASGI app."""

    async def serve(scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] not in (USAGE, FAULTS):
            await app(scope, receive, send)
            return
        status, answer = _answer(scope["method"], scope["path"], await body_of(receive), meter, faults)
        content_type = (b"content-type", b"application/json")
        await send({"type": "http.response.start", "status": status, "headers": [content_type]})
        await send({"type": "http.response.body", "body": msgspec.json.encode(answer)})

    return serve


def usage(endpoint_url: str) -> dict[str, Any]:
    """What the emulated AWS has counted since it began. Raises: OSError."""
    counted: dict[str, Any] = msgspec.json.decode(_ask(endpoint_url + USAGE))
    return counted


def faults(endpoint_url: str) -> Told:
    """What is being done to the emulated AWS on purpose, and how often it was. Raises: OSError."""
    return msgspec.json.decode(_ask(endpoint_url + FAULTS), type=Told)


def change_faults(endpoint_url: str, wanted: Wanted) -> Told:
    """Have it done otherwise. Raises: OSError; ValueError for what cannot be."""
    told: Wanted = msgspec.convert(msgspec.to_builtins(wanted), Wanted)
    return msgspec.json.decode(_ask(endpoint_url + FAULTS, msgspec.json.encode(told)), type=Told)


def _answer(method: str, path: str, body: bytes, meter: Meter, faults: Faults) -> tuple[HTTPStatus, Any]:
    match method, path:
        case "GET", "/_highwater/usage":
            return HTTPStatus.OK, meter.usage()
        case "GET", "/_highwater/faults":
            return HTTPStatus.OK, faults.told
        case "POST", "/_highwater/faults":
            try:
                faults.change(msgspec.json.decode(body, type=Wanted))
            except MsgspecError as error:
                return HTTPStatus.BAD_REQUEST, {"message": str(error)}
            return HTTPStatus.OK, faults.told
    return HTTPStatus.METHOD_NOT_ALLOWED, {"message": f"no {method} here"}


async def body_of(receive: Callable[[], Awaitable[Any]]) -> bytes:
    """Read the whole body of an ASGI request."""
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _ask(url: str, body: bytes | None = None) -> bytes:
    with urllib.request.urlopen(url, body, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310  loopback
        told: bytes = answer.read()
        return told
