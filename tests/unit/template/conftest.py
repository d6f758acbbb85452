"""The packages that the template's tests look at, each made once."""

import pytest

from tests.packaging import package, read_template, transformed

VPC = {
    "VpcId": "vpc-0123456789abcdef0",
    "VpcSubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "VpcSecurityGroupIds": "sg-0123456789abcdef0",
    "VpcRouteTableIds": "rtb-0123456789abcdef0",
}
RELEASE = {"Release": "0123456789abcdef" * 4}


@pytest.fixture(scope="session")
def packaged(tmp_path_factory):
    """The template's text, and the archive of the functions' code."""
    directory = tmp_path_factory.mktemp("project")
    return package(directory, "prod"), directory / "out" / "deployment.zip"


@pytest.fixture(scope="session")
def template_text(packaged):
    return packaged[0]


@pytest.fixture(scope="session")
def template(template_text):
    return read_template(template_text)


@pytest.fixture(scope="session")
def resources(template):
    return template["Resources"]


@pytest.fixture(scope="session")
def with_identities_text(tmp_path_factory):
    """The template with AWS identities in place of tokens, for the other architecture, with an origin let in."""
    return package(
        tmp_path_factory.mktemp("identities"),
        "dev",
        "arm64",
        API_AUTH="iam",
        API_CORS_ORIGIN="https://example.org",
    )


@pytest.fixture(scope="session")
def with_identities(with_identities_text):
    return read_template(with_identities_text)


@pytest.fixture(scope="session")
def stage(template):
    """What CloudFormation makes of the template with the parameters of a stage, and a release."""
    return transformed(template, Stage="prod", **RELEASE)


@pytest.fixture(scope="session")
def stage_in_vpc(template):
    return transformed(template, Stage="prod", ReserveConcurrency="false", **RELEASE, **VPC)
