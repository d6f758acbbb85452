"""What a function finds around it in Lambda, for handlers that are called in the tests' own process."""

import io
import logging
import sys
from contextlib import contextmanager

from chalicelib import telemetry

RESULTS_TOPIC_ARN = "arn:aws:sns:us-east-1:000000000000:results"  # of a topic that nobody publishes on
CONTAINER = ("chalicelib.wiring", "chalicelib.aws.clients")  # what a container keeps


class Context:
    """The context of an invocation that has a minute left."""

    function_name = "function"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:us-east-1:000000000000:function:function"
    aws_request_id = "11111111-2222-3333-4444-555555555555"

    def get_remaining_time_in_millis(self):
        return 60_000


def forget():
    """Make the next call a cold start: nothing that wiring has made is there any more, and no client."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith(CONTAINER)]
    for made_once in [each for module in modules for each in vars(module).values()]:
        if hasattr(made_once, "cache_clear"):
            made_once.cache_clear()


@contextmanager
def logged():
    """What is logged meanwhile, in Lambda's form; the logger itself prints to the stdout there was when it was made."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    handler.setFormatter(telemetry.logger.registered_formatter)
    telemetry.logger.addHandler(handler)
    yield log
    telemetry.logger._logger.removeHandler(handler)
