"""The API as it is described: by its own OpenAPI document, and by docs/api.md, whose requests are made as they stand.

The stage asks for tokens, as a deployed one does. Real here: HTTP, the gateway, Lambda's runtime client; AWS is
MiniStack.
"""

import io
import os
import re
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import orjson
import pandas as pd
import pytest
import urllib3

from chalicelib.aggregates.windows import UNIT_MS
from localstage import LocalStage
from localstage.aws import client
from ops.token_ledger import TokenLedger
from ops.tokens import issue
from tests.builders import json_line, order

PAGE = Path("docs/api.md").read_text()
DEPLOYED = "https://….execute-api.eu-west-1.amazonaws.com/api"
DAY = "2026-11-24"  # as the page asks
CURRENCIES = ("EUR", "USD", "GBP")
SCHEMATHESIS = Path(__file__).parent / "schemathesis.toml"
PATIENCE_SECONDS = 30

# The description names no metric, and so nothing of one.
NAMES = {
    "metric": ["orders", "customers", "order_value", "customers_distinct"],
    "group_by": ["currency", "order_type", "currency,order_type", "user_id"],
    "measures": ["count", "revenue,mean", "orders", "p50,p99", "customers"],
    "order_by": ["-revenue", "window_start", "-window_start,currency", "user_id", "-p99", "customers"],
}


class Api(NamedTuple):
    """Where a stage's API is, and a token that reads everything."""

    url: str
    token: str

    def get(self, path):
        return urllib3.request("GET", f"{self.url}/{path}", headers={"Authorization": f"Bearer {self.token}"})


@pytest.fixture(scope="module")
def api(tmp_path_factory, recording):
    """A stage that has counted a day's orders, in three currencies."""
    events = [
        order(number, time=f"{DAY}T{number % 24:02d}:30:00Z", amount=number, currency=CURRENCIES[number % 3])
        for number in range(1, 97)
    ]
    payloads = [*map(json_line, events), b"not JSON"]
    settings = {"API_AUTH": "token", "LATENESS": "3650d", "FUTURE_TOLERANCE": "3650d"}  # whenever this runs
    settings |= recording.settings
    directory = tmp_path_factory.mktemp("stage")
    with LocalStage("test", shards=1, aws_port=0, api_port=0, state_dir=directory, settings=settings) as stage:
        ledger = TokenLedger(client("secretsmanager", stage.endpoint_url), "highwater-test-api-tokens")
        api = Api(stage.api_url, issue(ledger, "test", ["*"], int(time.time() * 1000) + UNIT_MS["d"]))
        client("kinesis", stage.endpoint_url).put_records(
            StreamName="highwater-test-events", Records=[{"Data": each, "PartitionKey": "k"} for each in payloads]
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while api.get(f"v1/metrics/orders/windows?start={DAY}&step=all&end=2026-11-25").json()["rows"] == 0:
            assert time.monotonic() < deadline, "nothing was counted"
            time.sleep(0.1)
        yield api


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", re.sub(r"(?m)^  ", "", PAGE), re.DOTALL)


def revenue_of(currency):
    return sum(number for number in range(1, 97) if CURRENCIES[number % 3] == currency)


def test_every_answer_is_as_described(api, tmp_path):
    described = urllib3.request("GET", f"{api.url}/openapi.json").json()
    for methods in described["paths"].values():
        for parameter in methods["get"]["parameters"]:
            if parameter["name"] in NAMES:
                parameter["schema"] = {"enum": NAMES[parameter["name"]]}
    (tmp_path / "openapi.json").write_bytes(orjson.dumps(described))
    st = [sys.executable, "-c", "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())"]
    done = subprocess.run(
        [
            *(*st, f"--config-file={SCHEMATHESIS}", "run", "openapi.json", f"--url={api.url}"),
            *("--seed=1", "--max-examples=25", f"--header=Authorization: Bearer {api.token}"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert "Tested: 6" in done.stdout


def test_the_type_that_a_request_says_it_is_of_is_passed_over(api):
    headers = {"Authorization": f"Bearer {api.token}", "Content-Type": "text/plain"}
    assert urllib3.request("GET", f"{api.url}/v1/metrics", headers=headers).status == 200


def test_the_curl_lines_of_the_page(api, tmp_path):
    _, hours, conditional = blocks("sh")
    environment = {**os.environ, "API": api.url, "HIGHWATER_TOKEN": api.token}

    def run(line):
        done = subprocess.run(
            ["/usr/bin/env", "bash", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout

    rows = orjson.loads(run(hours))["data"]
    assert {row["currency"]: 0 for row in rows}.keys() == set(CURRENCIES)
    assert sum(row["revenue"] for row in rows) == sum(range(1, 97))
    ask_again = f'{conditional.strip()} -w "%{{http_code}}"'
    assert (run(ask_again), (tmp_path / "answer.json").read_text()[:1]) == ("200", "{")
    assert "304" in {run(ask_again) for _ in range(3)}  # a tick may have come in between, once a minute


def test_the_python_of_the_page(api, monkeypatch):
    monkeypatch.setenv("API", api.url)
    monkeypatch.setenv("HIGHWATER_TOKEN", api.token)
    table, paged = blocks("python")
    names = {}
    table = table.replace("orders.pivot", "pivoted = orders.pivot").replace(".plot()", "")
    exec(table, names)  # noqa: S102  it is our own page
    assert dict(names["orders"].groupby("currency")["revenue"].sum()) == {each: revenue_of(each) for each in CURRENCIES}
    assert str(names["orders"]["window_start"].dt.tz) == "UTC"
    assert names["pivoted"].shape == (24, 3)
    paged = paged.replace("customers/windows", "orders/windows").replace("user_id", "currency")
    paged = paged.replace("limit=10000", f"start={DAY}&end=2026-11-25&limit=2")
    exec(paged, names)  # noqa: S102
    assert list(names["customers"]["currency"]) == sorted(CURRENCIES)


def test_what_excel_and_google_sheets_ask_for(api):
    excel = re.search(r'RelativePath = "(.*?)",\s*Query = \[(.*?)\]', PAGE)
    query = "&".join(f"{name}={value}" for name, value in re.findall(r'(\w+) = "(.*?)"', excel[2]))
    by_excel = api.get(f"{excel[1]}?{query}").data.decode()
    sheets = re.search(r'=HIGHWATER\("(.*?)"\)', PAGE)[1]
    assert by_excel == api.get(f"v1/metrics/{sheets}&format=csv").data.decode()
    read = pd.read_csv(io.StringIO(by_excel), converters={"revenue": Decimal})
    assert dict(zip(read["currency"], read["revenue"], strict=True)) == {each: revenue_of(each) for each in CURRENCIES}


def test_what_grafana_asks_for(api):
    query = orjson.loads(blocks("json")[0])
    url = query["url"].replace("${__from:date:iso}", f"{DAY}T00:00:07.123Z")
    url = url.replace("${__to:date:iso}", f"{DAY}T23:59:59.999Z")
    rows = api.get(url.removeprefix("/")).json()[query["root_selector"]]
    assert [column["selector"] for column in query["columns"]] == list(rows[0])
    assert sum(row["revenue"] for row in rows) == sum(range(1, 97))
