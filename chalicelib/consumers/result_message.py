"""Result messages. Only this file knows their form, and how large SNS takes one.

    {"id", "kind": "window", "metric", "window_start", "window_end", "revision", "final", "part", "parts", "rows"}

The `id` is a digest of all the rest, so the same content has the same id whenever it is published. Decimals are JSON
numbers, digit by digit. What a subscription can filter by stands beside the body: kind, metric, step, final.

Source: Amazon SNS API Reference, Publish: "Messages must be UTF-8 encoded strings and at most 256 KB in size"; the
attributes count.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from chalicelib.aggregates.metric import OVERFLOW, GroupKey, Metric
from chalicelib.aggregates.windows import format_duration, format_instant
from chalicelib.consumers.cut import cut
from chalicelib.consumers.ports import Message
from chalicelib.reading.merged import MergedWindow

MESSAGE_BYTES_MAX = 262_144  # of a message, and of all those of one PublishBatch request
WINDOW_KIND = "window"
PARTS_MAX = 9_999  # only to leave room for the number: that many parts are more than memory holds

_encode = msgspec.json.Encoder(decimal_format="number").encode


def write_message(
    kind: str, content: Mapping[str, Any], attributes: Mapping[str, str], message_id: str | None = None
) -> Message:
    """Write a message of this kind, which has a stable id and can be filtered by its kind and these attributes.

    Shapes: content has neither `id` nor `kind`. Decimals and instants (datetime) may be in it. The id is a digest of
            all the rest, unless one is given.
    """
    text = _encode({"kind": kind, **content})
    message_id = message_id or sha256(text).hexdigest()[:32]
    return Message(b'{"id":"' + message_id.encode() + b'",' + text[1:], {"kind": kind, **attributes})


def write_window(window: MergedWindow) -> list[Message]:
    """Write the messages of a window: one, or as few as SNS takes, cut between rows.

    Shapes: parts are numbered from 1. A row too large for any message is alone in its part.
    """
    rows = [msgspec.Raw(_encode(row)) for row in _rows(window)]
    room = MESSAGE_BYTES_MAX - _write_part(window, [], PARTS_MAX, PARTS_MAX).payload_bytes
    comma = len(b",")
    parts = list(cut(rows, lambda row: len(memoryview(row)) + comma, len(rows), room + comma)) or [[]]
    return [_write_part(window, part, number, len(parts)) for number, part in enumerate(parts, 1)]


def _write_part(window: MergedWindow, rows: list[msgspec.Raw], part: int, parts: int) -> Message:
    content = {
        "metric": window.metric.name,
        "window_start": format_instant(window.window_start_ms),
        "window_end": format_instant(window.window.window_end_ms),
        "revision": window.revision,
        "final": window.is_final,
        "part": part,
        "parts": parts,
        "rows": rows,
    }
    attributes = {
        "metric": window.metric.name,
        "step": format_duration(window.step_ms),
        "final": "true" if window.is_final else "false",
    }
    return write_message(WINDOW_KIND, content, attributes)


def _rows(window: MergedWindow) -> Iterator[Mapping[str, Any]]:
    """The window's rows, tidy, in the order of their groups; first the overflow group, whose dimensions are null."""
    for group, states in sorted(window.groups.items()):
        yield {**_dimensions(window.metric, group), **window.metric.finish(states)}


def _dimensions(metric: Metric, group: GroupKey) -> Mapping[str, str | None]:
    return dict.fromkeys(metric.by) if group == OVERFLOW else dict(zip(metric.by, group, strict=True))
