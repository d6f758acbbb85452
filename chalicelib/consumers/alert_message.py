"""The message that is published of an alert, made of nothing but what is stored of it."""

import msgspec

from chalicelib.aggregates.windows import format_duration, format_instant
from chalicelib.consumers.ports import Message, RaisedAlert

KIND = "alert"

_encoder = msgspec.json.Encoder(decimal_format="number")  # exact, digit by digit


def alert_message(alert: RaisedAlert) -> Message:
    """Write the message; it is the same whenever it is written."""
    about = {
        "id": alert.id,
        "kind": KIND,
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
        "kind": KIND,
        "metric": alert.metric,
        "step": format_duration(alert.step_ms),
        "final": "true",
        "alert": alert.alert,
    }
    return Message(_encoder.encode(about), attributes)
