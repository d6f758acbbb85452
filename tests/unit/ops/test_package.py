"""What packaging decides, and what it refuses; the package itself is made in tests/integration/test_package.py."""

import json
import os
import re
import shutil
import sys
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import pytest

from chalicelib.aws import clients
from chalicelib.settings import read_settings
from chalicelib.wiring.filters import patterns
from localstage.declarations import read as read_declarations
from ops.package import DEPLOYMENT_BYTES_MAX, UNZIPPED_BYTES_MAX, Package, PackageError, check_sizes, package
from ops.package.__main__ import main
from ops.package.application import AskedFor, Declared, declared_by, functions_variables, misspelt
from ops.package.archive import Archive, write
from ops.package.bytecode import compile_all
from ops.package.contents import runs, services_of
from ops.package.dependencies import Target, _check_closed, read
from ops.package.template import architecture_of, copy_project, finish

PROJECT = Path(__file__).parents[3]
FUNCTION = "AWS::Serverless::Function"
MISSPELT_FOR_TICK = {"lambda_functions": {"tick": {"environment_variables": {"API_TOKEN_SECRET": "abc"}}}}
PER_FUNCTION = {"lambda_functions": {"tick": {"environment_variables": {"DEDUP_HORIZON": "long"}}}}


# ---- archives


def fill(folder: Path) -> Path:
    for name in ("b.py", "a/c.py", "a.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def test_an_archive_is_of_names_and_contents_alone(tmp_path):
    first, second = fill(tmp_path / "first"), fill(tmp_path / "second")
    for path in second.rglob("*"):
        path.chmod(0o700)
        os.utime(path, (1, 1))
    (second / "empty").mkdir()
    archives = [write(folder, tmp_path / f"{folder.name}.zip") for folder in (first, second)]
    assert archives[0].path.read_bytes() == archives[1].path.read_bytes()
    with zipfile.ZipFile(archives[0].path) as opened:
        assert opened.namelist() == ["a.py", "a/c.py", "b.py"]
        assert {info.external_attr >> 16 for info in opened.infolist()} == {0o644}


def test_an_archive_that_two_write_at_once_is_whole(tmp_path):
    fill(tmp_path / "folder")
    with ThreadPoolExecutor() as pool:
        for _ in range(5):
            list(pool.map(lambda _: write(tmp_path / "folder", tmp_path / "a.zip"), range(4)))
    with zipfile.ZipFile(tmp_path / "a.zip") as opened:
        assert opened.testzip() is None
    assert {path.name for path in tmp_path.iterdir()} == {"folder", "a.zip"}


def test_an_archive_tells_what_takes_how_much_of_it(tmp_path):
    (tmp_path / "python" / "large").mkdir(parents=True)
    (tmp_path / "python" / "large" / "one.py").write_bytes(os.urandom(3_000_000))
    (tmp_path / "python" / "small.py").write_bytes(b"")
    archive = write(tmp_path / "python", tmp_path / "a.zip")
    assert archive.unzipped_bytes == 3_000_000
    assert archive.largest().startswith("large 3.0 MB")


@pytest.mark.parametrize(
    ("zipped", "unzipped", "refusal"),
    [
        (DEPLOYMENT_BYTES_MAX, UNZIPPED_BYTES_MAX, None),
        (DEPLOYMENT_BYTES_MAX + 1, 1, r"^deployment.zip has 30,000,001 bytes, 30,000,000 at most.*: botocore 29.0 MB"),
        (1, UNZIPPED_BYTES_MAX + 1, r"^unzipped, .* 262,144,001 bytes, of which Lambda takes 262,144,000;.*botocore"),
    ],
)
def test_what_is_over_its_budget_is_refused_with_what_takes_the_most(tmp_path, zipped, unzipped, refusal):
    path = tmp_path / "deployment.zip"
    with path.open("wb") as file:
        file.truncate(zipped)
    archive = Archive(path, unzipped, Counter(botocore=29_000_000, boto3=1))
    made = Package({}, tmp_path / "sam.yaml", archive, None, "x86_64")
    if refusal is None:
        check_sizes(made)
        return
    with pytest.raises(PackageError, match=refusal):
        check_sizes(made)


# ---- byte code


def test_byte_code_tells_where_lambda_has_the_module_and_nothing_of_this_build(tmp_path):
    compiled = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "module.py").write_text("def fail():\n    return {'a', 'b', 'c'}\n")
        os.utime(tmp_path / name / "module.py", (len(compiled), 1))
        compile_all(tmp_path / name, Path("/var/task"))
        compiled.append((tmp_path / name / "__pycache__" / f"module.{sys.implementation.cache_tag}.pyc").read_bytes())
    assert compiled[0] == compiled[1]
    assert b"/var/task/module.py" in compiled[0]
    assert str(tmp_path).encode() not in compiled[0]


