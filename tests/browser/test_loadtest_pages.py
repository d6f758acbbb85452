"""The pages of load tests in Chromium: wide and narrow, light and dark, alone on the disk."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from loadtest import report
from loadtest.report.page import render_comparison
from tests.browser.chromium import leave_out
from tests.unit.loadtest.report.example import make_report

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
LOOKS = [(1280, "light"), (375, "dark")]  # colours do not depend on the width


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    right, wrong = make_report(), make_report(9, slower=1.3, is_wrong=True)
    texts = {
        "exact": report.render(right),
        "different": report.render(wrong),
        "comparison": render_comparison(right, wrong),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text)
    return {name: folder / f"{name}.html" for name in texts}


def opened(browser: Browser, path: Path, width: int, scheme: str) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("name", ["exact", "different", "comparison"])
def test_axe_finds_nothing_and_nothing_is_cut(
    browser: Browser, pages: dict[str, Path], name: str, width: int, scheme: str
) -> None:
    if not AXE.is_file():
        leave_out("accessibility is not looked at: there is no axe-core (make test installs it, with npm)")
    page = opened(browser, pages[name], width, scheme)
    assert page.asked == [pages[name].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run()")
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]] == []
    page.close()


@pytest.mark.parametrize("width", [1280, 375])
def test_each_chart_is_seen_once_and_its_text_can_be_read(browser: Browser, pages: dict[str, Path], width: int) -> None:
    page = opened(browser, pages["exact"], width, "light")
    charts = page.locator("svg.chart:visible")
    assert charts.count() == 6
    sizes = charts.evaluate_all(
        "each => each.map(svg => 11 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"
    )
    assert min(sizes) > 8.5  # pixels that letters of 11 have on the screen
    page.close()


def test_colours_follow_the_scheme(browser: Browser, pages: dict[str, Path]) -> None:
    inks = []
    for scheme in ("light", "dark"):
        page = opened(browser, pages["exact"], 1280, scheme)
        inks.append(page.locator("svg.chart text").first.evaluate("text => getComputedStyle(text).fill"))
        page.close()
    assert inks == ["rgb(23, 32, 43)", "rgb(227, 233, 240)"]
