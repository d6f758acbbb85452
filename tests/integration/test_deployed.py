"""The whole deployment on emulated CloudFormation: the package that AWS would be given, from first stack to release.

Nothing of this machine's Python is there for the functions but Python itself: they run from their zips alone. The tests
go on where the one before has stopped, as the life of a stage does.
"""

import hashlib
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from localstage.deployed import PROJECT_DIR, DeployedStage, prove, wait_until
from localstage.emulator import free_port
from ops.package import Package, PackageError
from ops.stack import StackError
from tests.integration.codedeploy import CodeDeploy
from tests.packaging import read_template

STAGE = "dev"
INGEST, HOOK = f"highwater-{STAGE}-ingest", f"CodeDeployHook_highwater-{STAGE}"
ALL_AT_ONCE, LINEAR = "CodeDeployDefault.LambdaAllAtOnce", "CodeDeployDefault.LambdaLinear10PercentEvery1Minute"
DATA = ("AWS::Kinesis::Stream", "AWS::DynamoDB::Table")
HALF = ("CheckRelease", "CheckReleaseRole", "CheckReleaseLogs", "SketchesLayer")
LEFT_OUT = {"AWS::CodeDeploy::Application", "AWS::CodeDeploy::DeploymentGroup", "AWS::Logs::QueryDefinition"}


@pytest.fixture(scope="module")
def codedeploy() -> Iterator[CodeDeploy]:
    with CodeDeploy() as server:
        yield server


