"""What leaves a function says nothing of what came in: whatever is raised is told by its type.

Lambda's runtime client prints the text of an exception that leaves a handler to the log, answers it to whoever waits,
and has X-Ray write it into Lambda's own segment of the trace. The texts of our own errors name what is wrong and quote
nothing (`chalicelib/errors.py`); those of others may quote an event. API Gateway asks for one text by the letter.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from chalicelib import telemetry
from chalicelib.errors import InvariantError, TransientError, UnexpectedError

P = ParamSpec("P")
R = TypeVar("R")


def discreet(*vouched: type[Exception]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """What, around a function's handler, lets out our own errors as they are, and of others the type and the place.

    Shapes: vouched are errors besides whose texts may be told, and of which whoever raises them has told the log.
    Raises: UnexpectedError, in place of what is none of ours; the log has what it was and where, and of AWS's errors
            their code.
    """

    def around(handler: Callable[P, R]) -> Callable[P, R]:
        @wraps(handler)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return handler(*args, **kwargs)
            except vouched:
                raise
            except (InvariantError, TransientError) as error:
                telemetry.publish_raised(error)
                raise
            except Exception as error:  # noqa: BLE001  whatever it is, it is raised anew
                telemetry.publish_raised(error)
                # The traceback is lines of code; the runtime client tells it, and tells nothing of a cause.
                raise UnexpectedError(telemetry.kind_of(error)).with_traceback(error.__traceback__) from None

        return wrapped

    return around
