"""Makes docs/screenshots: the dashboard over a day of real orders, on a local stage of this machine.

The orders are CDNOW's of the ten months up to June 1998, moved to the last 24 hours: a day of the file is five minutes
here, so that its weeks are the waves. Currency and type, which the file does not have, come of the customer's number.

    python -m tests.browser.screenshots
"""

import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import urllib3
from playwright.sync_api import Browser

from loadtest import cdnow
from loadtest.producer import Encoding, Producer
from localstage import LocalStage, aws
from tests.browser import chromium

SCREENSHOTS = Path(__file__).resolve().parents[2] / "docs" / "screenshots"
LAST_DAY = date(1998, 6, 30)
A_DAY_IS = timedelta(minutes=5)
MOMENTS = 288  # of five minutes, in 24 hours
CURRENCIES = ("USD", "USD", "USD", "EUR", "EUR", "EUR", "GBP", "CAD", "GBP", "USD", "CHF")
ORDER_TYPES = ("standard", "standard", "gift", "standard", "preorder", "standard", "standard")
PATIENCE_SECONDS = 600


def orders(now: datetime) -> Iterator[Mapping[str, Any]]:
    """The orders as events of the last 24 hours, in the order of their times."""
    moved = []
    for purchase in cdnow.read_purchases():
        age = (LAST_DAY - purchase.date).days
        if cdnow.is_valid_order(purchase) and age < MOMENTS:
            within = timedelta(seconds=(purchase.row_number * 37) % A_DAY_IS.seconds)
            moved.append((now - A_DAY_IS * (age + 1) + within, purchase))
    for at, purchase in sorted(moved, key=lambda each: each[0]):
        event = cdnow.order_placed(purchase)
        customer = int(purchase.customer_id)
        places = {
            "currency": CURRENCIES[customer % len(CURRENCIES)],
            "order_type": ORDER_TYPES[customer // 3 % len(ORDER_TYPES)],
        }
        yield {**event, "time": f"{at:%Y-%m-%dT%H:%M:%SZ}", "data": {**event["data"], **places}}


def fill(stage: LocalStage) -> None:
    """Put the orders on the stage's stream, and wait until each is counted and every shard has ticked."""
    with Producer(aws.client("kinesis", stage.endpoint_url), f"highwater-{stage.stage}-events") as producer:
        for event in orders(datetime.now(UTC)):
            producer.put(event, Encoding.AGGREGATE)
        receipt = producer.flush()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        shards = urllib3.request("GET", f"{stage.api_url}/v1/stream").json()["shards"]
        checkpoints = {shard["shard_id"]: int(shard["checkpoint"] or 0) for shard in shards}
        if all(checkpoints[shard] > int(last) for shard, last in receipt.last_sequence_numbers.items()):
            return
        if time.monotonic() > deadline:
            raise TimeoutError("the orders were not counted in time")
        time.sleep(1)


def shoot(browser: Browser, url: str, name: str, *, width: int, height: int, scheme: Any) -> None:
    """Take one picture of the page as it is when all has arrived, with the cursor over the chart."""
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.goto(url)
    page.locator("#chart canvas").wait_for()
    page.wait_for_load_state("networkidle")
    page.locator("#chart").hover(position={"x": width * 0.35, "y": 60})
    page.screenshot(path=SCREENSHOTS / name)
    page.close()


def main() -> int:
    """Make them all."""
    executable = chromium.path()
    if executable is None:
        sys.stderr.write(f"screenshots: there is no {', '.join(chromium.NAMES)}\n")
        return 2
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as state_dir,
        LocalStage(aws_port=0, api_port=0, state_dir=Path(state_dir)) as stage,
        chromium.running(executable) as browser,
    ):
        fill(stage)
        revenue = f"{stage.api_url}/?metric=orders&range=24h&step=15m&group_by=currency&measure=revenue"
        values = f"{stage.api_url}/?metric=order_value&range=24h&step=1h&group_by=currency&measure=p95"
        shoot(browser, revenue, "dashboard-light.png", width=1440, height=960, scheme="light")
        shoot(browser, values, "dashboard-dark.png", width=1440, height=960, scheme="dark")
        shoot(browser, revenue, "dashboard-narrow.png", width=375, height=960, scheme="light")
    return 0


if __name__ == "__main__":
    sys.exit(main())
