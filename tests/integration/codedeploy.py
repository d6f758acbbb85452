"""CodeDeploy as a hook sees it, on loopback: one deployment, whose AppSpec is told by its digest; and what it is told.

MiniStack has none. It speaks CodeDeploy's protocol, AWS JSON 1.1, to boto3's real client in the deployed function.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOOK = "hook-1"
REVISION = {"revisionType": "String", "string": {"sha256": "0" * 64}}


class CodeDeploy:
    """Between `with` and its end it answers at `url`. Shapes: told, the statuses that hooks have put."""

    def __init__(self, application: str = "app", deployment: str = "d-ABCDEF123") -> None:
        self._application = application
        self._deployment = deployment
        self.told: list[str] = []
        self._release: dict[str, str] = {}
        self._config = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def begin(self, function: str, current: str, target: str, config: str) -> dict[str, str]:
        """Begin a deployment. Returns: what the hook is called with."""
        self._release = {"Name": function, "Alias": "live", "CurrentVersion": current, "TargetVersion": target}
        self._config = config
        return {"DeploymentId": self._deployment, "LifecycleEventHookExecutionId": HOOK}

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, operation: str, asked: dict) -> dict:
        if operation == "GetDeployment":
            assert asked == {"deploymentId": self._deployment}
            names = {"applicationName": self._application, "deploymentConfigName": self._config}
            return {"deploymentInfo": {**names, "revision": REVISION}}
        if operation == "GetApplicationRevision":
            assert asked == {"applicationName": self._application, "revision": REVISION}
            spec = {
                "version": 0.0,
                "Resources": [{"F": {"Type": "AWS::Lambda::Function", "Properties": self._release}}],
            }
            told = {"content": json.dumps(spec), "sha256": "0" * 64}
            return {"applicationName": self._application, "revision": {"revisionType": "String", "string": told}}
        assert operation == "PutLifecycleEventHookExecutionStatus", operation
        assert (asked["deploymentId"], asked["lifecycleEventHookExecutionId"]) == (self._deployment, HOOK)
        self.told.append(asked["status"])
        return {"lifecycleEventHookExecutionId": HOOK}

    def _handler(self):
        answer = self._answer

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(answer(self.headers["X-Amz-Target"].rpartition(".")[2], asked)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-amz-json-1.1")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
