"""A guest was started anew from a file without `uuid=`, with a disk more: the tools took it for another one.

xl makes up a UUID at each start where the file gives none (xl.cfg(5) of Xen 4.17, "uuid"; seen on 4.17.7). What is kept
by UUID is lost sight of then, and what looks for leftovers takes the snapshots of the "other" guest for such.
"""

import pytest
from msgspec.structs import replace

from simulator import SimulatedHost
from simulator.disk.chain import OpenError
from tests.doctor.damages import OTHER, UUID
from tests.scenarios.stage import CLUSTER, GUEST, Naive, guest, held, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.model import Disk, DomainUuid, Format


def story() -> SimulatedHost:
    """Snapshots were taken one after the other, so that an image between them is empty; then one was gone back to."""
    host = guest("e")
    scribble(host, 0)
    for name in ("first", "second", "third"):
        Engine(host).create(GUEST, CreateRequest(name))
    Engine(host).revert(GUEST, RevertRequest("first"))
    return host


def made_anew(host: SimulatedHost) -> SimulatedHost:
    known = host.world.domains
    data = host.create_image("/images/data", "qcow2", CLUSTER)
    disks = (*known[UUID].disks, Disk("xvdz", data.path, Format.QCOW2))
    anew = replace(known[UUID], uuid=DomainUuid(OTHER), disks=disks)
    return SimulatedHost(replace(host.world, domains=known.delete(UUID).set(OTHER, anew)))


@pytest.mark.one_door("what we have frozen carries a flag there, and cannot be removed")
def test_a_script_that_clears_away_what_this_guest_does_not_use_loses_the_snapshots() -> None:
    host = story()
    snapshots = Engine(host).list(GUEST).contents.snapshots
    host = made_anew(host)
    used = {image.layer.path for disk in Engine(host).view(GUEST).disks for image in disk.chain or ()}
    for path in {disk.image.path for each in snapshots.values() for disk in each.disks} - used:
        Naive(host).remove(path)
    try:
        host.visible_layer(snapshots["third"].disks[0].image)
    except (OpenError, OSError):
        return
    raise AssertionError("the script has lost nothing")


@pytest.mark.one_door("the store there remembers the guest of before, too, which has its snapshots")
def test_the_doctor_lets_it_have_them_and_nothing_is_done_past_them() -> None:
    host = story()
    kept = held(host)
    host = made_anew(host)
    engine = Engine(host)
    assert not engine.list(GUEST).contents.snapshots
    (found,) = (each for each in engine.diagnose(GUEST).found if each.id == "uuid-changed")
    assert UUID in found.cause
    engine.repair(GUEST)
    assert held(host) == kept
    engine.revert(GUEST, RevertRequest("third", disks_only=True))
    assert host.visible_layer(engine.view(GUEST).domain.disks[0].layer) == kept["third", "xvda"]
