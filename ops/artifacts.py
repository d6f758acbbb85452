"""What a package is made of, and how it comes to where CloudFormation finds it.

Only this file knows the form of a package: `sam.yaml` and, beside it, the zips that it names. An object's key is the
digest of its bytes, so the same package is uploaded once, and a release that is rolled back finds its zips again.
"""

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import yaml
from botocore.exceptions import ClientError

from ops.aws import is_local
from ops.package.application import functions_variables
from ops.package.errors import PackageError
from ops.package.template import PACKAGED
from ops.template import FUNCTION, LAYER, Template, functions

YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's is a dozen times as fast, and not everywhere
CODE = {FUNCTION: "CodeUri", LAYER: "ContentUri"}
MAPPED = {"Kinesis", "DynamoDB", "SQS"}  # SAM's names for what event source mappings read
X86_64 = "x86_64"  # what SAM takes where a function says nothing
NOT_THERE, NOT_YOURS = {"404", "NoSuchBucket"}, {"403", "AccessDenied"}
KEY_PREFIX = "highwater/"


@dataclass(frozen=True, slots=True)
class Package:
    """A package as `make package` made it: the template before its transform, and where its zips stand."""

    template: Template
    directory: Path


def load_package(directory: Path, stage: str, architecture: str | None = None) -> Package:
    """Read a package.

    Shapes: architecture, what its functions have to run on; any, if None.
    Raises: PackageError when there is none, when it lacks a zip, and when it is of another stage or architecture.
    """
    path = directory / PACKAGED
    try:
        template = yaml.load(path.read_text(), YAML)  # noqa: S506  either is safe
    except FileNotFoundError:
        raise PackageError(f"there is no package in {directory}: make package STAGE={stage}") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise PackageError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(template, dict) or not isinstance(template.get("Resources"), dict):
        raise PackageError(f"{path} is no CloudFormation template: it has no Resources")
    package = Package(template, directory)
    if (packaged := _told_stages(template)) != {stage}:
        told = ", ".join(sorted(map(str, packaged))) or "none"
        raise PackageError(f"the package in {directory} is of stage {told}, not {stage}: make package STAGE={stage}")
    for _, properties, name in _code_of(template):
        if isinstance(properties[name], str) and not (directory / properties[name]).is_file():
            raise PackageError(f"the package in {directory} lacks {properties[name]}: make package STAGE={stage}")
    built_for = _architectures(template)
    if architecture is not None and built_for != {architecture}:
        raise PackageError(f"the package in {directory} is for {', '.join(sorted(built_for))}, not {architecture}")
    return package


def unmapped(package: Package, functions: Collection[str]) -> Package:
    """The package without the event source mappings of functions, each by its name in `app.py`.

    Raises: PackageError for a name that no mapping invokes.
    Why:    a stack makes a mapping anew, at the stream's beginning, when it was deployed without it first.
    """
    template: Template = orjson.loads(orjson.dumps(package.template))
    mapped = {
        properties["Handler"].removeprefix("app."): properties
        for _, properties, name in _code_of(template)
        if name == "CodeUri" and MAPPED & {event["Type"] for event in properties.get("Events", {}).values()}
    }
    if unknown := sorted(set(functions) - mapped.keys()):
        raise PackageError(f"no mapping invokes {', '.join(unknown)}: there are those of {', '.join(sorted(mapped))}")
    for function in functions:
        del mapped[function]["Events"]
    return replace(package, template=template)


class Bucket:
    """The bucket of whoever deploys, from which CloudFormation and Lambda take what they need."""

    def __init__(self, s3: Any, name: str) -> None:
        self._s3 = s3
        self._name = name

    def ensure(self) -> None:
        """See that the bucket is there and in the stage's region; on a machine's own endpoint it is made.

        Raises: PackageError, naming the bucket. Why: Lambda takes no code from a bucket of another region.
        """
        region = self._s3.meta.region_name
        try:
            answer = self._s3.head_bucket(Bucket=self._name)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in NOT_THERE and is_local(self._s3.meta.endpoint_url):
                self._s3.create_bucket(Bucket=self._name)
                return
            if code in NOT_THERE:
                raise PackageError(f"there is no bucket {self._name}: make it in {region}, or name another") from None
            if code in NOT_YOURS:
                raise PackageError(f"bucket {self._name} is not yours to use: name another") from None
            raise
        there = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", region)
        if there != region:
            raise PackageError(f"bucket {self._name} is in {there}, and the stage would be in {region}")

    def put_code(self, package: Package) -> Template:
        """Upload the package's zips. Returns: the template that says where they are."""
        template: Template = orjson.loads(orjson.dumps(package.template))
        keys: dict[Path, str] = {}
        for _, properties, name in _code_of(template):
            if not isinstance(properties[name], str):
                continue  # it stands in some bucket already
            path = package.directory / properties[name]
            keys[path] = keys.get(path) or self._put(path.read_bytes(), path.suffix)
            properties[name] = {"Bucket": self._name, "Key": keys[path]}
        return template

    def put_template(self, template: Template) -> str:
        """Upload the template. Returns: its URL. Why: CloudFormation takes 51 200 bytes in a call, and 1 MB from S3."""
        key = self._put(orjson.dumps(template), ".json")
        return f"{self._s3.meta.endpoint_url}/{self._name}/{key}"

    def _put(self, body: bytes, suffix: str) -> str:
        key = f"{KEY_PREFIX}{hashlib.sha256(body).hexdigest()}{suffix}"
        try:
            self._s3.head_object(Bucket=self._name, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] != "404":
                raise
            self._s3.put_object(Bucket=self._name, Key=key, Body=body)
        return key


def _code_of(template: Template) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Logical id, properties, and the name of the property that says where the code is."""
    for logical_id, resource in template.get("Resources", {}).items():
        name = CODE.get(resource.get("Type", ""))
        if name is not None and name in resource.get("Properties", {}):
            yield logical_id, resource["Properties"], name


def _told_stages(template: Template) -> set[str]:
    """The stages that the functions are told they are of."""
    return {each["STAGE"] for each in functions_variables(template).values() if "STAGE" in each}


def _architectures(template: Template) -> set[str]:
    return {built_for for each in functions(template).values() for built_for in each.get("Architectures", [X86_64])}


def is_bucket_name(text: str) -> bool:
    """Whether a bucket may be called so."""
    return re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", text) is not None
