"""Writes down every AWS call of a function under test: which service, which operation, with which parameters.

Python imports a module of this name by itself when it starts, where it finds one; so a function is recorded by its
environment alone (`tests.permissions.recording`), and its code knows nothing of it. botocore calls an initializer for
each session that is made, and a handler of `provide-client-params` for each call of a client of that session, before
anything becomes of it: a call that fails needs its permission, too.

Source: botocore, `register_initializer`; boto3 Developer Guide, "Extensibility guide".
"""

import json
import os
from typing import Any

import botocore
from botocore.model import OperationModel
from botocore.session import Session


def record(function: str, stage: str, folder: str) -> None:
    """Write the calls that this process makes from now on, one line of JSON each, into a file of its own."""
    calls = os.open(os.path.join(folder, f"{os.getpid()}.jsonl"), os.O_CREAT | os.O_APPEND | os.O_WRONLY)  # noqa: PTH118

    def write(params: dict[str, Any], model: OperationModel, **_: Any) -> None:
        call = {
            "stage": stage,
            "function": function,
            "service": model.service_model.service_name,
            "operation": model.name,
            "parameters": params,
        }
        # One write, so that no thread's line is in the midst of another's. Bodies and files say nothing of permissions.
        os.write(calls, json.dumps(call, default=lambda _: None).encode() + b"\n")

    def register(session: Session) -> None:
        session.register("provide-client-params", write)

    botocore.register_initializer(register)


if "AWS_LAMBDA_RUNTIME_API" in os.environ:
    # The handler's name, in app.py: app.app is that of the routes.
    name = os.environ["_HANDLER"].rpartition(".")[2]
    record("api_handler" if name == "app" else name, os.environ["STAGE"], os.environ["RECORDED_CALLS"])
