"""How anything on this machine reaches the emulated AWS: the region, credentials that open nothing, clients."""

from typing import Any

import boto3
import botocore.session
from botocore.loaders import create_loader

REGION = "us-east-1"
ACCOUNT_ID = "000000000000"
ACCESS_KEY = "local"


LOADER = create_loader()  # it keeps what it has read of the services: to read that anew took 50 ms a client


def session() -> boto3.Session:
    """A session that owes nothing to the caller's own AWS configuration."""
    core = botocore.session.Session()
    core.register_component("data_loader", LOADER)
    return boto3.Session(
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=ACCESS_KEY, region_name=REGION, botocore_session=core
    )


def client(service: str, endpoint_url: str) -> Any:
    """A client of one service at the endpoint."""
    connected: Any = session()  # typed, it would take none but literal names
    return connected.client(service, endpoint_url=endpoint_url)


def environment_variables(endpoint_url: str) -> dict[str, str]:
    """What a process of its own needs to reach it: a function, a client, a shell."""
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
    }
