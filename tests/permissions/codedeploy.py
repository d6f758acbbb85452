"""CodeDeploy as far as a pre-traffic hook asks it, on a loopback port: no emulator here has it.

Source: AWS CodeDeploy API Reference, GetDeployment, GetApplicationRevision, PutLifecycleEventHookExecutionStatus.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@contextmanager
def codedeploy(application: str, function: str) -> Iterator[str]:
    """CodeDeploy, which is to shift a function's traffic from version 1 to 2, a tenth at first. Yields: its URL."""
    spec = {
        "Resources": [{"function": {"Properties": {"Name": function, "CurrentVersion": "1", "TargetVersion": "2"}}}]
    }
    answers = {
        "GetDeployment": {
            "deploymentInfo": {
                "applicationName": application,
                "deploymentConfigName": "CodeDeployDefault.LambdaLinear10PercentEvery1Minute",
                "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"sha256": "0"}},
            }
        },
        "GetApplicationRevision": {"revision": {"appSpecContent": {"content": json.dumps(spec)}}},
        "PutLifecycleEventHookExecutionStatus": {},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps(answers[self.headers["X-Amz-Target"].rpartition(".")[2]]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
