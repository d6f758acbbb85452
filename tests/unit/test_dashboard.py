"""The dashboard's page and assets as answers: types, caching, policy, base; and that nothing leads to another host."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest

from chalicelib.dashboard import pages
from chalicelib.http import finish

STATIC = Path(pages.__file__).parent / "static"
VERSION = pages.version()


class Links(HTMLParser):
    """What a page names: its base, every address in it, and what a policy without `unsafe-inline` would refuse."""

    def __init__(self, text):
        super().__init__()
        self.base, self.addresses, self.inline = None, [], []
        self._tag = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "base":
            self.base = given["href"]
        else:
            self.addresses += [given[name] for name in ("href", "src") if name in given]
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self._tag = tag if tag in ("script", "style") else None

    def handle_data(self, text):
        if self._tag and text.strip():
            self.inline.append(text)


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/", "/"),
        ("/api", "/api/"),
        ("/api/", "/api/"),
        ("/base/api", "/base/api/"),
        ("//host/", "/host/"),
        ("/\\host", "/%5Chost/"),
        ('/"><script>', "/%22%3E%3Cscript%3E/"),
    ],
)
def test_the_page_names_the_base_that_its_links_are_relative_to(path, base):
    links = Links(pages.answer_page(path).body)
    assert links.base == base
    assert [each for each in links.addresses if re.match(r"[a-z]+:|/", each)] == []


def test_the_page_is_asked_for_each_time_and_not_sent_again():
    answer = finish(pages.answer_page("/api/"), None)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-cache"
    again = finish(pages.answer_page("/api/"), answer.headers["ETag"])
    assert (again.status, again.body) == (304, "")
    assert finish(pages.answer_page("/other/"), answer.headers["ETag"]).status == 200


def test_the_pages_policy_lets_in_its_own_host_alone_and_nothing_inline():
    answer = finish(pages.answer_page("/"), None)
    directives = dict(each.split(" ", 1) for each in answer.headers["Content-Security-Policy"].split("; "))
    assert directives["default-src"] == "'none'"
    assert set(directives.values()) == {"'none'", "'self'"}
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert Links(answer.body).inline == []


def test_every_address_in_the_page_is_an_asset():
    for address in Links(pages.answer_page("/").body).addresses:
        if address != "#main":
            assert address.startswith(f"assets/{VERSION}/")
            assert pages.answer_asset(VERSION, address.rpartition("/")[2]).status == 200, address


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("main.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
        ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
    ],
)
def test_an_asset_is_kept_for_ever_under_its_version(name, content_type):
    answer = finish(pages.answer_asset(VERSION, name), None)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_an_asset_of_another_version_is_the_one_of_now_and_is_not_kept():
    answer = pages.answer_asset("0" * 16, "main.js")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.body == pages.answer_asset(VERSION, "main.js").body


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "LICENSE", "../pages.py", "%2e%2e%2fpages.py", ""])
def test_what_is_no_asset_is_a_problem(name):
    answer = finish(pages.answer_asset(VERSION, name), None)
    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert msgspec.json.decode(answer.body)["status"] == 404


def test_no_asset_names_another_host():
    own = [path for path in STATIC.rglob("*.*") if path.suffix in {".html", ".css", ".js", ".svg"}]
    assert len(own) > 10
    for path in own:
        code = re.sub(r"/\*.*?\*/|//[^\n]*github[^\n]*", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        addresses = set(re.findall(r"[a-z]+://[^\"'\s)]+", code)) - {"http://www.w3.org/2000/svg"}  # a name, not a link
        assert addresses == set(), path.name


def test_modules_import_modules_beside_them():
    modules = {path.name: path.read_text(encoding="utf-8") for path in (STATIC / "modules").glob("*.js")}
    imported = {name for text in modules.values() for name in re.findall(r'from "\./([a-z]+\.js)";', text)}
    assert imported == modules.keys() - {"main.js"}
    assert not [name for name, text in modules.items() if re.search(r'from "(?!\./)', text)]
