"""The dashboard in Chromium, on a local stage: the right numbers, kept up to date, for everyone who may see them."""

import csv
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.chromium import leave_out
from tests.browser.dashboard import Dashboard
from tests.browser.shop import EXACT, ORDERS, Order, Shop, revenue

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
TRANSFERRED_BYTES_MAX = 100_000  # compressed, as API Gateway does it
REFRESHED_MS_MAX = 15_000  # refreshes are 5 s apart
BY_CURRENCY = "?metric=orders&group_by=currency&measure=revenue&refresh=0"


def problem(route: Route, status: int, title: str, **headers: str) -> None:
    route.fulfill(
        status=status,
        headers={"Content-Type": "application/problem+json", **headers},
        body=f'{{"title": "{title}", "detail": "so it is", "status": {status}}}',
    )


# ---- numbers


def test_the_numbers_on_the_page_are_the_orders(dashboard: Dashboard, shop: Shop) -> None:
    dashboard.open(BY_CURRENCY)
    assert dashboard.card("count") == "6"
    assert dashboard.card("revenue") == revenue(ORDERS) == "6,227.7734567890123456789"
    assert dashboard.card("smallest") == str(EXACT)
    assert dashboard.card("largest") == "5,000.00"
    assert dashboard.top() == [
        ("EUR", revenue(ORDERS, currency="EUR")),
        ("USD", "1,207.25"),
        ("GBP", "0.50"),
    ]
    assert dashboard.rows("window", "currency", "count", "revenue") == [
        (shop.window(2), "EUR", "2", "20.0234567890123456789"),
        (shop.window(2), "USD", "1", "7.25"),
        (shop.window(5), "EUR", "1", "5,000.00"),
        (shop.window(5), "GBP", "1", "0.50"),
        (shop.window(20), "USD", "1", "1,200"),
    ]


def test_how_complete_the_numbers_are_is_in_view(dashboard: Dashboard, shop: Shop) -> None:
    dashboard.open(BY_CURRENCY)
    complete_until = shop.ask("v1/stream").json()["complete_until"]
    expect(dashboard.page.locator("#complete-until")).to_have_text(f"{complete_until[11:19]} UTC")
    dashboard.page.mouse.wheel(0, 5_000)
    expect(dashboard.page.locator("#complete-until")).to_be_in_viewport()
    shards = dashboard.page.locator("#shards li .unseen")
    expect(shards).to_have_count(2)
    assert all(text.endswith(" behind") for text in shards.all_inner_texts())


def test_the_page_follows_the_stream_by_itself(dashboard: Dashboard, shop: Shop) -> None:
    # Hours ago, so that these orders are in no other test's numbers.
    query = "?metric=orders&range=6h&group_by=currency&measure=count&where=order_type:live&refresh=5"
    dashboard.page.goto(f"{shop.url}/{query}")
    expect(dashboard.page.locator("#empty")).to_contain_text("No event in this range has these values.")
    shop.sell([Order("CHF", Decimal(1), 121, "live"), Order("CHF", Decimal(2), 122, "live")])
    expect(dashboard.page.locator("#top")).to_contain_text("CHF", timeout=REFRESHED_MS_MAX)
    assert dashboard.card("count") == "2"
    shop.sell([Order("CHF", Decimal(3), 123, "live")])
    expect(dashboard.page.locator(".card:has(input[value=count]) output")).to_have_text("3", timeout=REFRESHED_MS_MAX)
    assert dashboard.top() == [("CHF", "3")]


def test_the_cursor_tells_every_value_and_what_is_not_complete(dashboard: Dashboard) -> None:
    dashboard.open(BY_CURRENCY)
    box = dashboard.page.locator("#chart .u-over").bounding_box()
    assert box
    tip = dashboard.page.locator(".tip")
    dashboard.page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    assert [line.split("\n")[-1] for line in tip.locator("li").all_inner_texts()] == ["0", "0", "0"]
    dashboard.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 40)
    expect(tip).to_contain_text("not complete yet")


# ---- views


