"""The whole system on one machine: emulated AWS, event source mappings, functions in processes of their own, HTTP.

with LocalStage(aws_port=0, api_port=0) as stage:
    boto3.client("kinesis", endpoint_url=stage.endpoint_url), requests.get(stage.api_url + "/v1/metrics")
"""

from localstage.errors import StageError
from localstage.stage import LocalStage

__all__ = ["LocalStage", "StageError"]
