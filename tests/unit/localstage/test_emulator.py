"""What an emulated AWS leaves behind: nothing, and nothing of one that was killed."""

import os
import subprocess
import sys

from localstage.emulator import Emulator


def test_it_clears_away_what_it_wrote_and_what_one_that_is_gone_has_left(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, another = tmp_path / f"aws-{gone.pid}-4566", tmp_path / f"aws-{os.getppid()}-4567"
    for folder in (left, another):
        (folder / "ministack-lambda-ingest").mkdir(parents=True)
    with Emulator(0, tmp_path / "aws.log") as emulator:
        assert not left.exists()
        assert (tmp_path / f"aws-{os.getpid()}-{emulator.port}").is_dir()
    assert {path.name for path in tmp_path.iterdir()} == {"aws.log", another.name}
