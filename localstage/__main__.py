"""Runs a stage of Highwater on this machine until Ctrl-C: emulated AWS, functions, event source mappings, HTTP API."""

import argparse
import logging
import shlex
import sys
from contextlib import nullcontext

from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.table import Table

from localstage import LocalStage, StageError
from localstage.logs import LogTail
from localstage.terminal import interrupt_on_signals, port, wait_for_a_signal
from ops.arguments import count, setting


def main(arguments: list[str] | None = None) -> int:
    """Run a stage until SIGINT or SIGTERM; return 0 then, and 2 when it cannot start."""
    options = _parser().parse_args(arguments)
    console = Console()
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    interrupt_on_signals()
    try:
        with LocalStage(
            options.stage,
            shards=options.shards,
            aws_port=options.aws_port,
            api_port=options.api_port,
            api_prefix=options.api_prefix,
            settings=dict(options.set),
            redeliver=options.redeliver,
        ) as stage:
            _show_summary(console, stage)
            with _log_tail(console, stage) if options.logs else nullcontext():
                wait_for_a_signal()
    except KeyboardInterrupt:
        return 0
    except (StageError, ValueError) as error:
        sys.stderr.write(f"localstage: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m localstage", description=__doc__)
    add = parser.add_argument
    add("--stage", default="local", help="the stage's name (%(default)s)")
    add("--shards", type=count, default=4, help="of the events stream (%(default)s)")
    add(
        "--aws-port",
        type=port,
        default=4566,
        help="of the emulated AWS, on 127.0.0.1; 0 takes a free one (%(default)s)",
    )
    add("--api-port", type=port, default=8000, help="of the HTTP API, on 127.0.0.1; 0 takes a free one (%(default)s)")
    add("--api-prefix", default="", metavar="/NAME", help="what the API stands under, as a deployed one does (nothing)")
    add("--redeliver", type=float, default=0, help="the fraction of batches delivered twice on purpose (%(default)s)")
    add("--set", action="append", default=[], type=setting, metavar="NAME=VALUE", help="a setting; repeatable")
    add("--logs", action="store_true", help="show what the functions log")
    return parser


def _show_summary(console: Console, stage: LocalStage) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold cyan", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("dashboard", f"{stage.api_url}/")
    table.add_row("API", stage.api_url)
    table.add_row("AWS", stage.endpoint_url)
    for mapping in stage.plan.kinesis:
        table.add_row("stream", f"{mapping.stream}, {stage.shards} shards → {mapping.function.handler}")
    for mapping in stage.plan.dynamodb:
        table.add_row("table", f"{mapping.stream.split('/')[1]} → {mapping.function.handler}")
    for queue in stage.plan.queues:
        table.add_row("queue", f"{queue.queue} → {queue.function.handler}")
    for schedule in stage.plan.schedules:
        table.add_row("schedule", f"{schedule.function.handler} every {schedule.seconds} s")
    if stage.plan.unserved:
        table.add_row("not served", ", ".join(stage.plan.unserved))
    table.add_row("logs", str(stage.state_dir))
    variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in stage.environment.items())
    console.print(f"\n[bold]Highwater[/bold], stage [bold]{escape(stage.stage)}[/bold], is up.\n")
    console.print(table, soft_wrap=True)
    console.print(f"\nexport {escape(variables)}", soft_wrap=True, highlight=False)
    console.print("\n[dim]Ctrl-C stops it and leaves nothing running.[/dim]")


def _log_tail(console: Console, stage: LocalStage) -> LogTail:
    def show(function: str, line: str) -> None:
        console.print(f"[dim]{escape(function)}[/dim] {escape(line)}", soft_wrap=True, highlight=False)

    return LogTail(sorted(stage.state_dir.glob(f"*-{stage.stage}*.log")), show)


if __name__ == "__main__":
    sys.exit(main())
