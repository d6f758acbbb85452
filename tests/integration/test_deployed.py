"""The whole deployment on emulated CloudFormation: the package as AWS would be given it, from the first stack to a release.

Nothing of this machine's Python is there for the functions but Python itself: they run from their zips alone. The tests
go on where the one before has stopped, as the life of a stage does.
"""

import base64
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
import yaml

from localstage.deployed import DeployedStage, wait_until
from ops.artifacts import PackageError
from ops.deploy import PROJECT_DIR
from ops.package import package
from ops.stack import StackError
from tests.integration.codedeploy import CodeDeploy

STAGE = "local"
INGEST, HOOK = "highwater-local-ingest", "CodeDeployHook_highwater-local"
ALL_AT_ONCE, LINEAR = "CodeDeployDefault.LambdaAllAtOnce", "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"
LEFT_OUT = {"AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup", "AWS::Logs::QueryDefinition"}


@pytest.fixture(scope="module")
def codedeploy() -> Iterator[CodeDeploy]:
    with CodeDeploy() as server:
        yield server


@pytest.fixture(scope="module")
def out_dir(codedeploy: CodeDeploy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, but that the hook finds CodeDeploy, which MiniStack has not."""
    out_dir = tmp_path_factory.mktemp("package")
    package(PROJECT_DIR, STAGE, out_dir)
    variables = {"AWS_ENDPOINT_URL_CODEDEPLOY": codedeploy.url}
    edit(out_dir, lambda resources: set_variables(resources["CheckRelease"], variables))
    return out_dir


@pytest.fixture(scope="module")
def stage(out_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeployedStage]:
    with DeployedStage(STAGE, out_dir, state_dir=tmp_path_factory.mktemp("state")) as stage:
        yield stage


@pytest.fixture(scope="module")
def token(stage: DeployedStage) -> str:
    return stage.issue_token("test")


def edit(out_dir: Path, change: Callable[[dict], None]) -> None:
    """Change the resources of a package's template."""
    path = out_dir / "sam.yaml"
    template = yaml.safe_load(path.read_text())
    change(template["Resources"])
    path.write_text(yaml.safe_dump(template))


def set_variables(function: dict, variables: dict[str, str]) -> None:
    function["Properties"]["Environment"]["Variables"].update(variables)


def another(out_dir: Path, folder: Path, change: Callable[[dict], None] = lambda _resources: None) -> Path:
    """Another package, which differs by what is changed in its template's resources."""
    shutil.copytree(out_dir, folder)
    edit(folder, change)
    return folder


def rewritten(archive: Path, *, without: str = "", more: str = "") -> bytes:
    """The bytes of a zip, without a package, or with a file more."""
    written = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            if not (without and entry.filename.startswith(without)):
                new.writestr(entry, old.read(entry))
        if more:
            new.writestr(more, "")
    return written.getvalue()


def check_by_hook(stage: DeployedStage, event: dict[str, str]) -> dict:
    told = stage.client("lambda").invoke(FunctionName=HOOK, Payload=orjson.dumps(event))
    return orjson.loads(told["Payload"].read())


def counts_one_more(stage: DeployedStage, token: str, number: int) -> None:
    before = stage.orders_counted(token)
    stage.put_order(number)
    wait_until(lambda: stage.orders_counted(token) == before + 1, f"order {number} is counted")


# ---- the first deployment


def test_the_api_answers_by_its_authorizer(stage: DeployedStage, token: str) -> None:
    assert stage.get("/v1/health").json() == {"status": "ok", "stage": STAGE}
    assert stage.get("/v1/metrics").status == 401
    assert stage.get("/v1/metrics", "of-bad-news").status == 401
    assert "orders" in {metric["name"] for metric in stage.get("/v1/metrics", token).json()["metrics"]}


def test_an_event_put_on_the_stream_is_counted_by_the_deployed_zip(stage: DeployedStage, token: str) -> None:
    counts_one_more(stage, token, 1)


def test_what_the_emulator_cannot_make_is_told_and_is_no_more_than_that(stage: DeployedStage) -> None:
    assert set(stage.left_out.values()) == LEFT_OUT
    made = {each["ResourceType"] for each in stage.deployed.stack.resources()} - LEFT_OUT
    assert {
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Events::Rule",
        "AWS::CloudWatch::Alarm",
    } <= made


def test_functions_run_from_their_zips_alone(stage: DeployedStage, out_dir: Path) -> None:
    functions = stage.client("lambda")
    configuration = functions.get_function_configuration(FunctionName=INGEST)
    code = {"ZipFile": rewritten(out_dir / "deployment.zip", without="xxhash/")}
    wanted = {name: configuration[name] for name in ("Runtime", "Role", "Handler", "Environment")}
    functions.create_function(FunctionName="without-xxhash", Code=code, **wanted)
    told = functions.invoke(FunctionName="without-xxhash", Payload=b'{"Records": []}')
    assert "FunctionError" in told
    assert "No module named 'xxhash'" in told["Payload"].read().decode()


def test_every_function_passes_its_release_check(stage: DeployedStage) -> None:
    assert len(stage.functions) == 8
    for function in stage.functions:
        report = stage.check_release(function, stage.live_version(function))
        assert report == {"succeeded": True, "function": function, "version": "1", "faults": []}


def test_deployed_again_the_same_changes_nothing(stage: DeployedStage, out_dir: Path) -> None:
    assert stage.deploy(out_dir).changes == ()


# ---- a release


def test_new_code_is_a_new_version_that_codedeploy_lets_through(
    stage: DeployedStage, token: str, out_dir: Path, tmp_path: Path, codedeploy: CodeDeploy
) -> None:
    released = another(out_dir, tmp_path / "released")
    (released / "deployment.zip").write_bytes(rewritten(out_dir / "deployment.zip", more="released.txt"))
    assert "IngestAliaslive" in {change.logical_id for change in stage.deploy(released).changes}
    assert stage.live_version(INGEST) == "2"
    versions = stage.client("lambda").list_versions_by_function(FunctionName=INGEST)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1", "2"]
    report = check_by_hook(stage, codedeploy.begin(INGEST, "1", "2", LINEAR))
    assert (report["faults"], codedeploy.told) == ([], ["Succeeded"])
    counts_one_more(stage, token, 2)


def test_a_version_that_fails_its_check_takes_no_traffic(
    stage: DeployedStage, token: str, out_dir: Path, tmp_path: Path, codedeploy: CodeDeploy
) -> None:
    """CodeDeploy would leave the alias where it is; CloudFormation, without CodeDeploy, has moved it, and it is moved back."""
    broken = another(out_dir, tmp_path / "broken", lambda each: set_variables(each["Ingest"], {"LATENESS": "soon"}))
    stage.deploy(broken)
    assert stage.live_version(INGEST) == "3"
    codedeploy.told.clear()
    report = check_by_hook(stage, codedeploy.begin(INGEST, "2", "3", LINEAR))
    assert codedeploy.told == ["Failed"]
    assert report["faults"][0].startswith("it did not answer that nothing failed, but failed: ")
    alias = {"FunctionName": INGEST, "Name": "live"}
    stage.client("lambda").update_alias(**alias, FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}})
    counts_one_more(stage, token, 3)
    stage.deploy(out_dir)
    counts_one_more(stage, token, 4)


