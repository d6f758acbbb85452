"""What can be wrong with a question: always the asker's fault, and said so that it can be mended.

These errors know nothing of HTTP; `http.py` gives each its status.
"""


class ParameterError(Exception):
    """A parameter cannot be honoured; the message says why, and what would do."""

    def __init__(self, parameter: str, detail: str) -> None:
        super().__init__(detail)
        self.parameter = parameter


class UnknownMetricError(Exception):
    """No metric has this name."""


class NotAcceptableError(ParameterError):
    """No format that the asker accepts can be given."""


def quoted(text: str) -> str:
    """Quote what the asker wrote, shortened and with nothing in it that could not be printed."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")  # noqa: PLR2004
