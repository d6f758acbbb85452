"""Which of AWS's errors are the world's fault. The others are ours, and are left to raise, loudly."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from chalicelib.errors import TransientError

THROTTLED = {
    "KMSThrottling",  # SNS: its topic's key, asked too often
    "LimitExceededException",  # Kinesis: ListShards, too often
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}

# What a call of `concurrent.call_all` fails with, whoever is at fault; `name_of` names each.
CALL_FAILURES = (TransientError, ClientError, BotoCoreError)


@contextmanager
def transient_errors() -> Iterator[None]:
    """Turn an unreachable, failing or throttling service into a TransientError.

    Raises: TransientError, with the error's name only, for its message may quote an item; any other ClientError as is,
            and so a ParamValidationError: a request that never left will not fare better later.
    """
    try:
        yield
    except ParamValidationError:
        raise
    except BotoCoreError as error:
        raise TransientError(name_of(error)) from error
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        is_server_error = status >= HTTPStatus.INTERNAL_SERVER_ERROR
        is_throttled = status == HTTPStatus.TOO_MANY_REQUESTS or name_of(error) in THROTTLED
        if is_server_error or is_throttled:
            raise TransientError(name_of(error)) from error
        raise


@contextmanager
def any_failure_as_transient() -> Iterator[None]:
    """Turn any failure of a call into a TransientError, for a caller whose attempts are counted by somebody else.

    Raises: TransientError, with the error's name only.
    """
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise TransientError(name_of(error)) from error


def name_of(error: Exception) -> str:
    """An error's name: the service's code for it, what a TransientError says, or else its class."""
    if isinstance(error, ClientError):
        return str(error.response["Error"]["Code"])
    return str(error) if isinstance(error, TransientError) else type(error).__name__
