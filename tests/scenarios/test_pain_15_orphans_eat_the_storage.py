"""Overlays that no snapshot knew lay about for years: 108 GB, seen by nobody.

Each was left by a snapshot that had failed or been forgotten.
Source: Corsinvest/cv4pve-admin#346; vatesfr/xen-orchestra#301, #2304, #3794; apache/cloudstack#4018.
"""

import pytest

from simulator import SimulatedHost
from simulator.checkers.leaks import files
from simulator.faults import damage as d
from simulator.faults.crash import after_engine_crash
from simulator.tools.qemu_img import CreateOverlay
from tests.scenarios.stage import CLUSTER, GUEST, guest, scribble
from xensnap.engine.doctor import Severity
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest

STRAY = "/images/xvda.xvda.0123456789ab.qcow2"


def images(host: SimulatedHost) -> set[str]:
    return {path for path, _ in files(host.world.fs) if path.endswith(".qcow2")}


def test_a_script_that_dies_leaves_an_overlay_that_nobody_will_ever_see() -> None:
    host = guest("e")
    host.run(host.files.create("/images/clean.qcow2"))
    assert host.operate(CreateOverlay("/images/clean.qcow2", "xvda.raw", "raw", 4 * CLUSTER)) == ""
    after = SimulatedHost(after_engine_crash(host.world))
    assert images(after) == {"/images/clean.qcow2"}
    assert not Engine(after).list(GUEST).contents.snapshots


@pytest.mark.every_effect
def test_the_engine_leaves_none_wherever_it_dies() -> None:
    host = guest("e")
    scribble(host, 0)
    with host.recording():
        Engine(host).create(GUEST, CreateRequest("clean"))
    for point in host.recorded:
        after = SimulatedHost(after_engine_crash(point.world))
        Engine(after).recover(GUEST)
        kept = {disk.overlay for each in Engine(after).list(GUEST).contents.snapshots.values() for disk in each.disks}
        assert images(after) == {layer.path for layer in kept if layer}


def test_the_doctor_finds_those_of_others_and_throws_nothing_away_that_holds_data() -> None:
    host = guest("e")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("clean"))
    scribble(host, 1)
    active = Engine(host).view(GUEST).domain.disks[0].path
    host = SimulatedHost(d.damaged(host.world, d.Copy(active, STRAY)))
    engine = Engine(host)
    (finding,) = engine.diagnose(GUEST).found
    assert (finding.id, finding.subject) == ("overlay-unknown", STRAY)
    engine.repair(GUEST)
    assert [each.severity for each in engine.diagnose(GUEST).found] == [Severity.NOTE]
    assert STRAY in images(host)
