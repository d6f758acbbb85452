"""Issues, lists and revokes the tokens of a stage's API: `python -m ops.tokens --stage S issue|list|revoke`.

A token is shown once, on standard output and alone, so that `TOKEN=$(…)` takes it; what is kept of it is its digest.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.table import Table

from chalicelib import definitions
from chalicelib.access.errors import MalformedTokensError
from chalicelib.access.grant import ANY, Grant
from chalicelib.access.tokens import NAME_RULE, TOKEN_BYTES, IssuedToken, digest_of, is_name, token_of
from chalicelib.aggregates.windows import UNIT_MS, format_instant, parse_duration, parse_instant
from ops import aws
from ops.arguments import REFUSED, Parser, url
from ops.token_ledger import LedgerError, TokenLedger

DONE = 0
EXPIRES_AT_MOST = "400d"
DIGITS_SHOWN = 8
METRICS = tuple(metric.name for metric in definitions.METRICS)


def issue(ledger: TokenLedger, name: str, metrics: Sequence[str], expires_at_ms: int) -> str:
    """Issue a token. Returns: the token, which nobody can tell again.

    Raises: LedgerError when there is one of this name; as `TokenLedger.edit`.
    """
    token = token_of(secrets.token_bytes(TOKEN_BYTES))
    issued = IssuedToken(Grant(name, tuple(metrics), expires_at_ms), digest_of(token))

    def add(tokens: Sequence[IssuedToken]) -> list[IssuedToken]:
        if any(each.grant.name == name for each in tokens):
            raise LedgerError(f"there is a token named {name}; revoke it, or take another name")
        return [*tokens, issued]

    ledger.edit(add)
    return token


def revoke(ledger: TokenLedger, name: str) -> None:
    """Revoke a token.

    Raises: LedgerError when there is none of this name; as `TokenLedger.edit`.
    """

    def remove(tokens: Sequence[IssuedToken]) -> list[IssuedToken]:
        kept = [each for each in tokens if each.grant.name != name]
        if len(kept) == len(tokens):
            raise LedgerError(f"there is no token named {name}")
        return kept

    ledger.edit(remove)


def summary(tokens: Sequence[IssuedToken], now_ms: int) -> Table:
    """What there is of each token to see."""
    table = Table("name", "metrics", "expires", "state", "sha256")
    for each in sorted(tokens, key=lambda token: token.grant.name):
        state = "expired" if each.grant.has_ended(now_ms) else "valid"
        expires = format_instant(each.grant.expires_at_ms)
        table.add_row(each.grant.name, ", ".join(each.grant.metrics), expires, state, each.sha256[:DIGITS_SHOWN])
    return table


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Returns: 0 done, 2 refused or unreachable."""
    now_ms = int(time.time() * 1000)
    parser = _parser()
    options = parser.parse_args(argv)
    secret = f"highwater-{options.stage}-api-tokens"
    try:
        ledger = TokenLedger(aws.client("secretsmanager", options.endpoint_url), secret)
        if options.command == "issue":
            expires_at_ms = _end(parser, options.expires, now_ms)
            token = issue(ledger, options.name, options.metrics, expires_at_ms)
            sys.stderr.write(
                f"{options.name} may read {', '.join(options.metrics)} until {format_instant(expires_at_ms)}\n"
            )
            sys.stdout.write(f"{token}\n")
        elif options.command == "revoke":
            revoke(ledger, options.name)
            sys.stderr.write(
                f"{options.name} is revoked; what API Gateway and the functions keep ends within minutes\n"
            )
        else:
            _show(summary(ledger.read(), now_ms))
    except (BotoCoreError, ClientError, LedgerError, MalformedTokensError) as error:
        sys.stderr.write(f"ops.tokens: {_reason(error, secret)}\n")
        return REFUSED
    return DONE


def _show(table: Table) -> None:
    Console().print(table if table.row_count else "There are no tokens.")


def _reason(error: Exception, secret: str) -> str:
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
        return f"there is no secret {secret}; `python -m ops.resources` or a deployment makes it"
    if isinstance(error, MalformedTokensError):
        return f"{secret}: {error}; docs/operations.md says what to do"
    return aws.reason(error)


def _parser() -> Parser:
    description, *_ = (__doc__ or "").splitlines()
    parser = Parser(prog="python -m ops.tokens", description=description)
    parser.add_argument("--stage", required=True, help="whose API")
    where = "where Secrets Manager is (default: as botocore, AWS_ENDPOINT_URL included)"
    parser.add_argument("--endpoint-url", type=url, help=where)
    commands = parser.add_subparsers(dest="command", required=True, metavar="issue|list|revoke")
    add = commands.add_parser("issue", help="make a token, and show it this once").add_argument
    add("--name", type=_name, required=True, help=f"whose it is: {NAME_RULE}")
    add("--metrics", type=_metrics, required=True, help="what it may read, by commas; * is everything")
    add("--expires", default="90d", help=f"when it ends: 90d, or 2027-01-01; at most {EXPIRES_AT_MOST} (%(default)s)")
    commands.add_parser("list", help="show the tokens' names, and never a token")
    commands.add_parser("revoke", help="end a token").add_argument(
        "--name", type=_name, required=True, help="whose it is"
    )
    return parser


def _name(text: str) -> str:
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{NAME_RULE}, not {text[:40]!r}")
    return text


def _metrics(text: str) -> list[str]:
    if text == ANY:
        return [ANY]
    metrics = list(dict.fromkeys(name.strip() for name in text.split(",")))
    if unknown := [name for name in metrics if name not in METRICS]:
        raise argparse.ArgumentTypeError(f"no metric is named {unknown[0][:40]!r}; there are: {', '.join(METRICS)}")
    return metrics


def _end(parser: Parser, text: str, now_ms: int) -> int:
    """When a token ends, to the second."""
    try:
        end_ms = now_ms + parse_duration(text)
    except ValueError:
        try:
            end_ms = parse_instant(text)
        except ValueError:
            parser.error(f"--expires is a duration (90d), a date or an instant, not {text[:40]!r}")
    if not now_ms < end_ms <= now_ms + parse_duration(EXPIRES_AT_MOST):
        parser.error(f"--expires {text}: a token ends later than now, and within {EXPIRES_AT_MOST}")
    return end_ms - end_ms % UNIT_MS["s"]


if __name__ == "__main__":
    sys.exit(main())
