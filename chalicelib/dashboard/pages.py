"""The dashboard's page and its assets, as HTTP answers. No Chalice and no boto3 here.

An asset stands under a version, a digest of them all: so a browser may keep it for ever, and modules that import each
other by relative names never mix two deployments. Names are looked up, never joined into a path.
"""

from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from pathlib import Path
from string import Template
from urllib.parse import quote

from msgspec import Struct

from chalicelib.http import NEVER_STORED, HttpAnswer, Problem, etag_of

STATIC = Path(__file__).parent / "static"
PAGE = "index.html"
CONTENT_TYPES: Mapping[str, str] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Nothing inline and nothing from elsewhere. `frame-ancestors` keeps the page, which may hold a token, out of frames.
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'self'; form-action 'none'; frame-ancestors 'none'"
)
KEPT_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
ASKED_EACH_TIME = {"Cache-Control": "no-cache"}
VARY = {"Vary": "Accept-Encoding"}  # API Gateway compresses for whoever accepts it, and says nothing of it
NO_SUCH_ASSET = Problem("no-such-asset", "There is no such asset", 404)


class Asset(Struct, frozen=True):
    """A file that the page loads; a module is one that other scripts import."""

    name: str
    content_type: str
    text: str
    is_module: bool


@cache
def assets() -> Mapping[str, Asset]:
    """Every asset by its name; licences and the page itself are none."""
    files = sorted(path for path in STATIC.rglob("*") if path.suffix in CONTENT_TYPES)
    return {
        path.name: Asset(
            path.name, CONTENT_TYPES[path.suffix], path.read_text(encoding="utf-8"), path.parent.name == "modules"
        )
        for path in files
    }


@cache
def version() -> str:
    """Changes whenever an asset does."""
    digest = blake2b(digest_size=8)
    for asset in assets().values():
        digest.update(f"{asset.name}\0{asset.text}\0".encode())
    return digest.hexdigest()


def answer_page(request_path: str) -> HttpAnswer:
    """The page.

    Shapes: request_path is the path that the browser asked for, API Gateway's stage in front: `/`, `/api`, `/api/`.
    Why:    below `/api`, without the slash, relative links would lead out of the stage; so the page names its base.
    """
    modules = [asset.name for asset in assets().values() if asset.is_module]
    preloads = "\n".join(f'<link rel="modulepreload" href="assets/{version()}/{name}">' for name in modules)
    text = _page().substitute(base=_base_of(request_path), version=version(), preloads=preloads)
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "ETag": etag_of([text.encode()]),
        **ASKED_EACH_TIME,
        **VARY,
    }
    return HttpAnswer(200, headers, text)


def answer_asset(asked_version: str, name: str) -> HttpAnswer:
    """An asset; under another version, as an old page asks for it during a deployment, it is not to be kept."""
    asset = assets().get(name)
    if asset is None:
        return NO_SUCH_ASSET.answer("the dashboard has no file of this name")
    caching = KEPT_FOR_EVER if asked_version == version() else NEVER_STORED
    return HttpAnswer(200, {"Content-Type": asset.content_type, **caching, **VARY}, asset.text)


@cache
def _page() -> Template:
    return Template((STATIC / PAGE).read_text(encoding="utf-8"))


def _base_of(request_path: str) -> str:
    """The path with one slash on each side, and nothing in it that HTML or a URL would read as more than a path.

    Why: with two slashes in front, or a slash and a backslash, it would name another host.
    """
    inner = quote(request_path, safe="/%").strip("/")
    return f"/{inner}/" if inner else "/"