def test_a_module_that_is_no_python_is_named(tmp_path):
    (tmp_path / "broken.py").write_text("def :\n")
    with pytest.raises(PackageError, match=r"^a module cannot be compiled: .*broken\.py"):
        compile_all(tmp_path, Path("/var/task"))


# ---- contents


@pytest.mark.parametrize(
    "path",
    [
        "botocore/client.py",
        "botocore/cacert.pem",
        "botocore/data/endpoints.json",
        "botocore/data/kinesis/2013-12-02/service-2.json.gz",
        "chalice/app.py",
        "dateutil/zoneinfo/dateutil-zoneinfo.tar.gz",
        "numpy.libs/libgfortran-040039e1.so.5.0.0",
        "six-1.17.0.dist-info/METADATA",
        "xxhash/_xxhash.cpython-311-x86_64-linux-gnu.so",
    ],
)
def test_what_runs_is_packaged(path):
    assert runs(PurePosixPath(path), {"kinesis"})


@pytest.mark.parametrize(
    "path",
    [
        "bin/wheel",
        "boto3/data/ec2/2016-11-15/resources-1.json",
        "botocore/data/ec2/2016-11-15/service-2.json.gz",
        "chalice/cli/__init__.py",
        "msgspec/__init__.pyi",
        "numpy/_core/include/numpy/arrayobject.h",
        "numpy/_core/tests/test_api.py",
        "numpy/f2py/__init__.py",
        "six-1.17.0.dist-info/RECORD",
        "zstandard/_cffi.cpython-311-x86_64-linux-gnu.so",
    ],
)
def test_what_does_not_run_is_not(path):
    assert not runs(PurePosixPath(path), {"kinesis"})


def test_the_models_are_of_the_services_that_the_application_has_clients_for():
    makers = [
        function for name, function in vars(clients).items() if hasattr(function, "cache_info") and name[0] != "_"
    ]
    assert services_of(PROJECT) == {make().meta.service_model.service_name for make in makers}


def test_clients_that_name_no_service_are_refused(tmp_path):
    (tmp_path / "chalicelib" / "aws").mkdir(parents=True)
    (tmp_path / "chalicelib" / "aws" / "clients.py").write_text("def client(name): ...\nclient(NAME)\n")
    with pytest.raises(PackageError, match=r"clients\.py makes no client by a service's name"):
        services_of(tmp_path)


# ---- requirements


def test_lambdas_c_library_decides_which_wheels_there_are():
    assert Target("x86_64", (3, 11)).platforms == [
        *(f"manylinux_2_{minor}_x86_64" for minor in range(26, 16, -1)),
        "manylinux2014_x86_64",
    ]
    assert Target("arm64", (3, 12)).platforms[0] == "manylinux_2_34_aarch64"
    with pytest.raises(PackageError, match=r"^architecture is one of x86_64, arm64, not 'mips'$"):
        Target.of("mips")


@pytest.mark.parametrize("line", ["boto3", "boto3>=1", "boto3==1.*", "boto3==1,!=2"])
def test_a_requirement_that_is_not_pinned_is_refused(tmp_path, line):
    (tmp_path / "requirements.txt").write_text(f"# why\n\nsix==1.17.0  # why\n{line}\n")
    with pytest.raises(PackageError, match=r"^requirements\.txt does not pin boto3$"):
        read(tmp_path / "requirements.txt")


