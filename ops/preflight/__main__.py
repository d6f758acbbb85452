"""Says whether a packaged stage is fit to run: `python -m ops.preflight --stage prod`, after `make package STAGE=prod`.

Exit code 0: all that may fail it holds; 1: something does not; 2: there is nothing to check, in one line.
With `--live` the stage that runs is held against the package, too. That is asked for and not done wherever there are
credentials: those of a shell may be another account's, and a package has to be judged alike wherever that is done.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console

from ops import aws, parameters
from ops.arguments import REFUSED, Parser, setting, url
from ops.artifacts import load_package
from ops.package.errors import PackageError
from ops.parameters import ParameterError
from ops.preflight import access, alarms, data, functions, live, mappings, releases, watch
from ops.preflight.checklist import judge
from ops.preflight.stage import PackagedStage, PreflightError, transform
from ops.preflight.table import amiss, summary, table
from ops.template import load

PROJECT_DIR = Path(__file__).resolve().parent.parent.parent
FIT, UNFIT = 0, 1
CHECKS = (
    *functions.CHECKS,
    *mappings.CHECKS,
    *data.CHECKS,
    *access.CHECKS,
    *alarms.CHECKS,
    *watch.CHECKS,
    *releases.CHECKS,
)


def read(package_dir: Path, project_dir: Path, stage: str, overrides: Mapping[str, str]) -> PackagedStage:
    """Read a stage's package, with the stage's parameters. These are looked at first: a package takes seconds to read.

    Raises: ParameterError for an unknown stage and a parameter that cannot be; PackageError without a package of the
            stage; PreflightError for one that SAM refuses.
    """
    parameters.read(project_dir, stage, load(project_dir).get("Parameters", {}), overrides)
    package = load_package(package_dir, stage)
    given = parameters.read(project_dir, stage, package.template.get("Parameters", {}), overrides)
    archive_bytes = {archive.name: archive.stat().st_size for archive in sorted(package_dir.glob("*.zip"))}
    return transform(package.template, stage, given, archive_bytes, datetime.now(UTC).date())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0 fit, 1 not, 2 nothing to check."""
    options = _parser().parse_args(argv)
    try:
        stage = read(options.package_dir, PROJECT_DIR, options.stage, dict(options.set))
        verdicts = judge(CHECKS, stage)
        if options.live:
            session: Any = aws.session()
            client = cache(lambda name: session.client(name, endpoint_url=options.endpoint_url))  # each resource asks
            verdicts += live.judge(live.LiveStage(stage, client))
    except (BotoCoreError, ClientError, PackageError, ParameterError, PreflightError) as error:
        sys.stderr.write(f"ops.preflight: {aws.reason(error)}\n")
        return REFUSED
    console = Console()
    console.print(table(verdicts, f"highwater-{options.stage}"))
    if not all(verdict.holds for verdict in verdicts):
        console.print()
        console.print(amiss(verdicts))
    console.print(summary(verdicts))
    return UNFIT if any(verdict.fails for verdict in verdicts) else FIT


def _parser() -> Parser:
    description, *_ = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m ops.preflight", description=description)
    add = parser.add_argument
    add("--stage", required=True, help="which stage")
    add("--package-dir", type=Path, default=PROJECT_DIR / "out", help="where `make package` has put it (%(default)s)")
    set_help = "a parameter in place of the one in .chalice/parameters.json; repeatable"
    add("--set", action="append", default=[], type=setting, metavar="NAME=VALUE", help=set_help)
    add("--live", action="store_true", help="hold the stage that runs against the package, too")
    add("--endpoint-url", type=url, help="where AWS is, with --live (default: as botocore, AWS_ENDPOINT_URL included)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
