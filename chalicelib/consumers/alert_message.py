"""The message of an alert, made of nothing but what is stored of it."""

from chalicelib.aggregates.windows import format_duration, format_instant
from chalicelib.consumers.ports import Message, RaisedAlert
from chalicelib.consumers.result_message import write_message

KIND = "alert"


def write_alert(alert: RaisedAlert) -> Message:
    """Write the message; it is the same, and has the same id, whenever it is written."""
    content = {
        "metric": alert.metric,
        "window_start": format_instant(alert.window_start_ms),
        "window_end": format_instant(alert.window_end_ms),
        "revision": 1,
        "final": True,
        "part": 1,
        "parts": 1,
        "alert": alert.alert,
        "rule": alert.rule,
        "measure": alert.measure,
        "threshold": alert.threshold,
        **({} if alert.before is None else {"before": alert.before}),
        "rows": [{**alert.group, alert.measure: alert.value}],
    }
    attributes = {
        "metric": alert.metric,
        "step": format_duration(alert.step_ms),
        "final": "true",
        "alert": alert.alert,
    }
    return write_message(KIND, content, attributes, alert.id)