def test_a_drag_zooms_a_link_reproduces_it_and_back_returns(
    dashboard: Dashboard, shop: Shop, new_page: Callable[..., Page]
) -> None:
    dashboard.open(f"{BY_CURRENCY}&start={shop.instant(30)}&end={shop.instant(0)}")
    box = dashboard.page.locator("#chart .u-over").bounding_box()
    assert box
    dashboard.page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 60)
    dashboard.page.mouse.down()
    dashboard.page.mouse.move(box["x"] + box["width"] * 0.88, box["y"] + 70, steps=4)
    dashboard.page.mouse.up()
    expect(dashboard.page.locator("#table tbody tr")).to_have_count(2)
    assert (dashboard.query["start"], dashboard.query["end"]) == ([shop.instant(8)], [shop.instant(3)])
    rows = dashboard.rows("window", "currency", "revenue")
    assert [row[0] for row in rows] == [shop.window(5)] * 2

    there = Dashboard(new_page(), shop.url)
    there.page.goto(dashboard.page.url)
    there.wait_for_numbers()
    assert there.rows("window", "currency", "revenue") == rows
    assert there.query == dashboard.query

    dashboard.page.go_back()
    expect(dashboard.page.locator("#table tbody tr")).to_have_count(5)
    assert dashboard.query["start"] == [shop.instant(30)]


def test_the_table_is_sorted_by_a_click_to_the_last_digit(dashboard: Dashboard) -> None:
    dashboard.open(BY_CURRENCY)
    heading = dashboard.page.get_by_role("columnheader", name="revenue")
    expect(heading).to_have_attribute("aria-sort", "none")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    descending = ["5,000.00", "1,200", "20.0234567890123456789", "7.25", "0.50"]
    assert dashboard.column("revenue") == descending
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert dashboard.column("revenue") == descending[::-1]
    assert dashboard.query["sort"] == ["revenue"]


def test_filters_take_any_value_and_are_removed(dashboard: Dashboard) -> None:
    dashboard.open("?metric=orders&group_by=order_type&measure=revenue&refresh=0")
    dashboard.page.get_by_label("Dimension to filter by").select_option("order_type")
    dashboard.page.get_by_label("Value to filter by").focus()
    offered = dashboard.page.locator("#filter-values option")
    expect(offered.nth(0)).to_have_attribute("value", "gift")
    dashboard.page.get_by_label("Value to filter by").fill("a,b:c\\d")
    dashboard.page.keyboard.press("Enter")
    expect(dashboard.page.locator("#table tbody tr")).to_have_count(1)
    assert dashboard.top() == [("a,b:c\\d", "1,200")]
    assert dashboard.query["where"] == ["order_type:a\\,b\\:c\\\\d"]
    dashboard.page.get_by_role("button", name="Remove the filter").click()
    expect(dashboard.page.locator("#table tbody tr")).to_have_count(4)
    dashboard.page.locator("#top").get_by_role("button", name="<b>&").click()
    expect(dashboard.page.locator("#table tbody tr")).to_have_count(1)
    assert dashboard.card("revenue") == "0.50"


def test_metric_measure_group_and_range_are_picked(dashboard: Dashboard) -> None:
    dashboard.open(BY_CURRENCY)
    dashboard.page.get_by_label("order_type").check()
    expect(dashboard.page.locator("#chart-title")).to_have_text("revenue by currency, order_type")
    dashboard.page.get_by_label("count").check()
    expect(dashboard.page.locator("#chart-title")).to_have_text("count by currency, order_type")
    dashboard.page.get_by_label("24h").check()
    expect(dashboard.page.locator("#step")).to_contain_text("auto (5m)")
    dashboard.page.get_by_label("Metric").select_option("customers")
    expect(dashboard.page.locator("#chart-title")).to_have_text("orders by user_id")
    dashboard.wait_for_numbers()
    assert ("eve", "1") in dashboard.top()


# ---- taking it elsewhere


def test_the_csv_file_is_the_apis_answer(dashboard: Dashboard, shop: Shop) -> None:
    span = f"start={shop.instant(30)}&end={shop.instant(0)}"
    dashboard.open(f"?metric=orders&group_by=currency&measure=revenue&refresh=0&{span}")
    with dashboard.page.expect_download() as downloading:
        dashboard.page.get_by_role("button", name="Download CSV").click()
    saved = Path(downloading.value.path()).read_bytes()
    assert saved == shop.ask(f"v1/metrics/orders/windows?{span}&group_by=currency&format=csv").data
    assert len(list(csv.DictReader(io.StringIO(saved.decode())))) == 5
    assert downloading.value.suggested_filename.startswith("orders-")


