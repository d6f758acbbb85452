"""Which permissions a call needs: IAM's actions, and the resources that the call's parameters name.

Most operations need the action of their own name on the one resource that they name. What else stands here is from the
documentation, as no model of botocore says it. An operation that does not stand here is an error: look it up.

Source: AWS Service Authorization Reference, "Actions, resources, and condition keys for AWS services".
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from localstage.aws import ACCOUNT_ID, REGION
from tests.permissions.recording import Call

Parameters = Mapping[str, Any]


class Need(NamedTuple):
    """An action on a resource; of DynamoDB, on items with these partition keys, where the call names them."""

    action: str
    resource: str
    leading_keys: tuple[str, ...] = ()


def needs_of(call: Call) -> list[Need]:
    """The permissions that a call needs.

    Raises: KeyError, naming the operation, when nobody has said what it needs.
    """
    return list(OPERATIONS[call.service, call.operation](call.parameters))


def _arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{resource}"


def _object(bucket: str, key: str) -> str:
    return f"arn:aws:s3:::{bucket}/{key}"


def _on_a_table(action: str) -> Callable[[Parameters], Iterator[Need]]:
    def needs(parameters: Parameters) -> Iterator[Need]:
        table = _arn("dynamodb", f"table/{parameters['TableName']}")
        yield Need(f"dynamodb:{action}", table, (_partition_key(parameters)["S"],))

    return needs


def _partition_key(parameters: Parameters) -> Any:
    if key := parameters.get("Item") or parameters.get("Key"):
        return key.get("pk") or key["id"]  # the idempotency table's key is of one attribute
    return parameters["ExpressionAttributeValues"][":pk"]  # as each query here names it


def _batch_get_item(parameters: Parameters) -> Iterator[Need]:
    for table, request in parameters["RequestItems"].items():
        keys = tuple(key["pk"]["S"] for key in request["Keys"])
        yield Need("dynamodb:BatchGetItem", _arn("dynamodb", f"table/{table}"), keys)


def _on_a_stream(action: str) -> Callable[[Parameters], list[Need]]:
    return lambda parameters: [Need(f"kinesis:{action}", _arn("kinesis", f"stream/{parameters['StreamName']}"))]


def _publish(parameters: Parameters) -> list[Need]:
    return [Need("sns:Publish", parameters["TopicArn"])]


def _send_message(parameters: Parameters) -> list[Need]:
    return [Need("sqs:SendMessage", _arn("sqs", parameters["QueueUrl"].rpartition("/")[2]))]


def _list_objects(parameters: Parameters) -> list[Need]:
    return [Need("s3:ListBucket", f"arn:aws:s3:::{parameters['Bucket']}")]


def _get_object(parameters: Parameters) -> Iterator[Need]:
    yield Need("s3:GetObject", _object(parameters["Bucket"], parameters["Key"]))
    # "If you don't have the s3:ListBucket permission, Amazon S3 returns an HTTP status code 403" where 404 is meant.
    # It has to be without a condition on s3:prefix, which a request for an object does not have.
    # Source: Amazon S3 API Reference, GetObject.
    yield from _list_objects(parameters)


def _put_object(parameters: Parameters) -> Iterator[Need]:
    yield Need("s3:PutObject", _object(parameters["Bucket"], parameters["Key"]))
    yield from _if_match(parameters)


def _delete_object(parameters: Parameters) -> Iterator[Need]:
    yield Need("s3:DeleteObject", _object(parameters["Bucket"], parameters["Key"]))
    yield from _if_match(parameters)


def _if_match(parameters: Parameters) -> Iterator[Need]:
    # Source: Amazon S3 User Guide, "Add preconditions to S3 operations with conditional requests": with an ETag to
    # match, a write or delete needs s3:GetObject beside its own permission.
    if "IfMatch" in parameters:
        yield Need("s3:GetObject", _object(parameters["Bucket"], parameters["Key"]))


def _copy_object(parameters: Parameters) -> Iterator[Need]:
    # Source: Amazon S3 API Reference, CopyObject: "read access to the source object and write access to the
    # destination bucket". Tags would need more; no object here has any.
    source = parameters["CopySource"]
    yield Need("s3:GetObject", _object(source["Bucket"], source["Key"]))
    yield Need("s3:PutObject", _object(parameters["Bucket"], parameters["Key"]))


def _get_secret_value(parameters: Parameters) -> list[Need]:
    return [Need("secretsmanager:GetSecretValue", _arn("secretsmanager", f"secret:{parameters['SecretId']}"))]


def _get_parameters_by_path(parameters: Parameters) -> Iterator[Need]:
    # No documentation says whether the ARN keeps the last slash of the path that is asked for. So both.
    for path in (parameters["Path"], parameters["Path"].rstrip("/")):
        yield Need("ssm:GetParametersByPath", _arn("ssm", f"parameter{path}"))


def _on_a_version(action: str) -> Callable[[Parameters], list[Need]]:
    def needs(parameters: Parameters) -> list[Need]:
        return [Need(f"lambda:{action}", _arn("lambda", "function:{FunctionName}:{Qualifier}".format(**parameters)))]

    return needs


def _on_a_deployment(action: str) -> Callable[[Parameters], list[Need]]:
    # CodeDeploy alone knows which application's group a deployment is of; tests name theirs by it.
    def needs(parameters: Parameters) -> list[Need]:
        return [Need(f"codedeploy:{action}", _arn("codedeploy", f"deploymentgroup:{parameters['deploymentId']}"))]

    return needs


def _get_application_revision(parameters: Parameters) -> list[Need]:
    application = _arn("codedeploy", f"application:{parameters['applicationName']}")
    return [Need("codedeploy:GetApplicationRevision", application)]


OPERATIONS: Mapping[tuple[str, str], Callable[[Parameters], Iterable[Need]]] = {
    ("codedeploy", "GetApplicationRevision"): _get_application_revision,
    ("codedeploy", "GetDeployment"): _on_a_deployment("GetDeployment"),
    # The Service Authorization Reference has no resource for it. AWS's own examples have the group, which is narrower.
    # Source: AWS SAM Developer Guide, "Deploying serverless applications gradually with AWS SAM".
    ("codedeploy", "PutLifecycleEventHookExecutionStatus"): _on_a_deployment("PutLifecycleEventHookExecutionStatus"),
    ("dynamodb", "BatchGetItem"): _batch_get_item,
    ("dynamodb", "DeleteItem"): _on_a_table("DeleteItem"),
    ("dynamodb", "GetItem"): _on_a_table("GetItem"),
    ("dynamodb", "PutItem"): _on_a_table("PutItem"),
    ("dynamodb", "Query"): _on_a_table("Query"),
    ("dynamodb", "UpdateItem"): _on_a_table("UpdateItem"),
    ("kinesis", "ListShards"): _on_a_stream("ListShards"),
    ("kinesis", "PutRecords"): _on_a_stream("PutRecords"),
    ("lambda", "GetFunctionConfiguration"): _on_a_version("GetFunctionConfiguration"),
    ("lambda", "Invoke"): _on_a_version("InvokeFunction"),
    ("s3", "CopyObject"): _copy_object,
    ("s3", "DeleteObject"): _delete_object,
    ("s3", "GetObject"): _get_object,
    ("s3", "ListObjectsV2"): _list_objects,
    ("s3", "PutObject"): _put_object,
    ("secretsmanager", "GetSecretValue"): _get_secret_value,
    ("sns", "Publish"): _publish,
    ("sns", "PublishBatch"): _publish,  # Source: Amazon SNS Developer Guide, "Amazon SNS API permissions": sns:Publish
    ("sqs", "SendMessageBatch"): _send_message,  # batches have no action of their own
    ("ssm", "GetParametersByPath"): _get_parameters_by_path,
}
