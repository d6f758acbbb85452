"""Where a stage's stream is. Only this file knows its name, and what `local` means when nothing is configured."""

import os
from collections.abc import Mapping

import boto3
from botocore.config import Config

from loadtest.producer.delivery import KinesisClient
from ops import aws

LOCAL_ENDPOINT_URL = "http://127.0.0.1:4566"
LOCAL_REGION = "us-east-1"

# botocore retries requests that fail whole; `delivery` retries records that are refused one by one.
CLIENT_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 3}, connect_timeout=5, read_timeout=30)


def stream_name(stage: str) -> str:
    """The name of the stage's stream of events."""
    return f"highwater-{stage}-events"


def kinesis_client(
    stage: str, endpoint_url: str | None = None, environ: Mapping[str, str] = os.environ
) -> KinesisClient:
    """A Kinesis client for the stage: what botocore finds configured, or, for `local`, the emulator on this machine.

    Why: with no credentials configured botocore would ask EC2's metadata service, which on a laptop only times out.
    """
    local = stage == "local"
    if local and endpoint_url is None and not {"AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS"} & environ.keys():
        endpoint_url = LOCAL_ENDPOINT_URL
    if local and not {"AWS_ACCESS_KEY_ID", "AWS_PROFILE"} & environ.keys():
        session = boto3.Session("local", "local")  # An emulator takes any credentials, but needs some.
    else:
        session = aws.session(environ)
    region = session.region_name or (LOCAL_REGION if local else None)
    client: KinesisClient = session.client("kinesis", region, endpoint_url=endpoint_url, config=CLIENT_CONFIG)
    return client
