"""The dashboard as the tests use it: what stands on the page, read as people read it."""

from collections.abc import Sequence
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import ConsoleMessage, Page, expect

LOADED_MS_MAX = 20_000


class Dashboard:
    """One page. `complaints` are what the browser said against it: errors, refusals of the policy, exceptions."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._url = url
        page.set_default_timeout(LOADED_MS_MAX)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, query: str = "") -> "Dashboard":
        """Open a view and wait for its numbers."""
        self.page.goto(f"{self._url}/{query}")
        self.wait_for_numbers()
        return self

    def wait_for_numbers(self) -> None:
        """Wait until what was asked for is on the page."""
        expect(self.page.locator("#picture")).to_be_visible(timeout=LOADED_MS_MAX)
        self.page.wait_for_load_state("networkidle")

    @property
    def query(self) -> dict[str, list[str]]:
        """What the URL says."""
        return parse_qs(urlsplit(self.page.url).query, keep_blank_values=True)

    def card(self, measure: str) -> str:
        """A measure's value over the range."""
        return self.page.locator(f".card:has(input[value={measure}]) output").inner_text()

    def column(self, name: str) -> list[str]:
        """A column of the table, from the top."""
        headings = self.page.locator("#table thead th").all_inner_texts()
        place = [heading.strip().split(" (")[0] for heading in headings].index(name)
        cells = self.page.locator(f"#table tbody tr > :nth-child({place + 1})").all_inner_texts()
        return [cell.strip() for cell in cells]

    def rows(self, *columns: str) -> list[tuple[str, ...]]:
        """The table's rows, of these columns."""
        return list(zip(*map(self.column, columns), strict=True))

    def top(self) -> list[tuple[str, str]]:
        """The largest groups: name and value."""
        names: Sequence[str] = self.page.locator("#top .name").all_inner_texts()
        return list(zip(names, self.page.locator("#top b").all_inner_texts(), strict=True))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)
