"""Images with dirty bitmaps: what the simulator says of them, and where it says that it does not model them."""

import pytest

from simulator import NotModelled, SimulatedHost
from simulator.disk.qcow2_file import encoded
from simulator.serve import programs
from simulator.tools.qemu_img import SnapshotCreate
from xensnap.errors import ToolFailed
from xensnap.model import Layer


@pytest.fixture
def host() -> SimulatedHost:
    return SimulatedHost.fresh()


def qemu_img(host: SimulatedHost, *argv: str) -> tuple[int, str, str]:
    ended = programs.run(host.world, ["qemu-img", *argv])
    host.cell.world = ended.world
    return ended.returncode, ended.stdout, ended.stderr


@pytest.fixture
def layer(host: SimulatedHost) -> Layer:
    layer = host.create_image("/images/a")
    assert qemu_img(host, "bitmap", "--add", layer.path, "b0") == (0, "", "")
    return layer


def test_our_reader_counts_them(host, layer):
    assert host.run(host.images.inspect(layer)).bitmaps == 1


def test_they_forbid_that_a_snapshot_is_made_active_and_nothing_has_changed(host, layer):
    taken = host.run(host.images.snapshot_create(layer, tag="s"))
    with pytest.raises(ToolFailed, match="active dirty bitmaps"):
        host.run(host.images.snapshot_apply(layer, snapshot_id=taken.id))
    assert '"flags": [\n                        "auto"' in qemu_img(host, "info", "--output=json", layer.path)[1]
    host.run(host.images.snapshot_delete(layer, tag="s", snapshot_id=taken.id))


def test_a_program_that_dies_leaves_them_lost(host, layer):
    world, pid = host.world.spawned(SnapshotCreate(layer, "s"), parent=1)
    host.cell.world = world.advanced(pid).ended(pid)  # half of it is done, then it is killed
    code, _, words = qemu_img(host, "bitmap", "--clear", layer.path, "b0")
    assert (code, "Bitmap 'b0' is inconsistent and cannot be used" in words) == (1, True)
    assert qemu_img(host, "resize", layer.path, "2M")[0] == 1
    assert "in-use" in qemu_img(host, "info", layer.path)[1]
    assert qemu_img(host, "bitmap", "--remove", layer.path, "b0") == (0, "", "")
    assert qemu_img(host, "resize", layer.path, "2M")[0] == 0


def test_a_file_of_such_an_image_is_refused_for_its_bits_are_not_known(host, layer):
    with pytest.raises(NotModelled, match="which bits are set"):
        encoded(host.world.fs.inode(layer.path).stored)


@pytest.mark.parametrize(
    "argv", [("bitmap", "--add", "/images/b", "b0"), ("amend", "-o", "lazy_refcounts=on", "/images/b")]
)
def test_a_running_qemu_does_not_take_such_an_image(host, argv):
    host.create_image("/images/b")
    host.add_domain("guest", disks={"xvda": "/images/b"})
    assert qemu_img(host, *argv)[0] == 0
    with pytest.raises(NotModelled, match="open in a running QEMU"):
        host.start("guest")


def test_what_a_death_leaves_of_lazy_refcounts_is_not_modelled(host):
    layer = host.create_image("/images/b")
    qemu_img(host, "amend", "-o", "lazy_refcounts=on", layer.path)
    assert qemu_img(host, "snapshot", "-c", "s", layer.path) == (0, "", "")
    with pytest.raises(NotModelled, match="lazy refcounts"):
        host.run(host.images.snapshot_create(layer, tag="t"))