def test_a_version_that_decides_otherwise_is_let_through_only_all_at_once(
    stage: DeployedStage, out_dir: Path, tmp_path: Path, codedeploy: CodeDeploy
) -> None:
    deciding = another(
        out_dir, tmp_path / "deciding", lambda each: set_variables(each["Ingest"], {"DECISIONS": "other"})
    )
    before = stage.live_version(INGEST)
    stage.deploy(deciding)
    codedeploy.told.clear()
    release = (INGEST, before, stage.live_version(INGEST))
    (fault,) = check_by_hook(stage, codedeploy.begin(*release, LINEAR))["faults"]
    assert "ConsumerRelease=LambdaAllAtOnce" in fault
    assert check_by_hook(stage, codedeploy.begin(*release, ALL_AT_ONCE))["faults"] == []
    assert codedeploy.told == ["Failed", "Succeeded"]


# ---- a deployment that fails midway


def cannot_be_made(resources: dict) -> None:
    """A topic that needs what no other stack exports; last of all, when everything else is made."""
    name = {"Fn::ImportValue": "nobody-exports-this"}
    others = [name for name, resource in resources.items() if resource["Type"] != "AWS::Lambda::Permission"]
    resources["CannotBeMade"] = {"Type": "AWS::SNS::Topic", "DependsOn": others, "Properties": {"TopicName": name}}


