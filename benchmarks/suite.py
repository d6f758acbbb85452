"""Sections: each measures one thing, alone or with the others in one run, and its result is kept as JSON.

A section is a module of this package with

    NAME                          what it is called on the command line and its result's file
    measure(options, progress)    measures; returns figures that are JSON
    describe(figures)             what the figures say: a `page.Part`, for the terminal and for docs/performance.md

and, where it can be set, `Settings`, a msgspec Struct with defaults, and `QUICK`, one of those that is done in seconds;
where packages beyond `result.PACKAGES` matter, their names as `PACKAGES`; where its figures are of another run and only
read, `IS_OF_ANOTHER_RUN`: it is left out unless it is named. What belongs together in one ratio is
measured in turns within its section, for the machine is shared and drifts. `Y`, the yardstick, is in
`benchmarks.yardstick`.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields, replace
from rich.progress import Progress

from benchmarks.result import Result, machine, now, revision, versions

# In the order of the page; each in the module of its name.
SECTIONS = (
    "engines",
    "ingest_cpu",
    "costs",
    "write_units",
    "rollup_units",
    "growth_shards",
    "growth_groups",
    "growth_queries",
    "query_items",
    "query_latency",
    "fan_out_latency",
    "cold_start",
    "memory",
    "loadtest",
)


class Options(Struct, frozen=True):
    """How a section is to measure.

    Shapes: settings is of the section's `Settings`, None if it has none; given, what changed them.
    """

    is_quick: bool = False
    settings: Any = None
    given: Sequence[str] = ()


class OptionsError(ValueError):
    """There is no such section or setting; the text names it in one line."""


def sections() -> dict[str, ModuleType]:
    """The sections that there are, by name."""
    here = Path(__file__).parent
    there = [name for name in SECTIONS if (here / f"{name}.py").exists() or (here / name).is_dir()]
    return {name: import_module(f"benchmarks.{name}") for name in there}


def options_of(section: ModuleType, values: Mapping[str, str], *, is_quick: bool) -> Options:
    """The section's settings, with these values, as text, in place of defaults; several values lie between commas.

    Raises: OptionsError for a setting that it has not, or of another kind.
    """
    if not hasattr(section, "Settings"):
        if values:
            raise OptionsError(f"{section.NAME} has nothing to set")
        return Options(is_quick)
    settings: Struct = section.QUICK if is_quick else section.Settings()
    named = {field.name: field for field in fields(settings)}
    changed: dict[str, Any] = {}
    for name, text in values.items():
        if name not in named:
            raise OptionsError(f"{name} is no setting of {section.NAME}; there are: {', '.join(named)}")
        is_of_many = isinstance(getattr(settings, name), tuple)
        value = [each for each in text.split(",") if each] if is_of_many else text
        try:
            changed[name] = msgspec.convert(value, named[name].type, strict=False)
        except msgspec.ValidationError as error:
            raise OptionsError(f"{section.NAME}: {name}={text}: {error}") from None
    return Options(is_quick, replace(settings, **changed), [f"--set {name}={text}" for name, text in values.items()])


def run(section: ModuleType, options: Options, progress: Progress) -> Result:
    """Measure a section."""
    started = now()
    figures = section.measure(options, progress)
    quick = ["--quick"] if options.is_quick else []
    return Result(
        section=section.NAME,
        command=" ".join(["python -m benchmarks", section.NAME, *quick, *options.given]),
        date=started,
        revision=revision(),
        is_quick=options.is_quick,
        settings=msgspec.to_builtins(options.settings),
        machine=machine(),
        versions=versions(getattr(section, "PACKAGES", ())),
        figures=msgspec.to_builtins(figures),
    )


def warn(text: str) -> None:
    """Tell what went wrong, in one line."""
    sys.stderr.write(f"benchmarks: {' '.join(text.split())}\n")
