"""`python -m ops.package --stage S [--arch x86_64|arm64] [--out out]`: makes a stage's package, and tells its sizes."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ops.arguments import REFUSED, Parser
from ops.package import DEPLOYMENT_BYTES_MAX, UNZIPPED_BYTES_MAX, Package, package
from ops.package.archive import LARGEST
from ops.package.dependencies import MACHINES
from ops.package.errors import PackageError

PROJECT_DIR = Path(__file__).resolve().parents[2]


def summary(made: Package) -> Table:
    """Each archive's size against its budget, and what takes the most of it."""
    table = Table("", "MB zipped", "MB unzipped", "MB at most", box=None, header_style="bold")
    for column in table.columns[1:]:
        column.justify = "right"
    for archive in made.archives:
        zipped_max = f"{DEPLOYMENT_BYTES_MAX / 1e6:.0f} zipped" if archive is made.deployment else ""
        table.add_row(
            f"[bold]{archive.path.name}",
            f"{archive.zipped_bytes / 1e6:.2f}",
            f"{archive.unzipped_bytes / 1e6:.1f}",
            zipped_max,
        )
        for name, size in archive.parts.most_common(LARGEST):
            table.add_row(f"  {name}", f"{size / 1e6:.2f}", "", "")
    unzipped_max = f"{UNZIPPED_BYTES_MAX / 1e6:.0f} unzipped"
    table.add_row("[bold]together", "", f"{made.unzipped_bytes / 1e6:.1f}", unzipped_max)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0, or 2 when the package cannot be made."""
    parser = Parser(prog="python -m ops.package", description="Makes a stage's package, and tells its sizes.")
    parser.add_argument("--stage", required=True, help="a stage of .chalice/config.json")
    parser.add_argument("--arch", choices=[*MACHINES], help="of the functions (default: the stage's)")
    parser.add_argument("--out", type=Path, default=Path("out"), help="the folder of the package (default: out)")
    options = parser.parse_args(argv)
    console = Console()
    try:
        with console.status(f"stage {options.stage}") as status:
            made = package(
                PROJECT_DIR,
                options.stage,
                options.out,
                options.arch,
                progress=lambda text: status.update(f"stage {options.stage}: {text}"),
            )
    except (PackageError, OSError) as error:
        sys.stderr.write(f"ops.package: {error}\n")
        return REFUSED
    console.print(summary(made))
    console.print(
        f"Stage {options.stage} for {made.architecture}, in {options.out}: deploy {made.template_path.name}.",
        soft_wrap=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