def test_the_copied_command_gives_the_same_numbers_and_does_not_tell_the_token(
    dashboard: Dashboard, shop: Shop
) -> None:
    if shutil.which("curl") is None:
        leave_out("what is copied is not run: there is no curl")
    dashboard.open(f"{BY_CURRENCY}&where=order_type:a%5C,b%5C:c%5C%5Cd,standard")
    dashboard.page.get_by_role("button", name="Copy as curl").click()
    expect(dashboard.page.locator("#toast")).to_contain_text("Copied")
    command = dashboard.page.evaluate("navigator.clipboard.readText()")
    assert shop.token not in command
    environment = {**os.environ, "HIGHWATER_TOKEN": shop.token}
    answer = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True, env=environment).stdout
    answered = json.loads(answer, parse_float=str, parse_int=str)["data"]
    assert sorted(row["revenue"] for row in answered) == sorted(
        text.replace(",", "") for text in dashboard.column("revenue")
    )
    assert len(answered) == 3


# ---- what goes wrong


def test_a_refusal_says_why_and_what_to_do(dashboard: Dashboard, shop: Shop) -> None:
    dashboard.page.goto(f"{shop.url}/?metric=orders&start=2026-11-25T10:00:30Z&end=2026-11-25T11:00:00Z")
    expect(dashboard.page.get_by_role("alert")).to_contain_text("nearest are 2026-11-25T10:00:00Z")
    expect(dashboard.page.locator("#complete-until")).to_contain_text("UTC")
    dashboard.page.get_by_role("button", name="Show the last hour").click()
    dashboard.wait_for_numbers()
    assert "start" not in dashboard.query
    assert len(dashboard.complaints) > 0
    assert all("status of 400" in complaint for complaint in dashboard.complaints)
    dashboard.complaints.clear()


def test_a_step_that_makes_more_windows_than_can_be_drawn_is_not_asked_for(dashboard: Dashboard, shop: Shop) -> None:
    dashboard.page.goto(f"{shop.url}/?metric=orders&range=30d&step=1m&refresh=0")
    expect(dashboard.page.get_by_role("alert")).to_contain_text("43200 windows of 1m")
    dashboard.page.get_by_role("button", name="Choose the step automatically").click()
    dashboard.wait_for_numbers()
    assert "step" not in dashboard.query


def test_numbers_that_cannot_be_renewed_stay(dashboard: Dashboard) -> None:
    dashboard.open(BY_CURRENCY)
    dashboard.page.route(
        "**/windows?*",
        lambda route: problem(route, 503, "The answer could not be read in time", **{"Retry-After": "1"}),
    )
    dashboard.page.get_by_role("button", name="Refresh now").click()
    expect(dashboard.page.locator("#banner")).to_contain_text("The answer could not be read in time")
    assert dashboard.card("count") == "6"
    dashboard.page.unroute("**/windows?*")
    expect(dashboard.page.locator("#banner")).to_be_hidden()
    dashboard.complaints.clear()


def test_a_range_that_ends_before_it_begins_is_not_asked_for(dashboard: Dashboard) -> None:
    dashboard.open(BY_CURRENCY)
    dashboard.page.get_by_role("radio", name="custom").check(force=True)
    dashboard.page.locator("#start").fill("2026-11-25T12:00")
    dashboard.page.locator("#end").fill("2026-11-25T11:00")
    dashboard.page.get_by_role("button", name="Apply").click()
    assert dashboard.page.locator("#end").evaluate("end => end.validationMessage") == "The end lies before the start."
    assert "start" not in dashboard.query
    dashboard.page.locator("#end").fill("2026-11-25T13:00")
    dashboard.page.get_by_role("button", name="Apply").click()
    expect(dashboard.page.locator("#custom")).to_be_visible()
    assert dashboard.query["end"] == ["2026-11-25T13:00:00Z"]


def test_a_cursor_behind_the_end_of_a_shorter_range_spoils_nothing(dashboard: Dashboard) -> None:
    dashboard.open("?metric=orders&range=24h&group_by=currency&measure=revenue&refresh=0")
    whole_range = dashboard.page.locator("#chart-range").inner_text()
    dashboard.page.locator("#chart").focus()
    dashboard.page.keyboard.press("End")  # the cursor stands at the last window, and half as many are left by …
    dashboard.page.keyboard.press("+")
    expect(dashboard.page.locator("#chart-range")).not_to_have_text(whole_range)
    expect(dashboard.page.locator("#main")).to_have_attribute("aria-busy", "false")
    assert dashboard.complaints == []


