"""MiniStack as a packaged stage is deployed on it: `python -m localstage.deployed_ministack`.

What MiniStack (1.4.21) does otherwise than AWS, so that a deployment could not be tried on it, or would prove nothing,
is put right here, one function for each. The rest is MiniStack's own, its SAM transform by AWS's translator included.
"""
# ruff: noqa: SLF001  MiniStack has no other way in

import hashlib
import tempfile
import threading
import zipfile
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from chalicelib.errors import InvariantError

Props = dict[str, Any]
Made = tuple[str, dict[str, Any]]  # physical id, attributes
LEFT_OUT = "left-out-"  # how the physical id begins of what MiniStack cannot make

# MiniStack's workers run with the interpreter that runs MiniStack, and so find what is installed for development: a zip
# that lacks a dependency would work. Isolated and without `site`, they have Python, the layers and the zip.
ISOLATED = """
import os, sys
if not sys.flags.isolated:
    os.execv(sys.executable, [sys.executable, "-I", "-S", *sys.argv])
"""
INIT = "os.environ.update(env)"  # in MiniStack's script; Lambda has told the handler by then
TELL_HANDLER = f'{INIT}; os.environ["_HANDLER"] = module_name + "." + handler_name'
# An update of a function makes another state of it, and leaves all this as it is.
KEPT = (
    "versions",
    "next_version",
    "aliases",
    "policy",
    "tags",
    "concurrency",
    "provisioned_concurrency",
    "event_invoke_config",
    "event_invoke_configs",
)


def isolated(detect: Callable[[str], tuple[str, str]]) -> Callable[[str], tuple[str, str]]:
    """Make what MiniStack starts for a function see nothing but Python, the layers and the zip, and its handler."""

    def detect_isolated(runtime: str) -> tuple[str, str]:
        binary, script = detect(runtime)
        if not runtime.startswith("python"):
            return binary, script
        if INIT not in script:
            raise InvariantError("MiniStack starts functions in another way than it did")
        return binary, ISOLATED + script.replace(INIT, TELL_HANDLER)

    return detect_isolated


class UnzippedOnce(zipfile.ZipFile):
    """A zip whose files are unzipped once, however often it is wanted: then with links to them.

    Why: MiniStack unzips the whole code anew for every version of every function, which took most of a cold start.
    """

    _unzipping = threading.Lock()  # of all of them; `_lock` is ZipFile's own, of one

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        """Put links to what stands at the top of the zip into the folder."""
        digest = hashlib.sha256(Path(str(self.filename)).read_bytes()).hexdigest()
        unzipped = Path(tempfile.gettempdir()) / f"unzipped-{digest}"
        with self._unzipping:
            if not unzipped.exists():
                unfinished = unzipped.with_suffix(".unfinished")
                super().extractall(unfinished, members, pwd)
                unfinished.rename(unzipped)
        for entry in unzipped.iterdir():
            (Path(path) / entry.name).symlink_to(entry)


def updated_function(
    create: Callable[[str, Props, str], Made], functions: Any
) -> Callable[[str, Props, Props, str, str], Made]:
    """Make an update of a function keep its versions and aliases: MiniStack makes the function anew, without any."""

    def update(physical_id: str, _old: Props, new: Props, stack: str, logical_id: str) -> Made:
        before = functions.get(physical_id)
        made = create(logical_id, new, stack)
        if before is not None and made[0] == physical_id:
            functions[physical_id].update({name: before[name] for name in KEPT})
        return made

    return update


def tolerant(
    provision: Callable[[str, str, Props, str], Made], makes: Callable[[str], bool]
) -> Callable[[str, str, Props, str], Made]:
    """Leave out what MiniStack cannot make, rather than fail: the physical id says so."""

    def provision_or_leave_out(resource_type: str, logical_id: str, props: Props, stack: str) -> Made:
        if not makes(resource_type):
            return LEFT_OUT + logical_id, {}
        return provision(resource_type, logical_id, props, stack)

    return provision_or_leave_out


def guarded(gateway: Any) -> Callable[[Mapping[str, Any], Mapping[str, Any] | None], str]:
    """Import what an OpenAPI document says of authorizers: MiniStack reads none, and lets everybody through."""
    import_rest_api = gateway._import_rest_api

    def import_guarded(spec: Mapping[str, Any], base_data: Mapping[str, Any] | None = None) -> str:
        data = {**(base_data or {}), "binaryMediaTypes": spec.get("x-amazon-apigateway-binary-media-types", [])}
        api_id: str = import_rest_api(spec, data)
        ids = {
            name: _add_authorizer(gateway, api_id, name, scheme)
            for name, scheme in spec.get("securityDefinitions", {}).items()
            if "x-amazon-apigateway-authorizer" in scheme
        }
        resources = {resource["path"]: resource for resource in gateway._resources[api_id].values()}
        for path, operations in spec.get("paths", {}).items():
            for method, operation in operations.items():
                for name in [name for each in operation.get("security", []) for name in each if name in ids]:
                    guard = {"authorizationType": "CUSTOM", "authorizerId": ids[name]}
                    resources[path]["resourceMethods"][method.upper()].update(guard)
        return api_id

    return import_guarded


