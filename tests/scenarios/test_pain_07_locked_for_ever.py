"""A backup died, and the domain stayed "locked (snapshot-delete)" for ever; the forum knows the file to remove.

The lock was a word in a file, which nobody takes away when its writer dies.
Source: Corsinvest/cv4pve-autosnap#27, #46; apprell/proxmox-autosnap#24; OpenNebula/one#4137.
"""

import pytest

from simulator import SimulatedHost
from simulator.faults.crash import after_engine_crash
from tests.scenarios.stage import GUEST, guest, held, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest


def story():
    host = guest("ie")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("old"))
    return host


def test_a_word_in_a_file_outlives_its_writer() -> None:
    host = story()
    host.run(host.files.create("/images/guest.lock", b"snapshot-delete"))
    after = SimulatedHost(after_engine_crash(host.world))
    assert after.run(after.files.read("/images/guest.lock")) == b"snapshot-delete"


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
