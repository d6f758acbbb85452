"""What each function may do, and who may call the API."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ops.preflight.checklist import Check, Finding, at, show
from ops.preflight.stage import API, AUTHORIZER, FUNCTION, PackagedStage
from ops.template import references

LAMBDA = "lambda.amazonaws.com"
# Actions for which AWS knows no resource. Source: Service Authorization Reference, of each service.
WITHOUT_RESOURCE = {
    "cloudwatch:PutMetricData",
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:UnassignPrivateIpAddresses",
    "kinesis:ListStreams",
    "dynamodb:ListStreams",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
# What AWS keeps for a VPC and for Lambda Insights: they come with these parameters alone.
MANAGED_WITH = {
    "AWSLambdaVPCAccessExecutionRole": "VpcSubnetIds",
    "CloudWatchLambdaInsightsExecutionRolePolicy": "LambdaInsightsLayerArn",
}
# An ARN up to what it names. Nothing of it is a pattern: a role has its resources in its own account and region.
ARN_BEGINS = r"arn:(?:\$\{AWS::Partition\}|[^:]+):[^:]+:(?:\$\{AWS::Region\}|[^:]*):(?:\$\{AWS::AccountId\}|[^:]*):"
PUBLIC_PATHS = {"/", "/assets/{version}/{name}", "/v1/health", "/openapi.json"}


def roles_of_functions(stage: PackagedStage) -> dict[str, str]:
    """By function, the logical id of its role."""
    return {name: next(references(function.get("Role")), "") for name, function in stage.of_type(FUNCTION).items()}


def statements(stage: PackagedStage) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each statement of each role of a function, with where it stands: the file, and its Sid or else its number."""
    for role, name in {role: name for name, role in roles_of_functions(stage).items()}.items():
        for policy in stage.properties(role).get("Policies", []):
            for number, statement in enumerate(_list(at(policy, "PolicyDocument.Statement")), start=1):
                yield f"{policy_file(stage, name)} {statement.get('Sid', f'statement {number}')}", statement


def policy_file(stage: PackagedStage, name: str) -> str:
    """Where a function's policy is written."""
    handler = str(stage.properties(name).get("Handler"))
    return f".chalice/policies/{'api_handler' if name == API else handler.rpartition('.')[2]}.json"


def one_role_each(stage: PackagedStage) -> Iterator[Finding]:
    """Each function has a role of its own."""
    roles = roles_of_functions(stage)
    for name, role in roles.items():
        if not role or list(roles.values()).count(role) > 1:
            yield Finding(f"{name}.Role", role or show(stage.properties(name).get("Role")), "a role of its own")


def trust(stage: PackagedStage) -> Iterator[Finding]:
    """Only Lambda may take a function's role."""
    for role in sorted(set(roles_of_functions(stage).values())):
        for statement in _list(at(stage.properties(role), "AssumeRolePolicyDocument.Statement")):
            principal = statement.get("Principal")
            if principal not in ({"Service": LAMBDA}, {"Service": [LAMBDA]}):
                yield Finding(f"{role}.AssumeRolePolicyDocument", show(principal), LAMBDA)


def actions(stage: PackagedStage) -> Iterator[Finding]:
    """Policies list the calls one by one."""
    for where, statement in statements(stage):
        broad = [action for action in _list(statement.get("Action")) if "*" in str(action)]
        if broad or "NotAction" in statement:
            yield Finding(f"{where}: Action", show(broad or "NotAction"), "each call by its name", where)


def resources(stage: PackagedStage) -> Iterator[Finding]:
    """Policies name the resources, but for calls that have none; a pattern stands within one of this stage."""
    for where, statement in statements(stage):
        named = set(map(str, _list(statement.get("Action"))))
        on_all = "*" in _list(statement.get("Resource")) or "NotResource" in statement
        if on_all and not named <= WITHOUT_RESOURCE:
            found = f"* for {', '.join(sorted(named - WITHOUT_RESOURCE))}"
            yield Finding(f"{where}: Resource", found, "the resource", where)
        for resource in _list(statement.get("Resource")):
            text = _text_of(resource)
            if text != "*" and not is_within_the_stage(text, stage):
                wanted = f"a pattern only within a resource of {stage.name}"
                yield Finding(f"{where}: Resource", text, wanted, where)