@pytest.mark.parametrize(
    ("pinned", "refusal"),
    [
        ("boto3==1.0\nbotocore==1.44.8\n", None),
        ("boto3==1.0\n", r"^boto3 needs botocore, which requirements\.txt does not pin$"),
        ("boto3==1.0\nbotocore==1.2\n", r"^boto3 needs botocore<2,>=1\.44, and requirements\.txt pins 1\.2$"),
    ],
)
def test_what_a_requirement_needs_is_pinned_too(tmp_path, pinned, refusal):
    described = tmp_path / "installed" / "boto3-1.0.dist-info"
    described.mkdir(parents=True)
    needs = ["botocore>=1.44,<2", 'crt>=1; extra == "crt"', 'old>=1; python_version < "3"']
    (described / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: boto3\nVersion: 1.0\n" + "".join(f"Requires-Dist: {each}\n" for each in needs)
    )
    (tmp_path / "requirements.txt").write_text(pinned)
    required = read(tmp_path / "requirements.txt")
    if refusal is None:
        _check_closed(tmp_path / "installed", required)
        return
    with pytest.raises(PackageError, match=refusal):
        _check_closed(tmp_path / "installed", required)


# ---- variables


def settings():
    """The settings' names, as whoever reads them asks for them."""
    asked_for = AskedFor({"STAGE": "dev"})
    read_settings(asked_for)
    return asked_for.names


@pytest.mark.parametrize(
    "name",
    [
        *("MY_LATENESS", "STATE", "EVENTS_TABLE", "ORDERS_BUCKET", "PRICE_LIST"),
        *("AWS_ENDPOINT_URL_S3", "POWERTOOLS_LOG_LEVEL", "POWERTOOLS_TRACE_MIDDLEWARES", "DECISIONS"),
    ],
)
def test_a_variable_of_an_adopters_own_is_no_misspelling(name):
    assert misspelt({name}, settings()) == {}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        *[(name, "LATENESS") for name in ("LATENES", "LATNESS", "LATEENESS", "lateness")],
        ("API_TOKEN_SECRET", "API_TOKENS_SECRET"),
        ("DEDUP_HORIZONT", "DEDUP_HORIZON"),
    ],
)
def test_a_misspelt_setting_is_told_with_the_one_that_is_meant(name, meant):
    assert misspelt({name}, settings()) == {name: meant}


# ---- the architecture


@pytest.mark.parametrize(
    ("change", "architecture"),
    [
        (lambda config: None, "x86_64"),
        (lambda config: config.update(lambda_architecture="arm64"), "arm64"),
        (lambda config: config["stages"]["dev"].update(lambda_architecture="arm64"), "arm64"),
        (lambda config: config["stages"]["prod"].update(lambda_architecture="arm64"), "x86_64"),
    ],
)
def test_a_stage_has_the_architecture_that_the_config_says(tmp_path, change, architecture):
    assert architecture_of(project(tmp_path / "project", change), "dev") == architecture


def test_an_architecture_for_once_is_that_of_every_function(tmp_path):
    there = project(tmp_path / "project", lambda config: config["stages"]["dev"].update(lambda_architecture="arm64"))
    copy_project(there, tmp_path / "copy", "dev", architecture="x86_64")
    config = json.loads((tmp_path / "copy" / ".chalice" / "config.json").read_text())
    assert {config["lambda_architecture"], config["stages"]["dev"]["lambda_architecture"]} == {"x86_64"}


# ---- the template


def template(**api_handler):
    def function(**properties):
        return {"Type": FUNCTION, "Properties": {"Environment": {"Variables": {"STAGE": "dev"}}, **properties}}

    names = ("Ingest", "Rollup", "FanOut", "Tick", "CheckRelease", "Authorize")
    body = {"uri": {"Fn::Sub": "${APIHandler.Arn}/invocations"}, "authorizer": {"Fn::Sub": "${Authorize.Arn}"}}
    return {
        "Resources": {
            "RestAPI": {"Type": "AWS::Serverless::Api", "Properties": {"DefinitionBody": body}},
            "APIHandler": function(**api_handler),
            **{name: function() for name in names},
        }
    }


