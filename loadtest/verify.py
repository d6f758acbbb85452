"""Proves a load test again from what it recorded: `python -m loadtest.verify FOLDER [--api-url URL]`.

Reads the folder's recording.json, asks the stage for all of it once more, and writes report.json and report.html anew.
The API's token is read from HIGHWATER_TOKEN. Exit code: 0 exact and the objectives held, 1 a difference, 2 refused,
3 exact with an objective missed, or too little is proved.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from rich.console import Console
from rich.status import Status

from chalicelib.errors import TransientError
from chalicelib.records.letter import LettersError
from loadtest import report
from loadtest.expectation import expect
from loadtest.proof import Api, ApiError, Verdict, prove
from loadtest.proof.letters import stored
from loadtest.recording import Recording, StageKind, read
from loadtest.target import TargetError, given_token
from ops import aws
from ops.arguments import REFUSED, Parser, url
from ops.survey import letters_bucket


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = _parser()
    options = parser.parse_args(argv)
    folder: Path = options.folder
    try:
        recording = read(folder / "recording.json")
    except (OSError, msgspec.MsgspecError) as error:
        return _refuse(f"{folder} has no recording: {_reason(error)}")
    try:
        api = Api(options.api_url or recording.stage.api_url, given_token())
    except TargetError as error:
        parser.error(str(error))
    console = Console(highlight=False)
    try:
        with console.status("reckoning what has to be counted") as status:
            verdict = _prove(recording, api, status, endpoint_url=options.endpoint_url)
        made = report.make(recording, verdict)
        report.write(made, folder)
    except ApiError as error:
        return _refuse(f"the stage does not answer: {error}")
    except (BotoCoreError, ClientError, TransientError) as error:
        return _refuse(f"the stored dead letters cannot be read: {aws.reason(error)}")
    except LettersError as error:
        return _refuse(f"a stored dead letter is corrupt: {error}")
    except (OSError, ValueError) as error:
        return _refuse(f"{folder}: {_reason(error)}")
    report.show(made, console)
    return verdict.exit_code


def _prove(recording: Recording, api: Api, status: Status, *, endpoint_url: str | None) -> Verdict:
    expected = expect(recording.run, recording.ledgers)
    letters = None
    if recording.stage.kind is not StageKind.OWN:  # others' dead letters stand beside the run's
        bucket = letters_bucket(recording.stage.name)
        letters = stored(aws.client("s3", endpoint_url), bucket, recording.run.started_ms)
    status.update("asking the stage for every group of every window")
    return prove(recording, expected, api, letters=letters)


def _refuse(why: str) -> int:
    sys.stderr.write(f"loadtest.verify: {why}\n")
    return REFUSED


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split())


def _parser() -> Parser:
    parser = Parser(prog="python -m loadtest.verify", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a run's folder, out/loadtest/RUN_ID")
    parser.add_argument("--api-url", type=url, help="where the stage's API is (default: where the run found it)")
    parser.add_argument(
        "--endpoint-url", type=url, help="where S3 is, for a stage's dead letters (default: as botocore)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
