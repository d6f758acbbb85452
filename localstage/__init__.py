"""The whole system on one machine: emulated AWS, event source mappings, functions in processes of their own, HTTP.

with LocalStage(aws_port=0, api_port=0) as stage:
    boto3.client("kinesis", endpoint_url=stage.endpoint_url), requests.get(stage.api_url + "/v1/metrics")
"""

from typing import TYPE_CHECKING, Any

from localstage.errors import StageError

if TYPE_CHECKING:
    from localstage.stage import LocalStage

__all__ = ["LocalStage", "StageError"]


def __getattr__(name: str) -> Any:
    """Import the stage when it is first asked for: its own processes ask for parts of it, and it takes 0.3 s."""
    if name == "LocalStage":
        from localstage.stage import LocalStage  # noqa: PLC0415  see above

        return LocalStage
    raise AttributeError(name)
