"""Joins the parts, one module a function: settings, stores and use cases, each made once a container.

A function's module is loaded when it is first asked for: `wiring.ingest` loads `wiring/ingest.py` and what that needs,
and none of what the other functions need. Each has `make`, which makes the use case, and what `app.py` calls.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from chalicelib import telemetry
from chalicelib.wiring.discretion import discreet
from chalicelib.wiring.stage import CATALOG, settings, stream_arn_placeholder

if TYPE_CHECKING:
    from chalicelib.wiring import (
        api,
        authorize,
        capture,
        check_release,
        fan_out,
        filters,
        ingest,
        redrive,
        rollup,
        tick,
    )

__all__ = [
    "CATALOG",
    "api",
    "around_invocations",
    "authorize",
    "capture",
    "check_release",
    "fan_out",
    "filters",
    "ingest",
    "prepare",
    "redrive",
    "rollup",
    "settings",
    "stream_arn_placeholder",
    "tick",
]


def __getattr__(name: str) -> ModuleType:
    """Load a function's module (PEP 562); from then on it is an attribute like any other."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module(f"{__name__}.{name}")


def around_invocations() -> Iterator[Callable[..., Any]]:
    """What goes around every handler, the outermost first: what may be told of an error, the logs, a trace, metrics.

    Chalice puts them around every handler but an authorizer's; `wiring/authorize.py` sees to what may be told itself.
    """
    stage, function = settings().stage, settings().function
    yield discreet()
    yield telemetry.logger.inject_lambda_context
    if settings().is_traced:
        from chalicelib.aws import concurrent  # noqa: PLC0415  as the module says
        from chalicelib.tracing import carried, tracing  # noqa: PLC0415

        concurrent.carry_by(carried)
        yield tracing(telemetry.SERVICE, stage, function or "app")
    yield telemetry.metrics.log_metrics(default_dimensions={"stage": stage})


def prepare() -> None:
    """Make what the function needs that Lambda starts here, if any: in its start, not in its first invocation.

    Why: Lambda starts a function on more CPU than its memory buys, and a mistake shows before the first event.
    """
    if (function := settings().function) is not None:
        import_module(f"{__name__}.{function}").make()
