"""A backup died, and the domain stayed "locked (snapshot-delete)" for ever; the forum knows the file to remove.

The lock was a word in a file, which nobody takes away when its writer dies.
Source: Corsinvest/cv4pve-autosnap#27, #46; apprell/proxmox-autosnap#24; OpenNebula/one#4137.
"""

from functools import partial

import pytest

from simulator import SimulatedHost
from simulator.faults.crash import after_engine_crash
from tests.scenarios.stage import GUEST, Naive, fails, guest, held, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest

LOCK = "/images/guest.lock"


def story():
    host = guest("ie")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("old"))
    return host


def script(host: SimulatedHost) -> None:
    """Takes a snapshot, with a word in a file that keeps others off meanwhile."""
    if host.run(host.files.stat(LOCK)) is not None:
        raise RuntimeError("the domain is locked (snapshot)")
    host.run(host.files.create(LOCK, b"snapshot"))
    assert Naive(host).tag("/images/xvda.qcow2", "new") == ""
    Naive(host).remove(LOCK)


def test_a_script_that_died_with_a_word_in_a_file_is_locked_out_by_itself() -> None:
    dying = guest("i")
    with dying.recording():
        script(dying)
    worlds = [SimulatedHost(after_engine_crash(point.world)) for point in dying.recorded]
    died = [after for after in worlds if after.run(after.files.stat(LOCK)) is not None]
    assert len(died) > 2
    assert all(fails(partial(script, after)) for after in died)


@pytest.mark.every_effect
def test_the_engine_goes_on_wherever_it_died() -> None:
    host = story()
    dying = host.fork()
    with dying.recording():
        Engine(dying).delete(GUEST, DeleteRequest("old"))
    for point in dying.recorded:
        after = SimulatedHost(after_engine_crash(point.world))
        Engine(after).create(GUEST, CreateRequest("new"))
        assert {name for name, _ in held(after)} >= {"new"}
