import subprocess
import sys

import localstage
from localstage import aws
from localstage.stage import LocalStage


def test_sessions_share_what_they_have_read_of_the_services_and_nothing_else():
    first, second = aws.session(), aws.session()
    assert first is not second
    assert first._session.get_component("data_loader") is second._session.get_component("data_loader")
    assert first._session.get_component("event_emitter") is not second._session.get_component("event_emitter")
    assert (first.region_name, first.get_credentials().access_key) == ("us-east-1", "local")


def test_the_stage_is_there_for_whoever_asks_and_its_processes_do_not_import_it():
    assert localstage.LocalStage is LocalStage
    asked = "import sys, localstage.emulator; sys.exit('localstage.stage' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0
