"""AppArmor, SELinux or a mode refused one file in the middle of a merge; the script went on and removed the overlay.

Source: kevoreilly/CAPEv2#2431, OpenNebula/one#6565, twilligon/backup-vm#17, libvirt issue 806, CVE-2025-13193.
"""

import errno

import pytest

from simulator import Cut, SimulatedHost
from tests.crash.harness import every_effect, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.errors import ExitCode, XensnapError
from xensnap.model import Format, Layer


def test_a_script_removes_what_it_could_not_merge() -> None:
    host = guest("e")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("clean"))
    scribble(host, 1)
    newest = host.visible(GUEST)
    overlay, base = Engine(host).view(GUEST).domain.disks[0].path, Layer("/images/xvda.raw", Format.RAW)
    host.run(host.files.set_immutable(base.path, on=True))  # stands for whatever refuses to write there
    assert "not permitted" in Naive(host).commit(overlay, base)
    Naive(host).remove(overlay)
    assert host.visible_layer(base) != newest["xvda"]


@pytest.mark.every_effect
@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
@pytest.mark.parametrize("refusal", [errno.EACCES, errno.EROFS])
def test_the_engine_puts_everything_back_and_says_which_file(verb: str, refusal: int) -> None:
    host = with_history("ie")
    ended = host.fork()
    OPERATIONS[verb](Engine(ended))
    allowed = (truth(host), truth(ended))
    for number in every_effect(host, OPERATIONS[verb]):
        failing = host.fork()
        failing.fail_at(number, Cut.BEFORE, refusal)
        told = refused(failing, verb)
        healed = SimulatedHost(failing.world.ended(failing.pid))
        if told is not None and told.exit_code is ExitCode.SOMETHING_LEFT:
            Engine(healed).recover(GUEST)
        assert truth(healed) in allowed, f"effect {number}"
        assert not Engine(healed).list(GUEST).pending
        if told is not None:
            assert told.exit_code in (ExitCode.NOTHING_CHANGED, ExitCode.SOMETHING_LEFT)
            assert "ermission denied" in told.cause or "ead-only" in told.cause, told.cause


def refused(host: SimulatedHost, verb: str) -> XensnapError | None:
    try:
        OPERATIONS[verb](Engine(host))
    except XensnapError as error:
        return error
    return None
