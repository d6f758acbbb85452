"""What decides what becomes of an event, in one fingerprint: definitions, settings, and the code that judges.

Two attempts at one batch have to decide alike. While a release shifts from one version of ingest to another, two of
them take turns at a shard; the release check lets them only if this is the same for both.
"""

import ast
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from chalicelib.aggregates.metric import Catalog
from chalicelib.settings import Settings

CHALICELIB = Path(__file__).resolve().parent
# The code by which a record becomes events, duplicates, dead letters, partials and effects; and by which these are
# found again: two versions that keep a partial, an id or a letter under different keys would each count the batch.
# `tests/unit/test_decisions.py` has why whatever else ingest loads is not among it.
DECIDING = (
    "definitions.py",
    "change.py",
    "effects.py",
    "records",
    "identity",
    "aggregates",
    "consumers/cache.py",
    "consumers/counted_ids.py",
    "consumers/fold.py",
    "consumers/handle.py",
    "consumers/ingest.py",
    "consumers/response.py",
    "consumers/tick.py",  # the data of a type that the decoder knows
    "aws/aggregates_keys.py",
    "aws/aggregates_table.py",
    "aws/dead_letters_bucket.py",
    "aws/events_stream.py",
    "aws/idempotency.py",  # loaded with the first effect
    "aws/idempotent_effects.py",
    "aws/ids_table.py",
    "aws/letter_objects.py",
    "wiring/decoder.py",
    "wiring/ingest.py",
    "wiring/stage.py",
    "wiring/stores.py",
)
DIGITS = 16


def fingerprint(catalog: Catalog, settings: Settings) -> str:
    """Changes whenever some event might be decided otherwise; comments and layout of the code are nothing to it.

    Why the code too: a rule that is mended decides otherwise, and no declaration would tell. It errs on the safe side:
    a mere move of code changes it, and asks for one release all at once.
    """
    digest = sha256()
    for part in (*_declared(catalog), *_set(settings), *_coded()):
        digest.update(part.encode() + b"\n")
    return digest.hexdigest()[:DIGITS]


def _declared(catalog: Catalog) -> Iterator[str]:
    for name, metric in sorted(catalog.metrics.items()):
        fields = (metric.fingerprint, metric.window_ms, metric.lateness, metric.retention_ms, metric.group_limit)
        yield repr((name, *fields))
    yield from sorted(catalog.event_types)


def _set(settings: Settings) -> Iterator[str]:
    yield repr((settings.lateness_ms, settings.future_tolerance_ms, settings.dedup_horizon_ms, settings.orders_table))
    # Where it is told what was counted and handled: by turns, each version would look in another place.
    yield repr((settings.events_stream, settings.aggregates_table, settings.ids_table, settings.idempotency_table))


def _coded() -> Iterator[str]:
    for name in DECIDING:
        path = CHALICELIB / name
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield f"{module.relative_to(CHALICELIB).as_posix()} {_meaning(module.read_text())}"


def _meaning(source: str) -> str:
    """A module's code without its comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree)