def is_within_the_stage(resource: str, stage: PackagedStage) -> bool:
    """Whether a resource is no pattern, or one whose fixed beginning names a resource of this stage to its end.

    Shapes: resource, an ARN as a text of `Fn::Sub`.
    Why:    `highwater-prod*` is the resources of the stage `production`, too, and `table/*` everybody's.
    """
    fixed = re.split(r"[*?]", resource, maxsplit=1)[0]
    if fixed == resource:
        return True
    own = "|".join(map(re.escape, stage.resources))
    name = re.escape(stage.name)
    of_stage = (
        rf"\$\{{(?:{own})\}}[:/]"
        rf"|(?:CodeDeployHook_)?highwater-{name}(?:-[\w.-]+)?[:/]"
        rf"|highwater/{name}/"
        # SAM names CodeDeploy's application by the stack, and CloudFormation ends that name as it likes.
        rf"|highwater-{name}-ServerlessDeploymentApplication-"
    )
    return re.match(rf"\$\{{(?:{own})\.\w+\}}[:/]|{ARN_BEGINS}(?:[\w-]*[:/])*(?:{of_stage})", fixed) is not None


def managed_policies(stage: PackagedStage) -> Iterator[Finding]:
    """No policy that AWS may widen, but for what a VPC or Lambda Insights need when they are asked for."""
    for role in sorted(set(roles_of_functions(stage).values())):
        for policy in _list(stage.properties(role).get("ManagedPolicyArns", [])):
            parameter = next((MANAGED_WITH[name] for name in MANAGED_WITH if name in str(policy)), None)
            if parameter is None or not stage.values.get(parameter):
                yield Finding(f"{role}.ManagedPolicyArns", show(policy), "none")


def api_auth(stage: PackagedStage) -> Iterator[Finding]:
    """Who asks for data is asked who they are."""
    for name in (API, AUTHORIZER):
        told = at(stage.properties(name), "Environment.Variables.API_AUTH")
        if told not in ("token", "iam"):
            yield Finding(f"{name}.Environment.Variables.API_AUTH", show(told), "token or iam")
    paths = at(stage.properties("RestAPI"), "Body.paths") or {}
    for path, methods in paths.items():
        for method, operation in methods.items():
            if path not in PUBLIC_PATHS and method != "options" and not operation.get("security"):
                yield Finding(f"RestAPI {method.upper()} {path}", "open to all", "an authorizer")


def throttling(stage: PackagedStage) -> Iterator[Finding]:
    """Strangers are held back."""
    limits = [
        setting
        for api_stage in stage.of_type("AWS::ApiGateway::Stage").values()
        for setting in api_stage.get("MethodSettings", [])
        if (setting.get("HttpMethod"), setting.get("ResourcePath")) == ("*", "/*")
    ]
    for limit in ("ThrottlingRateLimit", "ThrottlingBurstLimit"):
        found = limits[0].get(limit) if limits else None
        if not isinstance(found, int) or found < 1:
            yield Finding(f"RestAPI.MethodSettings.{limit}", show(found), "a limit")


def one_api_stage(stage: PackagedStage) -> Iterator[Finding]:
    """The API has no other stage than the one that is throttled and watched."""
    for name, deployment in stage.of_type("AWS::ApiGateway::Deployment").items():
        if "StageName" in deployment:
            yield Finding(f"{name}.StageName", show(deployment["StageName"]), "none (RestAPI.OpenApiVersion)")


def _text_of(resource: Any) -> str:
    """An ARN as a text of `Fn::Sub`, as far as it can be one."""
    match resource:
        case {"Ref": name}:
            return f"${{{name}}}"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"${{{name}.{attribute}}}"
        case {"Fn::Sub": str(text)}:
            return text
        case {"Fn::Join": ["", [*parts]]}:
            return "".join(map(_text_of, parts))
    return show(resource)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


CHECKS = (
    Check("one-role-each", "One role a function", "a shared role may do what any of them needs", one_role_each),
    Check("trust", "Roles are Lambda's alone", "whoever else may take one may do what it may", trust),
    Check(
        "no-broad-actions", "No action by a pattern", "what AWS adds under it tomorrow would be allowed, too", actions
    ),
    Check(
        "no-broad-resources", "No resources by a pattern", "a function may reach its stage's resources only", resources
    ),
    Check(
        "no-managed-policies", "No managed policies", "AWS may widen them, and they name no resource", managed_policies
    ),
    Check(
        "api-auth",
        "The API asks who you are",
        "everybody could read everything",
        api_auth,
        mend=".chalice/config.json: API_AUTH; app.py: the route is GUARDED",
    ),
    Check("throttling", "The API is throttled", "it bounds what strangers cost", throttling),
    Check("one-api-stage", "The API has one stage", "another is open, unthrottled and unwatched", one_api_stage),
)
