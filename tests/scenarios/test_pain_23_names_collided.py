"""Two snapshots had one name, since both were taken within a second; an overlay was written over an older one.

`qemu-img create` asks nobody, and QEMU 7.2 gives one tag to two snapshots of an image.
Source: OpenNebula/one#4653, stratis-storage/stratisd#1289, twilligon/backup-vm#17.
"""

import pytest

from simulator import SimulatedHost
from simulator.faults import damage as d
from simulator.tools.qemu_img import CreateOverlay
from tests.scenarios.stage import CLUSTER, GUEST, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DiskChoice
from xensnap.errors import Refused
from xensnap.model import Kind


def test_a_script_that_names_by_the_second_has_two_of_one_name() -> None:
    host = guest("i")
    world = host.world
    for _ in range(2):
        world = d.damaged(world, d.AddTag("/images/xvda.qcow2", "1790000000"))
    image = Engine(SimulatedHost(world)).view(GUEST).images["/images/xvda.qcow2"]
    assert image is not None
    assert [entry.tag for entry in image.snapshots] == ["1790000000"] * 2


def test_a_script_empties_the_overlay_that_is_there() -> None:
    host = guest("e")
    used = host.create_image("/images/nightly.qcow2", "qcow2", 4 * CLUSTER)
    host.write_layer(used, 0, CLUSTER)
    before = host.visible_layer(used)
    assert host.operate(CreateOverlay(used.path, "xvda.raw", "raw", 4 * CLUSTER)) == ""
    assert host.visible_layer(used) != before


def test_the_engine_names_apart_what_is_taken_within_a_second() -> None:
    host = guest("ie")
    scribble(host, 0)
    engine = Engine(host)
    for _ in range(5):
        engine.create(GUEST, CreateRequest())
    snapshots = engine.list(GUEST).contents.snapshots
    assert len(snapshots) == 5
    assert len({snapshot.creation_time_s for snapshot in snapshots.values()}) < 5
    tags = [disk.tag or disk.image.path for each in snapshots.values() for disk in each.disks]
    assert len(tags) == len(set(tags)) == 10


def test_the_engine_writes_over_no_file() -> None:
    host = guest("e")
    used = host.create_image("/images/nightly.qcow2", "qcow2", 4 * CLUSTER)
    for path in (used.path, "/images/xvda.raw"):
        request = CreateRequest("nightly", disks={"xvda": DiskChoice(Kind.EXTERNAL, path)})
        before = host.world.fs
        with pytest.raises(Refused) as refused:
            Engine(host).create(GUEST, request)
        assert [reason.id for reason in refused.value.reasons] == ["overlay-exists"]
        assert host.world.fs.inode(path).stored is before.inode(path).stored
