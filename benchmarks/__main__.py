"""`python -m benchmarks [SECTION …] [--quick] [--set SECTION.NAME=VALUE]`: measures, and keeps the results as JSON.

All sections if none is named. A section that fails is told in one line and the others go on; the exit code is 1 then, 2
for a section or a setting that there is not, and else 0. `--quick` only shows that every section runs: its results go
to out/benchmarks and not where those stand from which docs/performance.md is made.
"""

import argparse
import sys
import traceback
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from benchmarks import result
from benchmarks.suite import Options, OptionsError, options_of, run, sections, warn
from ops.arguments import REFUSED, Parser, setting

DONE, FAILED = 0, 1
QUICK_RESULTS = Path("out/benchmarks")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0 done, 1 a section failed, 2 refused."""
    arguments = _parser().parse_args(argv)
    try:
        asked = _asked(arguments)
    except OptionsError as error:
        warn(str(error))
        return REFUSED
    folder = arguments.results or (QUICK_RESULTS if arguments.quick else result.RESULTS)
    console, code = Console(), DONE
    with _progress(console) as progress:
        for section, options in asked:
            progress.add_task(f"[bold]{section.NAME}", total=None)
            try:
                measured = run(section, options, progress)
            except Exception as error:  # noqa: BLE001  whatever it is, the others can still be measured
                code = FAILED
                warn(f"{section.NAME}: {type(error).__name__}: {error}")
                if arguments.trace:
                    traceback.print_exc()
            else:
                for table in section.describe(measured.figures).tables:
                    console.print(table.rich())
                console.print(f"{section.NAME}: {result.write(measured, folder)}", highlight=False)
            for task in progress.task_ids:
                progress.remove_task(task)
    return code


def _asked(arguments: argparse.Namespace) -> list[tuple[ModuleType, Options]]:
    """The sections to measure, and how.

    Raises: OptionsError.
    """
    there = sections()
    of_this_run = [name for name, section in there.items() if not getattr(section, "IS_OF_ANOTHER_RUN", False)]
    names = list(dict.fromkeys(arguments.sections)) or of_this_run
    if unknown := [name for name in names if name not in there]:
        raise OptionsError(f"there is no section {unknown[0]}; there are: {', '.join(there)}")
    given: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for name, value in arguments.set:
        section, _, of_section = name.rpartition(".")
        given[section or names[0]][of_section] = value
    if unknown := [name for name in given if name not in names]:
        raise OptionsError(f"{unknown[0]} is set and not measured")
    return [(there[name], options_of(there[name], given[name], is_quick=arguments.quick)) for name in names]


def _progress(console: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks", description="Measures sections, and keeps what they measured as JSON.")
    add = parser.add_argument
    add("sections", nargs="*", metavar="SECTION", help="what to measure: all that there is if nothing is named")
    add("--quick", action="store_true", help="seconds for each, to see that they run; the figures mean little")
    set_help = "a section's setting in place of its default, a list with commas; repeatable"
    add("--set", action="append", default=[], type=setting, metavar="[SECTION.]NAME=VALUE", help=set_help)
    add("--results", type=Path, help="the folder for the results (benchmarks/results; out/benchmarks of a quick run)")
    add("--trace", action="store_true", help="where a section failed, whole")
    return parser


if __name__ == "__main__":
    sys.exit(main())