def test_an_update_that_fails_midway_leaves_what_was_there_and_is_deployed_again(
    stage: DeployedStage, token: str, out_dir: Path, tmp_path: Path
) -> None:
    failing = another(out_dir, tmp_path / "failing", cannot_be_made)
    (failing / "deployment.zip").write_bytes(rewritten(out_dir / "deployment.zip", more="failing.txt"))
    with pytest.raises(StackError, match="ended as UPDATE_ROLLBACK_COMPLETE: CannotBeMade: "):
        stage.deploy(failing)
    counts_one_more(stage, token, 5)
    edit(failing, lambda resources: resources.pop("CannotBeMade"))
    assert stage.deploy(failing).changes
    counts_one_more(stage, token, 6)


def test_a_stack_that_was_never_made_is_made_when_the_reason_is_gone(
    stage: DeployedStage, out_dir: Path, tmp_path: Path
) -> None:
    project, half = tmp_path / "project", another(out_dir, tmp_path / "half")
    (project / ".chalice").mkdir(parents=True)
    config = {"stages": {"half": {"environment_variables": {"STAGE": "half"}}}}
    (project / ".chalice" / "config.json").write_text(json.dumps(config))
    (project / ".chalice" / "parameters.json").write_text(json.dumps({"half": {"EventsShardCount": "1"}}))
    with pytest.raises(PackageError, match="is of stage local, not half"):
        stage.deploy(half, "half", project)
    edit(half, lambda resources: [rename(each, "half") for each in resources.values()])
    whole = another(half, tmp_path / "whole")
    edit(half, cannot_be_made)
    with pytest.raises(StackError, match="stack highwater-half ended as ROLLBACK_COMPLETE: CannotBeMade: "):
        stage.deploy(half, "half", project)
    assert stage.deploy(whole, "half", project).outputs["RestAPIId"]
    told = stage.client("lambda").invoke(FunctionName="highwater-half-ingest:live", Payload=b'{"Records": []}')
    assert json.loads(told["Payload"].read()) == {"batchItemFailures": []}


def rename(resource: dict, stage: str) -> None:
    variables = resource.get("Properties", {}).get("Environment", {}).get("Variables", {})
    if "STAGE" in variables:
        variables["STAGE"] = stage


def test_uploads_are_named_by_what_is_in_them_and_made_once(stage: DeployedStage, out_dir: Path) -> None:
    listed = stage.client("s3").list_objects_v2(Bucket="highwater-local-deploy")["Contents"]
    digest = base64.b64decode(
        stage.client("lambda").get_function(FunctionName="highwater-half-ingest")["Configuration"]["CodeSha256"]
    )
    assert f"highwater/{digest.hex()}.zip" in {
        each["Key"] for each in stage.client("s3").list_objects_v2(Bucket="highwater-half-deploy")["Contents"]
    }
    assert sum(each["Key"].endswith(".zip") for each in listed) == 4  # the code, released, failing; and the layer
