"""Snapshots kept a guest from being resized, renamed or removed. The advice: delete the metadata, "to get past it".

Past it, every tag was still in its image, the space was gone, and no tool knew of either.
Source: vagrant-libvirt/vagrant-libvirt#78, #936; OpenNebula/one#316, #6292, #4047; abbbi/virtnbdbackup#225, #266.
"""

import pytest

from simulator import SimulatedHost
from simulator.faults import damage as d
from tests.crash.running import UUID
from tests.scenarios.stage import CLUSTER, GUEST, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest

STORE = f"/var/lib/xen/snapshots/{UUID}"


def story() -> SimulatedHost:
    host = guest("ie")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("small"))
    return host


@pytest.mark.one_door("without its store nobody there knows a domain that is off")
def test_a_script_deletes_the_metadata_and_leaves_the_snapshots() -> None:
    world = story().world
    for name in world.fs.names(STORE):
        world = d.damaged(world, d.Vanish(f"{STORE}/{name}"))
    host = SimulatedHost(world)
    assert not Engine(host).list(GUEST).contents.snapshots
    image = Engine(host).view(GUEST).images["/images/xvda.qcow2"]
    assert image is not None
    assert [entry.tag for entry in image.snapshots] == ["small"]


def test_the_engine_goes_back_over_a_resize_and_a_new_name() -> None:
    host = story()
    engine = Engine(host)
    small = host.visible(GUEST)
    for vdev in ("xvda", "xvdb"):
        host.resize(GUEST, vdev, 8 * CLUSTER)
        host.write(GUEST, vdev, 7 * CLUSTER, CLUSTER)
    engine.create(GUEST, CreateRequest("large"))
    large = host.visible(GUEST)
    host.run(host.toolstack.rename(engine.view(GUEST).domain, "renamed"))
    for name, content in (("small", small), ("large", large), ("small", small)):
        engine.revert("renamed", RevertRequest(name))
        assert host.visible("renamed") == content


@pytest.mark.one_door("without its store nobody there knows a domain that is off")
def test_deleting_them_all_leaves_plain_images_that_anything_can_be_done_to() -> None:
    host = story()
    engine = Engine(host)
    scribble(host, 1)
    before = host.visible(GUEST)
    engine.delete(GUEST, DeleteRequest(every=True))
    view = engine.view(GUEST)
    assert host.visible(GUEST) == before
    assert [disk.disk.path for disk in view.disks] == ["/images/xvda.qcow2", "/images/xvdb.raw"]
    assert not any(image.snapshots or image.backing for image in view.images.values() if image)
    assert set(host.world.fs.names(STORE)) <= {"lock", "journal", "domain.libxl-json", "reserve"}
    assert not host.run(host.files.is_immutable("/images/xvdb.raw"))
