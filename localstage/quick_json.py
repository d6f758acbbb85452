"""orjson in the place of Python's own JSON in MiniStack's modules, whose requests and answers are large here."""

import json
from typing import Any

import orjson


class QuickJson:
    """What those modules use of `json`."""

    JSONDecodeError = json.JSONDecodeError  # orjson's own is a kind of it
    loads = staticmethod(orjson.loads)
    dumps = staticmethod(json.dumps)


def quick_json_response(data: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    """An answer of one of AWS's JSON protocols; what orjson does not take (a number of 65 bits, say) `json` writes."""
    try:
        body = orjson.dumps(data)
    except TypeError:
        body = json.dumps(data, ensure_ascii=False).encode()
    return status, {"Content-Type": "application/x-amz-json-1.0"}, body


def install(*modules: Any) -> None:
    """Give each of MiniStack's modules the quick ones."""
    for module in modules:
        module.json, module.json_response = QuickJson, quick_json_response
