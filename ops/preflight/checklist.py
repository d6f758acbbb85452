"""What a line of the checklist is: a title, why it matters, and a pure function that finds what is amiss."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from ops.preflight.stage import PackagedStage, Properties

LENIENT = frozenset({"dev", "local"})  # stages where some lines only warn: nobody is woken for them
EVERYWHERE = frozenset({"*"})
PARAMETERS, RESOURCES = ".chalice/parameters.json", ".chalice/resources.yaml"
NO_LOGICAL_ID = re.compile(r"[^A-Za-z0-9]")  # what one ends with


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be. Shapes: where, `LogicalId.Property`; mend, as that of a line."""

    where: str
    found: str
    wanted: str
    mend: str = ""


Find = Callable[[PackagedStage], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list.

    Shapes: why, why it matters, in a few words; mend, what to set and in which file; without one it is the resource
            that the finding is about, in the template.
    """

    id: str
    title: str
    why: str
    mend: str = field(default="", kw_only=True)


@dataclass(frozen=True, slots=True)
class Check(Line):
    """A line about the package. Shapes: only_warns, the stages where a finding is no failure."""

    find: Find
    only_warns: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a check on a stage. Shapes: unknown, why it cannot be told; None when it can."""

    check: Line
    findings: tuple[Finding, ...] = ()
    is_warning: bool = False
    unknown: str | None = None

    @property
    def holds(self) -> bool:
        """Whether it is known that nothing is amiss."""
        return not self.findings and self.unknown is None

    @property
    def fails(self) -> bool:
        """Whether the stage may not be deployed for it."""
        return bool(self.findings) and not self.is_warning

    @property
    def warns(self) -> bool:
        """Whether something is amiss that the stage may be deployed with."""
        return bool(self.findings) and self.is_warning

    def by_mend(self) -> dict[str, list[Finding]]:
        """The findings by what to set, in which file."""
        mended: dict[str, list[Finding]] = {}
        for finding in self.findings:
            resource = finding.where if "::" in finding.where else NO_LOGICAL_ID.split(finding.where, maxsplit=1)[0]
            mend = finding.mend or self.check.mend or f"{RESOURCES}: {resource}"
            mended.setdefault(mend, []).append(finding)
        return mended


def judge(checks: Iterable[Check], stage: PackagedStage) -> list[Verdict]:
    """Hold a stage against the checks, in their order."""
    return [
        Verdict(check, tuple(check.find(stage)), not check.only_warns.isdisjoint({stage.name, *EVERYWHERE}))
        for check in checks
    ]


def each(kind: str, path: str, wanted: Any) -> Find:
    """Every resource of this type has this value. That there is none is a finding too: it would hold of nothing."""

    def find(stage: PackagedStage) -> Iterator[Finding]:
        resources = stage.of_type(kind)
        if not resources:
            yield Finding(kind, "none", "at least one")
        yield from differences(resources, path, wanted)

    return find


def differences(resources: Mapping[str, Properties], path: str, wanted: Any) -> Iterator[Finding]:
    """Yield where these resources have another value at `path` (`A.B`) than the one wanted."""
    for logical_id, properties in resources.items():
        found = at(properties, path)
        if found != wanted:
            yield Finding(f"{logical_id}.{path}", show(found), show(wanted))


def at(properties: Any, path: str) -> Any:
    """The value at a path (`A.B.0.C`); None where there is nothing."""
    node = properties
    for step in path.split("."):
        if isinstance(node, Mapping):
            node = node.get(step)
        elif isinstance(node, list) and step.isdigit() and int(step) < len(node):
            node = node[int(step)]
        else:
            return None
    return node


def show(value: Any) -> str:
    """A value as it is told: whole, for what would be cut off may be what is amiss."""
    if value is None:
        return "not set"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def parameters(*names: str) -> str:
    """What to set, when it is one of these parameters of the stack."""
    return f"{PARAMETERS}: {' or '.join(names)}"