def _add_authorizer(gateway: Any, api_id: str, name: str, scheme: Mapping[str, Any]) -> str:
    declared = scheme["x-amazon-apigateway-authorizer"]
    wanted = {
        **declared,
        "name": name,
        "type": declared["type"].upper(),
        "identitySource": f"method.request.header.{scheme['name']}",
    }
    gateway._create_authorizer(api_id, wanted)
    known = gateway._authorizers_v1[api_id].values()
    (authorizer_id,) = (each["id"] for each in known if each["name"] == name)
    return str(authorizer_id)


def answered(handle: Callable[[Any], tuple[int, Any, bytes]]) -> Callable[[Any], tuple[int, Any, bytes]]:
    """Wrap the empty answer to DeleteChangeSet in the element that botocore looks for in it."""

    def handle_answered(params: Any) -> tuple[int, Any, bytes]:
        status, headers, body = handle(params)
        end = b"</DeleteChangeSetResponse>"
        return status, headers, body.replace(end, b"<DeleteChangeSetResult/>" + end)

    return handle_answered


class Transform:
    """Tells SAM's transform the parameters of the stack: MiniStack transforms without, and so by their defaults."""

    def __init__(self, transform: Callable[..., Any], members: Callable[[Any, str], list[dict[str, str]]]) -> None:
        self._transform = transform
        self._members = members
        self._parameters: ContextVar[dict[str, str] | None] = ContextVar("parameters", default=None)

    def knowing(self, handle: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """Handle a request, and know its parameters meanwhile."""

        def handle_knowing(request: Any) -> Any:
            given = {each["Key"]: each.get("Value", "") for each in self._members(request, "Parameters")}
            token = self._parameters.set(given)
            try:
                return handle(request)
            finally:
                self._parameters.reset(token)

        return handle_knowing

    def __call__(self, template: Props, _none: Mapping[str, str], policies: Any) -> Any:
        """Transform."""
        return self._transform(template, self._parameters.get() or {}, policies)


class Rollback:
    """Takes an update back as CloudFormation does: to what was there before, where MiniStack deletes all it touched."""

    def __init__(self, deploy: Any, update: Any, delete: Any, stacks: Any) -> None:
        self._deploy = deploy
        self._update = update
        self._delete = delete
        self._stacks = stacks
        self._before: dict[str, Mapping[str, Any]] = {}  # by stack: its resources as they were before the update

    def deploy(
        self, stack_name: str, *given: Any, previous_stack: Any = None, **named: Any
    ) -> Coroutine[Any, Any, None]:
        """Deploy, and know meanwhile what was there before."""
        self._before[stack_name] = (previous_stack or {}).get("_resources", {})
        deployment: Coroutine[Any, Any, None] = self._deploy(stack_name, *given, previous_stack=previous_stack, **named)
        return deployment

    def delete(self, resource_type: str, physical_id: str, props: Props, stack_name: str, logical_id: str) -> None:
        """Delete, unless it is taken back and was there before."""
        is_rollback = self._stacks[stack_name]["StackStatus"] == "UPDATE_ROLLBACK_IN_PROGRESS"
        before = self._before.get(stack_name, {}).get(logical_id) if is_rollback else None
        if before is None:
            self._delete(resource_type, physical_id, props, stack_name, logical_id)
        else:
            self._update(
                resource_type, physical_id, props, before["Properties"], stack_name, logical_id, before["Attributes"]
            )


def put_right() -> None:
    """Put MiniStack right, in this process."""
    from ministack.core import lambda_runtime  # noqa: PLC0415  it reads its settings when it is imported
    from ministack.services import apigateway_v1, cloudformation, lambda_svc  # noqa: PLC0415
    from ministack.services.cloudformation import changesets, handlers, helpers, provisioners, stacks  # noqa: PLC0415
    from samtranslator.translator import transform  # noqa: PLC0415

    runtime: Any = lambda_runtime
    runtime._detect_runtime_binary = isolated(runtime._detect_runtime_binary)
    runtime.zipfile = SimpleNamespace(**{**vars(zipfile), "ZipFile": UnzippedOnce})
    known = provisioners._RESOURCE_HANDLERS
    function = known["AWS::Lambda::Function"]
    function["update"] = updated_function(function["create"], lambda_svc._functions)
    function["update_with_logical_id"] = True
    apigateway_v1._import_rest_api = guarded(apigateway_v1)

    def makes(resource_type: str) -> bool:
        return resource_type in known or resource_type.startswith(("AWS::CloudFormation::", "Custom::"))

    provisioners._provision_resource = tolerant(provisioners._provision_resource, makes)
    stacks._provision_resource = provisioners._provision_resource
    actions = handlers._ACTION_HANDLERS
    knowing = Transform(transform.transform, helpers._extract_members)
    transform.transform = knowing
    actions["CreateChangeSet"] = knowing.knowing(actions["CreateChangeSet"])
    actions["DeleteChangeSet"] = answered(actions["DeleteChangeSet"])
    rollback = Rollback(
        stacks._deploy_stack_async, provisioners._update_resource, provisioners._delete_resource, cloudformation._stacks
    )
    stacks._delete_resource = rollback.delete
    for module in (changesets, handlers):
        module._deploy_stack_async = rollback.deploy


if __name__ == "__main__":
    from localstage.quick_ministack import main

    put_right()
    main()
