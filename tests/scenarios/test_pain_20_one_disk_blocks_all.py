"""One raw disk, an ISO or an empty drive among the disks, and the whole snapshot was refused, or half of it made.

Source: virt-lightning/virt-lightning#272, retspen/webvirtmgr#356, cockpit-project/cockpit-machines#1440, #1566,
OpenNebula/one#6622, xapi-project/xen-api#4551.
"""

from simulator import SimulatedHost
from simulator.tools.qemu_img import SnapshotCreate
from tests.scenarios.stage import GUEST, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.model import Disk, Excluded, Format, Kind


def story() -> SimulatedHost:
    """A qcow2 disk and a raw one, a seed image that is only read, an ISO, and a drive with nothing in it."""
    host = guest("ie")
    scribble(host, 0)
    for path in ("/images/seed.raw", "/images/install.iso"):
        host.create_image(path, "raw")
    host.attach(GUEST, Disk("xvdc", "/images/seed.raw", Format.RAW, readonly=True))
    host.attach(GUEST, Disk("xvdd", "/images/install.iso", Format.RAW, readonly=True, cdrom=True))
    host.attach(GUEST, Disk("xvde", "", Format.RAW, readonly=True, cdrom=True))
    return host


def test_a_script_has_tagged_one_disk_when_the_next_refuses() -> None:
    host = story()
    disks = Engine(host).view(GUEST).domain.disks
    words = [host.operate(SnapshotCreate(disk.layer, "nightly")) for disk in disks[:2]]
    assert words[0] == ""
    assert words[1]


def test_the_engine_takes_each_disk_as_it_is_and_says_what_it_leaves_out() -> None:
    host = story()
    engine = Engine(host)
    before = host.visible(GUEST)
    engine.create(GUEST, CreateRequest("nightly"))
    snapshot = engine.list(GUEST).contents.snapshots["nightly"]
    assert {disk.vdev: disk.kind for disk in snapshot.disks} == {"xvda": Kind.INTERNAL, "xvdb": Kind.EXTERNAL}
    assert snapshot.excluded == (
        Excluded("xvdc", "read-only"),
        Excluded("xvdd", "cdrom"),
        Excluded("xvde", "cdrom"),
    )
    for vdev in ("xvda", "xvdb"):
        host.write(GUEST, vdev)
    engine.revert(GUEST, RevertRequest("nightly"))
    assert host.visible(GUEST) == before
