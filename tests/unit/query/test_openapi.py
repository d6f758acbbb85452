"""The description of the API: what it says is what requests are checked by."""

import re

import msgspec
import pytest

from app import app
from chalicelib.query import parameters
from chalicelib.query.dead_letters import parse_dead_letters_request
from chalicelib.query.errors import ParameterError
from chalicelib.query.openapi import OPERATIONS, describe_api
from chalicelib.query.request import parse_request
from tests.builders import CATALOG
from tests.unit.query.shop import NOW_MS

BEARER = {"type": "http", "scheme": "bearer"}
NOT_DESCRIBED = {"/", "/assets/{version}/{name}", "/openapi.json"}  # pages, and the description itself


def test_every_route_of_the_api_is_described_and_no_other():
    described = set(describe_api(BEARER)["paths"])
    assert described == {operation.path for operation in OPERATIONS}
    assert described == set(app.routes) - NOT_DESCRIBED
    assert all(set(methods) == {"GET"} for methods in app.routes.values())


def test_it_names_no_metric():
    text = msgspec.json.encode(describe_api(BEARER)).decode()
    assert not [name for name in ("orders", "customers", "order_status") if re.search(rf'"{name}"', text)]


@pytest.mark.parametrize("parameter", parameters.WINDOWS_PARAMETERS, ids=lambda parameter: parameter.name)
def test_the_example_of_a_windows_parameter_is_accepted(parameter):
    if parameter.name == "cursor":
        with pytest.raises(ParameterError, match="not the `next`"):  # one of another answer
            parse_request(CATALOG.metrics["orders"], {"cursor": [parameter.example]}, NOW_MS)
    else:
        parse_request(CATALOG.metrics["orders"], {parameter.name: [parameter.example]}, NOW_MS)
    assert re.fullmatch(parameter.schema.get("pattern", ".*"), parameter.example)


@pytest.mark.parametrize("parameter", parameters.DEAD_LETTERS_PARAMETERS, ids=lambda parameter: parameter.name)
def test_the_example_of_a_dead_letters_parameter_is_accepted(parameter):
    parse_dead_letters_request({parameter.name: [parameter.example]}, NOW_MS)


def test_where_access_is_needed_it_is_said_of_every_operation_but_the_public_ones():
    operations = {path: methods["get"] for path, methods in describe_api(BEARER)["paths"].items()}
    assert [path for path, operation in operations.items() if not operation["security"]] == ["/v1/health"]
    guarded = [operation for operation in operations.values() if operation["security"]]
    assert all({"401", "403", "503"} <= set(operation["responses"]) for operation in guarded)


def test_where_no_access_is_needed_none_is_described():
    described = describe_api(None)
    assert "securitySchemes" not in described["components"]
    assert not any(methods["get"]["security"] for methods in described["paths"].values())


def test_every_reference_leads_somewhere():
    described = describe_api(BEARER)
    for reference in set(re.findall(r'"#/([^"]+)"', msgspec.json.encode(described).decode())):
        place = described
        for name in reference.split("/"):
            place = place[name]
