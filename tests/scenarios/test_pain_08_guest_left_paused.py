"""A snapshot failed, and the guest stood still from then on: whoever had paused it was not there any more to let it go.

Source: xapi-project/xen-api#2684, xapi-project/sm#79, cocoonstack/cocoon#176.
"""

import pytest

from simulator import Cut, SimulatedHost, after_engine_crash
from simulator.checkers.guests import standing
from tests.crash.harness import every_effect
from tests.crash.running import running
from tests.scenarios.stage import GUEST
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import ExitCode, XensnapError


def test_a_script_that_fails_between_save_and_unpause_leaves_it_standing() -> None:
    host = running("i")
    assert host.xl_save(GUEST, "/images/memory", then="-p") == ""
    host.set_capacity(free_bytes=0)  # and so the snapshot of the disk fails, and with it the script
    assert [finding.rule for finding in standing(host.world)] == ["left-standing"]


@pytest.mark.every_effect
@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNACKNOWLEDGED])
def test_the_engine_lets_it_go_on_whatever_fails(cut: Cut) -> None:
    host = running("ie")
    for number in every_effect(host, checkpoint):
        failing = host.fork()
        failing.fail_at(number, cut, 5)
        try:
            checkpoint(Engine(failing))
        except XensnapError as error:
            if error.exit_code is not ExitCode.NOTHING_CHANGED:
                failing = SimulatedHost(after_engine_crash(failing.world))
                Engine(failing).recover(GUEST)
        assert not list(standing(failing.world)), f"effect {number}"


def checkpoint(engine: Engine) -> object:
    return engine.create(GUEST, CreateRequest("nightly"))
