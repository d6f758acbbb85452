"""A stage's HTTP API on a free port of this machine: it answers from a list, or whatever a fake answers."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from chalicelib.query.formats import write_json


class Stage(ThreadingHTTPServer):
    """Answers from a list, one answer after the other, the last for ever; `fake` answers whatever is asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, str]] = []
        self.seen: list[tuple[str, dict[str, str], str | None]] = []
        self.fake = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        stage: Stage = self.server
        asked = urlsplit(self.path)
        parameters = {name: values[0] for name, values in parse_qs(asked.query).items()}
        stage.seen.append((asked.path, parameters, self.headers.get("Authorization")))
        if stage.fake:
            status, body = 200, write_json(stage.fake.get(asked.path, parameters))
        else:
            status, body = stage.answers.pop(0) if len(stage.answers) > 1 else stage.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args) -> None:
        pass