@pytest.fixture(scope="module")
def out_dir(made: Package, codedeploy: CodeDeploy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, but that the hook finds CodeDeploy, which MiniStack has not."""
    variables = {"AWS_ENDPOINT_URL_CODEDEPLOY": codedeploy.url}
    folder = tmp_path_factory.mktemp("deployed") / "out"
    return another(made.template_path.parent, folder, lambda each: set_variables(each["CheckRelease"], variables))


@pytest.fixture(scope="module")
def released(out_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The next package: its code has changed."""
    released = another(out_dir, tmp_path_factory.mktemp("released") / "out")
    with zipfile.ZipFile(released / "deployment.zip", "a") as code:
        code.writestr("released.txt", "")
    return released


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
    template = read_template(path.read_text())
    change(template["Resources"])
    path.write_text(json.dumps(template))  # which YAML takes, too


def set_variables(function: dict, variables: dict[str, str]) -> None:
    function["Properties"]["Environment"]["Variables"].update(variables)


def another(out_dir: Path, folder: Path, change: Callable[[dict], None] = lambda _resources: None) -> Path:
    """Another package, which differs by what is changed in its template's resources."""
    shutil.copytree(out_dir, folder)
    edit(folder, change)
    return folder


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


def test_an_event_put_on_the_stream_is_counted_and_every_function_passes_its_check(
    stage: DeployedStage, token: str
) -> None:
    assert list(prove(stage, token)) == [
        "the API answers by the authorizer: 401 without a token, 200 with one",
        "an order put on the stream is counted, and told by the API",
        "8 functions pass their release check",
    ]


def test_what_the_emulator_cannot_make_is_told_and_is_no_more_than_that(stage: DeployedStage) -> None:
    assert set(stage.left_out.values()) == LEFT_OUT
    made = {each["ResourceType"] for each in stage.deployed.stack.resources()} - LEFT_OUT
    assert {
        "AWS::Lambda::Alias",
        "AWS::Lambda::EventSourceMapping",
        "AWS::Events::Rule",
        "AWS::CloudWatch::Alarm",
    } <= made


def test_functions_run_from_their_zips_alone(stage: DeployedStage) -> None:
    """What is installed for development is not there for one that lacks it."""
    functions = stage.client("lambda")
    configuration = functions.get_function_configuration(FunctionName=INGEST)
    wanted = {name: configuration[name] for name in ("Runtime", "Role", "Handler")}
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("app.py", "import xxhash\n\n\ndef ingest(event, context): ...\n")
    functions.create_function(FunctionName="without-xxhash", Code={"ZipFile": code.getvalue()}, **wanted)
    told = functions.invoke(FunctionName="without-xxhash", Payload=b'{"Records": []}')
    assert "FunctionError" in told
    assert "No module named 'xxhash'" in told["Payload"].read().decode()


def test_deployed_again_the_same_changes_nothing(stage: DeployedStage, out_dir: Path) -> None:
    assert stage.deploy(out_dir).changes == ()


# ---- a release


def cannot_be_made(resources: dict) -> None:
    """A topic that needs what no other stack exports, when the functions and the data are made."""
    name = {"Fn::ImportValue": "nobody-exports-this"}
    others = [name for name, resource in resources.items() if resource["Type"] in ("AWS::Serverless::Function", *DATA)]
    resources["CannotBeMade"] = {"Type": "AWS::SNS::Topic", "DependsOn": others, "Properties": {"TopicName": name}}


def test_an_update_that_fails_midway_leaves_what_was_there(
    stage: DeployedStage, token: str, released: Path, tmp_path: Path
) -> None:
    with pytest.raises(StackError, match="ended as UPDATE_ROLLBACK_COMPLETE: CannotBeMade: "):
        stage.deploy(another(released, tmp_path / "failing", cannot_be_made))
    assert stage.live_version(INGEST) == "1"
    counts_one_more(stage, token, 2)


def test_deployed_again_it_is_a_new_version_that_codedeploy_lets_through(
    stage: DeployedStage, released: Path, codedeploy: CodeDeploy
) -> None:
    stage.deploy(released, without_mappings=["ingest"])
    live = stage.live_version(INGEST)
    assert live > "1"
    versions = stage.client("lambda").list_versions_by_function(FunctionName=INGEST)["Versions"]
    assert {"$LATEST", "1", live} <= {version["Version"] for version in versions}
    report = check_by_hook(stage, codedeploy.begin(INGEST, "1", live, LINEAR))
    assert (report["faults"], codedeploy.told) == ([], ["Succeeded"])


def test_a_mapping_that_was_left_out_and_is_deployed_again_reads_from_the_beginning(
    stage: DeployedStage, token: str, released: Path
) -> None:
    """What a replay is: the orders of before are read again, and none is counted twice."""
    counted = stage.orders_counted(token)
    mappings = stage.client("lambda").list_event_source_mappings
    assert mappings(FunctionName=f"{INGEST}:live")["EventSourceMappings"] == []
    stage.put_order(100)
    stage.deploy(released)
    (mapping,) = mappings(FunctionName=f"{INGEST}:live")["EventSourceMappings"]
    assert mapping["StartingPosition"] == "TRIM_HORIZON"
    wait_until(lambda: stage.orders_counted(token) > counted, "the order put meanwhile is counted")
    assert stage.orders_counted(token) == counted + 1


def test_a_version_that_fails_its_check_takes_no_traffic(
    stage: DeployedStage, token: str, released: Path, tmp_path: Path, codedeploy: CodeDeploy
) -> None:
    """It cannot start, and would decide otherwise. CodeDeploy would leave the alias; here it is moved back."""
    before = stage.live_version(INGEST)
    broken = {"LATENESS": "soon", "DECISIONS": "other"}
    stage.deploy(another(released, tmp_path / "broken", lambda resources: set_variables(resources["Ingest"], broken)))
    target = stage.live_version(INGEST)
    assert target != before
    codedeploy.told.clear()
    otherwise, broken_start = check_by_hook(stage, codedeploy.begin(INGEST, before, target, LINEAR))["faults"]
    assert "ConsumerRelease=LambdaAllAtOnce" in otherwise
    assert broken_start.startswith("it did not answer that nothing failed, but failed: ")
    assert check_by_hook(stage, codedeploy.begin(INGEST, before, target, ALL_AT_ONCE))["faults"] == [broken_start]
    assert codedeploy.told == ["Failed", "Failed"]
    stage.client("lambda").update_alias(FunctionName=INGEST, Name="live", FunctionVersion=before)
    counts_one_more(stage, token, 3)


def test_uploads_are_named_by_what_is_in_them(stage: DeployedStage, out_dir: Path, released: Path) -> None:
    listed = stage.client("s3").list_objects_v2(Bucket=f"highwater-{STAGE}-deploy")["Contents"]
    zips = {each["Key"] for each in listed if each["Key"].startswith("highwater/") and each["Key"].endswith(".zip")}
    packages = [out_dir / "deployment.zip", out_dir / "sketches.zip", released / "deployment.zip"]
    assert zips == {f"highwater/{hashlib.sha256(path.read_bytes()).hexdigest()}.zip" for path in packages}


def test_a_stack_that_was_never_made_is_made_when_the_reason_is_gone(
    stage: DeployedStage, out_dir: Path, tmp_path: Path
) -> None:
    project, half = tmp_path / "project", another(out_dir, tmp_path / "half")
    (project / ".chalice").mkdir(parents=True)
    config = {"stages": {"half": {"environment_variables": {"STAGE": "half"}}}}
    (project / ".chalice" / "config.json").write_text(json.dumps(config))
    (project / ".chalice" / "parameters.json").write_text(json.dumps({"half": {"EventsShardCount": "1"}}))
    with pytest.raises(PackageError, match=f"is of stage {STAGE}, not half"):
        stage.deploy(half, "half", project)
    edit(half, only_check_release_of_half)
    whole = another(half, tmp_path / "whole")
    edit(half, cannot_be_made)
    with pytest.raises(StackError, match="stack highwater-half ended as ROLLBACK_COMPLETE: CannotBeMade: "):
        stage.deploy(half, "half", project)
    assert stage.deploy(whole, "half", project).changes
    assert "highwater-half-events" in stage.client("kinesis").list_streams()["StreamNames"]


def test_ctrl_c_amid_a_deployment_leaves_nothing_running_and_nothing_behind(made: Package) -> None:
    port = free_port()
    command = [sys.executable, "-m", "localstage.deployed", "--stage", STAGE, "--aws-port", str(port)]
    command += ["--package-dir", str(made.template_path.parent)]
    with subprocess.Popen(command, cwd=PROJECT_DIR) as running:
        wait_until(lambda: is_served(port), "the emulated AWS is there")
        assert len(scratch := list((PROJECT_DIR / ".localstage").glob(f"aws-{running.pid}-*"))) == 1
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    assert not is_served(port)
    assert not scratch[0].exists()


def is_served(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def only_check_release_of_half(resources: dict) -> None:
    """The data, and the one function that needs nothing else of the stage: the rest takes time and shows no more."""
    for name in [name for name, each in resources.items() if name not in HALF and each["Type"] not in DATA]:
        del resources[name]
    set_variables(resources["CheckRelease"], {"STAGE": "half"})
