"""Tells what a stage could not count: `python -m ops.dead_letters --stage S [--endpoint-url U]`.

Counts by reason, and of each reason the newest error. Payloads are not shown; the bucket keeps them whole.
"""

import sys
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from chalicelib.aws.dead_letters_reader import DeadLettersReader
from chalicelib.errors import TransientError
from ops import aws
from ops.arguments import REFUSED, Parser, url
from ops.survey import Surveyed, by_reason, letters_bucket, survey

SHOWN = 0


def summary(surveyed: Sequence[Surveyed]) -> Table:
    """Counts by reason, and the newest error of each."""
    counts, newest = by_reason(surveyed)
    table = Table("reason", "dead letters", "newest arrived", "its error")
    for reason, count in counts.most_common():
        table.add_row(reason, f"{count:,}", newest[reason].arrived_at, newest[reason].error)
    for each in surveyed:
        if each.fault:
            table.add_row("unreadable", "?", each.day, f"{each.key}: {each.fault}")
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0, or 2 when the bucket cannot be read."""
    parser = Parser(prog="python -m ops.dead_letters", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", required=True, help="whose dead letters")
    parser.add_argument(
        "--endpoint-url", type=url, help="where S3 is (default: as botocore, AWS_ENDPOINT_URL included)"
    )
    options = parser.parse_args(argv)
    try:
        s3 = aws.client("s3", options.endpoint_url)
        reader = DeadLettersReader(s3, letters_bucket(options.stage))
        table = summary(survey(reader, reader.list_all()))
    except (BotoCoreError, ClientError, TransientError) as error:
        sys.stderr.write(f"ops.dead_letters: the dead letters cannot be read: {aws.reason(error)}\n")
        return REFUSED
    Console().print(table if table.row_count else "There are no dead letters.")
    return SHOWN


if __name__ == "__main__":
    sys.exit(main())
