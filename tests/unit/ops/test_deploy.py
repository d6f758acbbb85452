"""What the command refuses: each one line that names it, and exit code 2."""

import io
import json
import shutil
import zipfile

import boto3
import pytest
import yaml
from moto import mock_aws
from rich.console import Console

from ops.artifacts import Bucket, load_package
from ops.deploy import STACK, Change, Progress, api_url, line_of, main, table_of
from ops.package import PackageError
from ops.stack import StackEvent

FUNCTION = {
    "Type": "AWS::Serverless::Function",
    "Properties": {"CodeUri": "./deployment.zip", "Environment": {"Variables": {"STAGE": "dev"}}},
}
TEMPLATE = {
    "Parameters": {"Stage": {"Type": "String"}, "Shards": {"Type": "Number", "Default": 1, "MinValue": 1}},
    "Resources": {"Ingest": FUNCTION, "Stream": {"Type": "AWS::Kinesis::Stream"}},
}
BUCKET = ["--bucket", "artifacts-of-mine"]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of stages dev and prod, with a package of dev."""
    (tmp_path / ".chalice").mkdir()
    stages = {stage: {"environment_variables": {"STAGE": stage}} for stage in ("dev", "prod")}
    (tmp_path / ".chalice" / "config.json").write_text(json.dumps({"stages": stages}))
    (tmp_path / ".chalice" / "parameters.json").write_text(json.dumps({"dev": {}, "prod": {}}))
    write_package(tmp_path / "out", TEMPLATE)
    for variable in ("AWS_ENDPOINT_URL", "DEPLOY_BUCKET"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path


def write_package(out_dir, template):
    out_dir.mkdir(exist_ok=True)
    (out_dir / "sam.yaml").write_text(yaml.safe_dump(template))
    with zipfile.ZipFile(out_dir / "deployment.zip", "w") as code:
        code.writestr("app.py", "")


def refused(capsys, project, *arguments):
    try:
        assert main([*arguments, "--package-dir", str(project / "out")], project) == 2
    except SystemExit as ended:
        assert ended.code == 2  # noqa: PT017  argparse ends so
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    return error.replace(str(project), "").rstrip()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ["--stage", "No!", *BUCKET],
            "ops.deploy: stage is a name of 1..20 of a-z, 0-9 and -, a letter first, not 'No!'",
        ),
        (["--stage", "qa", *BUCKET], "ops.deploy: there is no stage qa in .chalice/config.json; there are: dev, prod"),
        (
            ["--stage", "prod", *BUCKET],
            "ops.deploy: the package in /out is of stage dev, not prod: make package STAGE=prod",
        ),
        (["--stage", "dev"], "ops.deploy: no bucket to upload to: --bucket (make: BUCKET=), or DEPLOY_BUCKET"),
        (["--stage", "dev", "--bucket", "No Bucket"], "ops.deploy: 'No Bucket' is no name of a bucket"),
        (["--stage", "dev", *BUCKET, "--arch", "arm64"], "ops.deploy: the package in /out is for x86_64, not arm64"),
        (["--stage", "dev", *BUCKET, "--set", "Shards"], "ops.deploy: argument --set: 'Shards' is not NAME=VALUE"),
        (["--stage", "dev", *BUCKET, "--set", "Shard=1"], "ops.deploy: parameter Shard is unknown; the template has:"),
        (["--stage", "dev", *BUCKET, "--set", "Shards=0"], "ops.deploy: parameter Shards is at least 1, not '0'"),
        (["--stage", "dev", *BUCKET, "--set", "Stage=qa"], "ops.deploy: parameter Stage is the stage itself, dev, not"),
        (["--stage", "dev", *BUCKET, "--endpoint-url", "aws"], "ops.deploy: argument --endpoint-url: 'aws' is no URL"),
        (
            ["--stage", "dev", "--endpoint-url", "http://127.0.0.1:9"],
            "ops.deploy: nothing answers at http://127.0.0.1:9",
        ),
    ],
)
def test_what_cannot_be_is_named(project, capsys, arguments, told):
    assert refused(capsys, project, *arguments).startswith(told)


def test_without_a_package_it_says_how_to_make_one(project, capsys):
    (project / "out" / "sam.yaml").unlink()
    told = "ops.deploy: there is no package in /out: make package STAGE=dev"
    assert refused(capsys, project, "--stage", "dev", *BUCKET) == told


def test_a_package_that_lacks_its_zip_is_named(project, capsys):
    (project / "out" / "deployment.zip").unlink()
    told = "ops.deploy: the package in /out lacks ./deployment.zip: make package STAGE=dev"
    assert refused(capsys, project, "--stage", "dev", *BUCKET) == told


def test_a_parameter_that_nobody_sets_is_named(project, capsys):
    write_package(project / "out", {**TEMPLATE, "Parameters": {**TEMPLATE["Parameters"], "Key": {"Type": "String"}}})
    told = refused(capsys, project, "--stage", "dev", *BUCKET)
    assert told == "ops.deploy: parameter Key is missing: the template has no default for it"


def test_a_mapping_that_there_is_not_is_named_with_those_that_there_are(project, capsys):
    mapped = {**FUNCTION["Properties"], "Handler": "app.ingest", "Events": {"Events": {"Type": "Kinesis"}}}
    ticking = {**mapped, "Handler": "app.tick", "Events": {"EveryMinute": {"Type": "Schedule"}}}
    functions = {"Ingest": FUNCTION | {"Properties": mapped}, "Tick": FUNCTION | {"Properties": ticking}}
    write_package(project / "out", {**TEMPLATE, "Resources": functions})
    told = refused(capsys, project, "--stage", "dev", *BUCKET, "--without-mapping", "tick")
    assert told == "ops.deploy: no mapping invokes tick: there are those of ingest"


def test_without_credentials_it_says_so(project, capsys, monkeypatch):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(variable, str(project / "none"))
    told = refused(capsys, project, "--stage", "dev", *BUCKET)
    assert told == "ops.deploy: there are no AWS credentials: sign in, or set AWS_PROFILE"


def test_a_bucket_that_is_not_there_is_named(project, capsys):
    with mock_aws():
        told = refused(capsys, project, "--stage", "dev", *BUCKET)
    assert told == "ops.deploy: there is no bucket artifacts-of-mine: make it in us-east-1, or name another"


def test_a_bucket_of_another_region_is_named():
    with mock_aws():
        place = {"LocationConstraint": "eu-west-1"}
        boto3.client("s3", region_name="eu-west-1").create_bucket(Bucket="far", CreateBucketConfiguration=place)
        with pytest.raises(PackageError, match="bucket far is in eu-west-1, and the stage would be in us-east-1"):
            Bucket(boto3.client("s3", region_name="us-east-1"), "far").ensure()


def test_the_template_says_where_the_code_is_and_nothing_is_uploaded_twice(project):
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="mine")
        bucket, package = Bucket(s3, "mine"), load_package(project / "out", "dev")
        template = bucket.put_code(package)
        place = template["Resources"]["Ingest"]["Properties"]["CodeUri"]
        first = s3.head_object(Bucket="mine", Key=place["Key"])["LastModified"]
        assert bucket.put_code(package) == template
        assert s3.head_object(Bucket="mine", Key=place["Key"])["LastModified"] == first
        assert len(s3.list_objects_v2(Bucket="mine")["Contents"]) == 1
        assert package.template["Resources"]["Ingest"]["Properties"]["CodeUri"] == "./deployment.zip"
        assert bucket.put_template(template).endswith(".json")


def test_the_api_of_a_stage_on_this_machine_is_at_its_endpoint():
    outputs = {"EndpointURL": "https://abc.execute-api.us-east-1.amazonaws.com/api/", "RestAPIId": "abc"}
    assert api_url(outputs, None) == outputs["EndpointURL"]
    assert api_url(outputs, "https://vpce-1.cloudformation.eu-west-1.vpce.amazonaws.com") == outputs["EndpointURL"]
    assert api_url(outputs, "http://127.0.0.1:4566") == "http://127.0.0.1:4566/_aws/execute-api/abc/api"


STACK_EVENTS = [
    StackEvent("highwater-dev", STACK, "CREATE_IN_PROGRESS", "User Initiated"),
    StackEvent("Table", "AWS::DynamoDB::Table", "CREATE_IN_PROGRESS", ""),
    StackEvent("Table", "AWS::DynamoDB::Table", "CREATE_COMPLETE", ""),
    StackEvent("Topic", "AWS::SNS::Topic", "CREATE_FAILED", "it exists"),
    StackEvent("highwater-dev", STACK, "ROLLBACK_IN_PROGRESS", "Topic failed"),
    StackEvent("Table", "AWS::DynamoDB::Table", "DELETE_IN_PROGRESS", ""),
    StackEvent("Table", "AWS::DynamoDB::Table", "DELETE_COMPLETE", ""),
    StackEvent("highwater-dev", STACK, "ROLLBACK_COMPLETE", ""),
]
TAKEN_BACK = [["CREATE_FAILED", "Topic"], ["ROLLBACK_IN_PROGRESS", "highwater-dev"]]


@pytest.mark.parametrize(
    ("is_terse", "told"),
    [
        (True, [*TAKEN_BACK, ["ROLLBACK_COMPLETE", "highwater-dev"]]),
        (
            False,
            [
                ["CREATE_COMPLETE", "Table"],
                *TAKEN_BACK,
                ["DELETE_COMPLETE", "Table"],
                ["ROLLBACK_COMPLETE", "highwater-dev"],
            ],
        ),
    ],
)
def test_a_resource_is_told_when_it_is_done_or_only_if_it_has_failed(is_terse, told):
    written = io.StringIO()
    with Progress(Console(file=written), "dev", is_terse=is_terse) as progress:
        for event in STACK_EVENTS:
            progress.hear(event)
    assert [line.split()[:2] for line in written.getvalue().splitlines()] == told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--stage", "qa", *BUCKET], "ops.deploy: there is no stage qa in .chalice/config.json; there are: dev, prod"),
        (["--stage", "dev", *BUCKET, "--set", "Shard=1"], "ops.deploy: parameter Shard is unknown; the template has:"),
        (
            ["--stage", "dev", *BUCKET],
            "ops.deploy: there is no bucket artifacts-of-mine: make it in us-east-1, or name",
        ),
    ],
)
def test_what_no_package_makes_good_is_refused_without_one(project, capsys, arguments, told):
    shutil.rmtree(project / "out")
    (project / ".chalice" / "resources.yaml").write_text(yaml.safe_dump(TEMPLATE))
    with mock_aws():
        assert refused(capsys, project, *arguments, "--check").startswith(told)


def test_where_nothing_is_against_it_it_is_silent(project, capsys):
    shutil.rmtree(project / "out")
    (project / ".chalice" / "resources.yaml").write_text(yaml.safe_dump(TEMPLATE))
    with mock_aws():
        boto3.client("s3").create_bucket(Bucket="artifacts-of-mine")
        assert main(["--stage", "dev", *BUCKET, "--check"], project) == 0
    assert capsys.readouterr() == ("", "")


def test_what_is_replaced_and_what_has_failed_can_be_seen():
    table = table_of([Change("Modify", "Table", "AWS::DynamoDB::Table", "True")])
    assert [next(iter(column.cells)) for column in table.columns[1:]] == ["Table", "DynamoDB::Table", "yes"]
    line = line_of(StackEvent("Table", "AWS::DynamoDB::Table", "CREATE_FAILED", "it exists"))
    assert line.plain.split() == ["CREATE_FAILED", "Table", "it", "exists"]
    assert line.spans[0].style == "red"