def test_the_layer_is_attached_beside_others_to_the_functions_that_sketch():
    packaged = template(Layers=["arn:insights"])
    finish(packaged, Declared(has_sketches=True, decisions="d"), Target("arm64", (3, 11)))
    resources = packaged["Resources"]
    layer = resources["SketchesLayer"]["Properties"]
    assert (layer["CompatibleRuntimes"], layer["CompatibleArchitectures"]) == (["python3.11"], ["arm64"])
    assert resources["APIHandler"]["Properties"]["Layers"] == ["arn:insights", {"Ref": "SketchesLayer"}]
    assert resources["Rollup"]["Properties"]["Layers"] == [{"Ref": "SketchesLayer"}]
    assert "Layers" not in resources["Authorize"]["Properties"]


def test_without_sketches_there_is_no_layer():
    packaged = template()
    finish(packaged, Declared(has_sketches=False, decisions="d"), Target("x86_64", (3, 11)))
    assert "SketchesLayer" not in packaged["Resources"]
    assert "Layers" not in str(packaged)


def test_who_decides_says_by_what():
    packaged = template()
    finish(packaged, Declared(has_sketches=False, decisions="0123"), Target("x86_64", (3, 11)))
    told = {name for name, variables in functions_variables(packaged).items() if variables.get("DECISIONS") == "0123"}
    assert told == {"Ingest"}


def test_the_mappings_have_the_filters_of_the_definitions():
    packaged = template()
    finish(packaged, Declared(has_sketches=False, decisions="d", filters={"rollup": ["p"]}), Target("x86_64", (3, 11)))
    (mapping,) = packaged["Resources"]["Rollup"]["Properties"]["Events"].values()
    assert mapping["Properties"]["FilterCriteria"] == {"Filters": [{"Pattern": "p"}]}
    assert "Events" not in packaged["Resources"]["FanOut"]["Properties"]


@pytest.mark.parametrize("is_everywhere", [True, False])
def test_the_api_calls_functions_by_the_alias_that_they_have(is_everywhere):
    packaged = template(**({} if is_everywhere else {"AutoPublishAlias": "live"}))
    if is_everywhere:
        packaged["Globals"] = {"Function": {"AutoPublishAlias": "live"}}
    finish(packaged, Declared(has_sketches=False, decisions="d"), Target("x86_64", (3, 11)))
    body = packaged["Resources"]["RestAPI"]["Properties"]["DefinitionBody"]
    assert body == {
        "uri": {"Fn::Sub": "${APIHandlerAliaslive}/invocations"},
        "authorizer": {"Fn::Sub": "${AuthorizeAliaslive}" if is_everywhere else "${Authorize.Arn}"},
    }


# ---- what is refused before anything is installed


def project(folder, change=lambda config: None):
    """A copy of the project whose config is another."""
    for name in (".chalice", "chalicelib"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "app.py", folder)
    config = json.loads((folder / ".chalice" / "config.json").read_text())
    change(config)
    (folder / ".chalice" / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (
            lambda config: config["stages"].pop("dev"),
            r"^there is no stage dev in \.chalice/config\.json; there are: local, prod$",
        ),
        (lambda config: config["environment_variables"].update(LATENESS="soon"), r"^LATENESS: .*soon"),
        (lambda config: config["stages"]["dev"].pop("environment_variables"), r"^stage dev has STAGE None in"),
        (
            lambda config: config["stages"]["dev"]["environment_variables"].update(STAGE="prod"),
            r"^stage dev has STAGE 'prod' in \.chalice/config\.json$",
        ),
        (
            lambda config: config["environment_variables"].update(LATENES="1h"),
            r"^LATENES is no setting; LATENESS is$",
        ),
        (
            lambda config: config["stages"]["dev"].update(MISSPELT_FOR_TICK),
            r"^API_TOKEN_SECRET is no setting; API_TOKENS_SECRET is$",
        ),
        (
            lambda config: config["stages"]["dev"].update(lambda_architecture="mips"),
            r"^architecture is one of x86_64, arm64, not 'mips'$",
        ),
        (
            lambda config: config["environment_variables"].update(API_AUTH="none"),
            r"^API_AUTH is none, which only a local",
        ),
        (
            lambda config: config["stages"]["dev"].update(PER_FUNCTION),
            r"^Tick: DEDUP_HORIZON: .*long",
        ),
    ],
)
def test_a_config_that_cannot_be_deployed_is_refused_by_the_name_of_what_is_wrong(tmp_path, change, refusal):
    with pytest.raises(PackageError, match=refusal) as refused:
        package(project(tmp_path / "project", change), "dev", tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "out").exists()


