"""What is put right in MiniStack so that a package can be deployed on it."""

import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from ministack.core import lambda_runtime
from ministack.services.cloudformation import provisioners

from chalicelib.errors import InvariantError
from localstage.deployed_ministack import (
    KEPT,
    LEFT_OUT,
    Rollback,
    Transform,
    UnzippedOnce,
    answered,
    guarded,
    isolated,
    tolerant,
    updated_function,
)

SHOW_PATH = "import sys; print('site-packages' in str(sys.path), 'here' in str(sys.path))"


def test_a_function_finds_nothing_that_is_installed_here(tmp_path):
    binary, script = isolated(lambda _: (sys.executable, "os.environ.update(env)"))("python3.11")
    path = tmp_path / "worker.py"
    path.write_text(script.partition("os.environ.update(env)")[0] + SHOW_PATH)
    shown = subprocess.run([binary, str(path)], env={"PYTHONPATH": "/here"}, capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]


def test_ministacks_own_script_is_one_that_can_be_isolated_and_told_the_handler():
    _, script = isolated(lambda_runtime._detect_runtime_binary)("python3.11")
    assert 'os.environ["_HANDLER"] = module_name + "." + handler_name' in script
    compile(script, "worker", "exec")


def test_a_script_that_would_not_be_told_the_handler_is_a_fault():
    with pytest.raises(InvariantError):
        isolated(lambda _: ("python", "run()"))("python3.11")


def test_what_is_no_python_is_left_alone():
    assert isolated(lambda _: ("node", "run()"))("nodejs22.x") == ("node", "run()")


def test_code_is_unzipped_once_however_many_want_it_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def unzip(number):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as code:
            for name in ("app.py", *(f"package/{module}.py" for module in range(200))):
                code.writestr(zipfile.ZipInfo(name), "")
        (tmp_path / str(number)).mkdir()
        with UnzippedOnce(tmp_path / f"{number}.zip") as code:
            code.extractall(str(tmp_path / str(number)))
        return (tmp_path / str(number) / "package" / "199.py").resolve(strict=True)

    with ThreadPoolExecutor() as pool:
        assert len(set(pool.map(unzip, range(8)))) == 1
    assert (tmp_path / "0" / "app.py").read_bytes() == b""


def test_an_update_of_a_function_keeps_its_versions_and_aliases():
    kept = {name: f"its {name}" for name in KEPT}
    functions = {"f": {**kept, "code_zip": b"old"}}

    def create(_logical_id, props, _stack):
        functions["f"] = {**dict.fromkeys(kept), "code_zip": props["code"]}
        return "f", {"Arn": "arn"}

    update = updated_function(create, functions)
    assert update("f", {}, {"code": b"new"}, "stack", "F") == ("f", {"Arn": "arn"})
    assert functions["f"] == {**kept, "code_zip": b"new"}


def test_what_cannot_be_made_is_left_out_and_named_so():
    provision = tolerant(lambda *_: ("made", {}), provisioners._RESOURCE_HANDLERS.__contains__)
    assert provision("AWS::SNS::Topic", "Topic", {}, "stack") == ("made", {})
    assert provision("AWS::CodeDeploy::Application", "Releases", {}, "stack") == (f"{LEFT_OUT}Releases", {})


def test_the_transform_knows_the_parameters_of_the_request_and_of_no_other():
    seen = []
    transform = Transform(lambda _template, parameters, _policies: seen.append(parameters), lambda asked, _: asked)
    handle = transform.knowing(lambda _: transform({}, {}, None))
    handle([{"Key": "Release", "Value": "a"}, {"Key": "Stage"}])
    transform({}, {}, None)
    assert seen == [{"Release": "a", "Stage": ""}, {}]


def test_the_answer_to_delete_a_change_set_has_the_element_that_botocore_reads():
    _, _, body = answered(lambda _: (200, {}, b"<DeleteChangeSetResponse></DeleteChangeSetResponse>"))({})
    assert body == b"<DeleteChangeSetResponse><DeleteChangeSetResult/></DeleteChangeSetResponse>"


class FakeGateway:
    """API Gateway's state in MiniStack, of one API."""

    def __init__(self):
        self._resources = {"api": {"1": {"path": "/open", "resourceMethods": {"GET": {}}},
                                   "2": {"path": "/kept", "resourceMethods": {"GET": {}}}}}  # fmt: skip
        self._authorizers_v1 = {"api": {}}
        self.data = None

    def _import_rest_api(self, spec, data):
        self.data = data
        return "api"

    def _create_authorizer(self, api_id, wanted):
        self._authorizers_v1[api_id]["a1"] = {**wanted, "id": "a1"}


def test_an_apis_document_says_who_is_let_through():
    authorizer = {"type": "token", "authorizerUri": "uri", "authorizerResultTtlInSeconds": 60}
    spec = {
        "securityDefinitions": {
            "authorize": {"name": "Authorization", "x-amazon-apigateway-authorizer": authorizer},
            "sigv4": {"name": "Authorization"},
        },
        "paths": {"/open": {"get": {}}, "/kept": {"get": {"security": [{"authorize": []}]}}},
        "x-amazon-apigateway-binary-media-types": ["image/png"],
    }
    gateway = FakeGateway()
    assert guarded(gateway)(spec, {"name": "api"}) == "api"
    assert gateway.data == {"name": "api", "binaryMediaTypes": ["image/png"]}
    open_one, kept = gateway._resources["api"].values()
    assert open_one["resourceMethods"]["GET"] == {}
    assert kept["resourceMethods"]["GET"] == {"authorizationType": "CUSTOM", "authorizerId": "a1"}
    (made,) = gateway._authorizers_v1["api"].values()
    assert (made["type"], made["identitySource"]) == ("TOKEN", "method.request.header.Authorization")


@pytest.mark.parametrize(
    ("status", "logical_id", "done"),
    [
        ("UPDATE_ROLLBACK_IN_PROGRESS", "Table", ("update", {"is": "now"}, {"was": "before"})),
        ("UPDATE_ROLLBACK_IN_PROGRESS", "Added", ("delete", {"is": "now"})),
        ("ROLLBACK_IN_PROGRESS", "Table", ("delete", {"is": "now"})),
        ("DELETE_IN_PROGRESS", "Table", ("delete", {"is": "now"})),
    ],
)
def test_an_update_is_taken_back_to_what_was_there_and_a_creation_to_nothing(status, logical_id, done):
    seen = []
    rollback = Rollback(
        lambda *_, **__: None,
        lambda _type, _id, now, before, *_: seen.append(("update", now, before)),
        lambda _type, _id, now, *_: seen.append(("delete", now)),
        {"stack": {"StackStatus": status}},
    )
    before = {"_resources": {"Table": {"Properties": {"was": "before"}, "Attributes": {}}}}
    rollback.deploy("stack", previous_stack=before)
    rollback.delete("AWS::Some::Thing", "id", {"is": "now"}, "stack", logical_id)
    assert seen == [done]
