"""Clients of AWS services, made when first asked for and shared by the container.

botocore finds endpoint, region and credentials by its own rules (`AWS_ENDPOINT_URL` among them). All clients are of one
session, which reads once what they have in common. It is botocore's own: boto3's makes the same clients, and brings
S3's transfer manager and resources to every cold start, which nothing here uses.
"""

from functools import cache
from typing import TYPE_CHECKING

from botocore.config import Config
from botocore.session import Session

if TYPE_CHECKING:
    from mypy_boto3_codedeploy import CodeDeployClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_ssm import SSMClient

CONCURRENCY_MAX = 16  # calls under way at once; connections and threads are kept for as many

# A call that hangs must leave its batch time to answer with a checkpoint, so the time-outs are short and the tries few.
CONFIG = Config(
    connect_timeout=1,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 3},
    max_pool_connections=CONCURRENCY_MAX,
)
# Of an invocation that is waited for. `tick` answers when it has settled what it can, which after a replay takes all of
# its minute; beside that there is its start. Never twice: each try is an invocation of its own.
INVOKING = CONFIG.merge(Config(read_timeout=75, retries={"mode": "standard", "total_max_attempts": 1}))


# Of calls that are many and always alike: what botocore checks of a put's parameters, DynamoDB checks too, and it takes
# some 7 % of the CPU of a put, which is the most that is left to save of one without signing it oneself.
UNCHECKED = CONFIG.merge(Config(parameter_validation=False))


@cache
def _session() -> Session:
    return Session()


@cache
def dynamodb() -> "DynamoDBClient":
    """The DynamoDB client."""
    client: DynamoDBClient = _session().create_client("dynamodb", config=UNCHECKED)
    return client


@cache
def s3() -> "S3Client":
    """The S3 client."""
    client: S3Client = _session().create_client("s3", config=CONFIG)
    return client


@cache
def secretsmanager() -> "SecretsManagerClient":
    """The Secrets Manager client."""
    client: SecretsManagerClient = _session().create_client("secretsmanager", config=CONFIG)
    return client


@cache
def kinesis() -> "KinesisClient":
    """The Kinesis client."""
    client: KinesisClient = _session().create_client("kinesis", config=CONFIG)
    return client


@cache
def sns() -> "SNSClient":
    """The SNS client."""
    client: SNSClient = _session().create_client("sns", config=CONFIG)
    return client


@cache
def sqs() -> "SQSClient":
    """The SQS client."""
    client: SQSClient = _session().create_client("sqs", config=CONFIG)
    return client


@cache
def ssm() -> "SSMClient":
    """The SSM client."""
    client: SSMClient = _session().create_client("ssm", config=CONFIG)
    return client


@cache
def codedeploy() -> "CodeDeployClient":
    """The CodeDeploy client."""
    client: CodeDeployClient = _session().create_client("codedeploy", config=CONFIG)
    return client


@cache
def functions() -> "LambdaClient":
    """The Lambda client that asks what functions are."""
    client: LambdaClient = _session().create_client("lambda", config=CONFIG)
    return client


@cache
def invocations() -> "LambdaClient":
    """The Lambda client that has functions answer."""
    client: LambdaClient = _session().create_client("lambda", config=INVOKING)
    return client