def test_a_token_is_asked_for_kept_in_the_tab_and_forgotten(new_page: Callable[..., Page], shop: Shop) -> None:
    dashboard = Dashboard(new_page(token=None), shop.url)
    dashboard.page.goto(f"{shop.url}/{BY_CURRENCY}")
    dialog = dashboard.page.get_by_role("dialog", name="This stage asks for an access token")
    expect(dashboard.page.locator("#controls")).to_be_hidden()
    dialog.get_by_label("Access token").fill("cut short…")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_role("alert")).to_contain_text("This is no token")
    dialog.get_by_label("Access token").fill("wrong")
    dialog.get_by_role("button", name="Continue").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The stage did not accept this token")
    dialog.get_by_label("Access token").fill(shop.token)
    dashboard.page.keyboard.press("Enter")
    dashboard.wait_for_numbers()
    assert dashboard.card("count") == "6"
    assert shop.token not in dashboard.page.url
    dashboard.page.reload()
    dashboard.wait_for_numbers()
    dashboard.page.get_by_role("button", name="Forget token").click()
    expect(dialog).to_be_visible()
    expect(dashboard.page.locator("#picture")).to_be_hidden()
    assert all("status of 401" in complaint for complaint in dashboard.complaints)


def test_a_token_for_other_metrics_shows_those_and_says_so_of_this_one(
    new_page: Callable[..., Page], shop: Shop
) -> None:
    dashboard = Dashboard(new_page(token=shop.customers_token), shop.url).open("?refresh=0")
    assert dashboard.page.locator("#metric option").all_inner_texts() == ["customers"]
    dashboard.page.goto(f"{shop.url}/{BY_CURRENCY}")
    expect(dashboard.page.get_by_role("alert")).to_contain_text("The token may not read this metric")
    dashboard.page.get_by_role("button", name="Show the first metric").click()
    dashboard.wait_for_numbers()
    assert dashboard.query["metric"] == ["customers"]


# ---- for everyone


def test_it_is_used_without_a_pointer(dashboard: Dashboard, shop: Shop) -> None:
    dashboard.open(BY_CURRENCY)
    dashboard.page.keyboard.press("Tab")
    expect(dashboard.page.get_by_role("link", name="Skip to the numbers")).to_be_focused()
    dashboard.page.keyboard.press("Enter")
    expect(dashboard.page.locator("#chart")).to_be_focused()
    assert dashboard.query["metric"] == ["orders"], "skipping left the view"
    dashboard.page.keyboard.press("End")
    readout = dashboard.page.locator("#readout")
    expect(readout).to_contain_text("not complete yet: EUR no value")
    dashboard.page.keyboard.press("Home")
    dashboard.page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("EUR 0, USD 0, GBP 0")
    dashboard.page.keyboard.press("+")
    expect(dashboard.page.locator("#custom")).to_be_visible()
    assert "start" in dashboard.query


def test_a_narrow_screen_scrolls_one_way(dashboard: Dashboard) -> None:
    dashboard.open(BY_CURRENCY)
    for width in (768, 375, 320):
        dashboard.page.set_viewport_size({"width": width, "height": 800})
        chart_width = dashboard.page.locator("#chart").evaluate("chart => chart.clientWidth")
        expect(dashboard.page.locator("#chart canvas")).to_have_js_property("clientWidth", chart_width)
        assert dashboard.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(new_page: Callable[..., Page], shop: Shop, scheme: str) -> None:
    if not AXE.is_file():
        leave_out("accessibility is not looked at: there is no axe-core (make test installs it, with npm)")
    dashboard = Dashboard(new_page(color_scheme=scheme), shop.url)
    dashboard.page.add_init_script(path=AXE)
    dashboard.open(f"{BY_CURRENCY}&where=order_type:standard")
    found = dashboard.page.evaluate("axe.run()")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []


# ---- how it comes


def transferred_bytes(page: Page) -> Callable[[], int]:
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    return lambda: sum(sizes)


def test_it_is_small_and_asks_no_other_host(dashboard: Dashboard, shop: Shop) -> None:
    hosts: set[str] = set()
    dashboard.page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    total = transferred_bytes(dashboard.page)
    dashboard.open(BY_CURRENCY)
    assert hosts == {urlsplit(shop.url).netloc}
    assert 0 < total() <= TRANSFERRED_BYTES_MAX


@pytest.mark.parametrize("ending", ["", "/"])
def test_it_stands_under_a_stages_name_with_and_without_a_slash(dashboard: Dashboard, shop: Shop, ending: str) -> None:
    assert shop.url.endswith("/api")
    dashboard.page.goto(f"{shop.url}{ending}{BY_CURRENCY}")
    dashboard.wait_for_numbers()
    assert dashboard.card("count") == "6"
    assert urlsplit(dashboard.page.url).path == "/api/"
