"""Tells what a stage could not count: `python -m ops.dead_letters --stage S [--endpoint-url U]`.

Counts by reason, and of each reason the newest error. Payloads are not shown; the bucket keeps them whole.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from chalicelib.aws.dead_letters_bucket import DeadLetter, DeadLettersBucket

SHOWN, REFUSED = 0, 2


def summary(letters: Iterator[DeadLetter]) -> Table:
    """Counts by reason, and the newest error of each."""
    counts: Counter[str] = Counter()
    newest: dict[str, DeadLetter] = {}
    for letter in letters:
        counts[letter.reason] += 1
        newest[letter.reason] = max(newest.get(letter.reason, letter), letter, key=lambda each: each.arrived_at)
    table = Table("reason", "dead letters", "newest arrived", "its error")
    for reason, count in counts.most_common():
        table.add_row(reason, f"{count:,}", newest[reason].arrived_at, newest[reason].error)
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0, or 2 when the bucket cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m ops.dead_letters", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stage", required=True, help="whose dead letters")
    parser.add_argument("--endpoint-url", help="where S3 is (default: as botocore, AWS_ENDPOINT_URL included)")
    options = parser.parse_args(argv)
    try:
        s3 = boto3.client("s3", endpoint_url=options.endpoint_url)
        table = summary(DeadLettersBucket(s3, f"highwater-{options.stage}-dead-letters").read_all())
    except (BotoCoreError, ClientError) as error:
        sys.stderr.write(f"the dead letters cannot be read: {error}\n")
        return REFUSED
    Console().print(table if table.row_count else "There are no dead letters.")
    return SHOWN


if __name__ == "__main__":
    sys.exit(main())