def test_a_config_that_is_no_json_is_refused(tmp_path):
    there = project(tmp_path / "project")
    (there / ".chalice" / "config.json").write_text("{,}")
    with pytest.raises(PackageError, match=r"^\.chalice/config\.json is no JSON: .*line 1 column 2"):
        package(there, "dev", tmp_path / "out")


@pytest.mark.parametrize(
    ("line", "refusal"),
    [
        ("METRICS = (", r"^chalicelib/definitions\.py, line 1: SyntaxError: '\(' was never closed$"),
        ("METRICS = NONE", r"^chalicelib/definitions\.py, line 1: NameError: name 'NONE' is not defined$"),
    ],
)
def test_a_definition_that_is_no_python_is_refused_by_where_it_is(tmp_path, line, refusal):
    there = project(tmp_path / "project")
    (there / "chalicelib" / "definitions.py").write_text(line + "\n")
    with pytest.raises(PackageError, match=refusal):
        package(there, "dev", tmp_path / "out")


def test_a_definition_that_is_a_mistake_is_refused_by_what_it_says(tmp_path):
    there = project(tmp_path / "project")
    definitions = there / "chalicelib" / "definitions.py"
    definitions.write_text(definitions.read_text().replace('name="customers"', 'name="orders"'))
    with pytest.raises(PackageError, match=r"^two metrics have the same name$"):
        package(there, "dev", tmp_path / "out")


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (
            ["--stage", "nope"],
            "ops.package: there is no stage nope in .chalice/config.json; there are: local",
        ),
        (["--stage", "dev", "--arch", "mips"], "ops.package: argument --arch: invalid choice: 'mips'"),
        ([], "ops.package: the following arguments are required: --stage\n"),
    ],
)
def test_the_command_says_in_one_line_what_is_wrong(capsys, arguments, refusal):
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert told.err.startswith(refusal)
    assert told.err.count("\n") == 1


def test_sketches_are_found_in_the_definitions(tmp_path):
    variables = {"Environment": {"Variables": {"STAGE": "dev"}}}
    packaged = {"Resources": {"Ingest": {"Type": FUNCTION, "Properties": variables}}}
    assert declared_by(project(tmp_path / "project"), packaged).has_sketches
    without = project(tmp_path / "without")
    definitions = without / "chalicelib" / "definitions.py"
    definitions.write_text(re.sub(r"(Distinct|Quantile)\([^)]*\)", "Count()", definitions.read_text()))
    assert not declared_by(without, packaged).has_sketches


def test_an_adopter_who_publishes_a_metric_edits_the_definitions_alone(tmp_path):
    """Packaging and the local stage, each by its own way, come to the same filters of the project's definitions."""
    changed = project(tmp_path / "project")
    definitions = changed / "chalicelib" / "definitions.py"
    unpublished = "        published=False,  # thousands of rows, each second; it is asked for\n"
    assert unpublished in definitions.read_text()
    definitions.write_text(definitions.read_text().replace(unpublished, ""))
    variables = {"STAGE": "dev"}
    packaged = {"Resources": {"Ingest": {"Type": FUNCTION, "Properties": {"Environment": {"Variables": variables}}}}}
    filters = declared_by(changed, packaged).filters
    assert '{"prefix":"customers#"}' in filters["fan_out"][0]
    assert "customers#" not in patterns()["fan_out"][0]
    assert read_declarations(changed, variables).filters == filters
