"""CodeDeploy's releases, and Lambda's versions as the release check looks at them.

What CodeDeploy knows of a deployment names the AppSpec by its digest alone; the AppSpec itself is the application's
revision of that digest.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import orjson

from chalicelib.aws.failures import any_failure_as_transient
from chalicelib.release.questions import Reply
from chalicelib.release.shift import Shift, parse_app_spec

if TYPE_CHECKING:
    from mypy_boto3_codedeploy import CodeDeployClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_lambda.type_defs import InvocationResponseTypeDef

FORMS = ("appSpecContent", "string")  # of a revision; the second is the older name of the first
TRIES = 4  # to invoke a version whose function has all of its concurrency under way
PAUSE_MS = 2_000


class CodeDeployReleases:
    """The Releases of the check, on CodeDeploy and Lambda.

    Shapes: functions asks what there is; invocations waits for the slowest answer, and asks once; pause waits so many
            milliseconds.
    """

    def __init__(
        self,
        codedeploy: "CodeDeployClient",
        functions: "LambdaClient",
        invocations: "LambdaClient",
        pause: Callable[[int], None],
    ) -> None:
        self._codedeploy = codedeploy
        self._functions = functions
        self._invocations = invocations
        self._pause = pause

    def shift(self, deployment_id: str) -> Shift:
        """What a deployment is about to do.

        Raises: AppSpecError when CodeDeploy tells nothing that can be read.
        """
        with any_failure_as_transient():
            deployment = self._codedeploy.get_deployment(deploymentId=deployment_id)["deploymentInfo"]
            content = _content_of(deployment["revision"])
            if content is None:
                told = self._codedeploy.get_application_revision(
                    applicationName=deployment["applicationName"], revision=deployment["revision"]
                )
                content = _content_of(told["revision"])
        return parse_app_spec(content or "", deployment["deploymentConfigName"])

    def variable(self, function: str, version: str, name: str) -> str | None:
        """An environment variable of a version."""
        with any_failure_as_transient():
            told = self._functions.get_function_configuration(FunctionName=function, Qualifier=version)
        variables: Mapping[str, str] = told.get("Environment", {}).get("Variables", {})
        return variables.get(name)

    def invoke(self, function: str, version: str, event: Mapping[str, Any]) -> Reply:
        """Have a version answer an event."""
        with any_failure_as_transient():
            told = self._invoke(function, version, orjson.dumps(event))
            return Reply(told["Payload"].read(), is_error="FunctionError" in told)

    def _invoke(self, function: str, version: str, payload: bytes) -> "InvocationResponseTypeDef":
        """Have a version invoked once: again only when Lambda was too busy to begin."""
        for _ in range(TRIES - 1):
            try:
                return self._invocations.invoke(FunctionName=function, Qualifier=version, Payload=payload)
            except self._invocations.exceptions.TooManyRequestsException:
                self._pause(PAUSE_MS)
        return self._invocations.invoke(FunctionName=function, Qualifier=version, Payload=payload)

    def tell(self, deployment_id: str, execution_id: str, *, succeeded: bool) -> None:
        """Answer CodeDeploy."""
        with any_failure_as_transient():
            self._codedeploy.put_lifecycle_event_hook_execution_status(
                deploymentId=deployment_id,
                lifecycleEventHookExecutionId=execution_id,
                status="Succeeded" if succeeded else "Failed",
            )


def _content_of(revision: Mapping[str, Any]) -> str | None:
    contents = (revision.get(form, {}).get("content") for form in FORMS)
    return next(filter(None, contents), None)
