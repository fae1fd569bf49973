"""A script ran qemu-img on the image of a guest that ran. Months later the snapshot was needed, and was not there.

QEMU keeps tables in memory and writes them back over whatever another process has put into the file. Under Xen it takes
no lock that would keep anybody out.
Source: apache/cloudstack#3193, #3194, #4032, and the warning in qemu-img's manual.
"""

import pytest

from tests.crash.running import running, sound
from tests.scenarios.stage import CLUSTER, GUEST, Naive, guest, held, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Busy
from xensnap.model import Format, Layer

IMAGE = Layer("/images/xvda.qcow2", Format.QCOW2)


def test_a_script_is_told_that_all_went_well_and_the_snapshot_goes_with_the_next_write() -> None:
    host = running("i")
    assert Naive(host).tag(IMAGE.path, "by-hand") == ""
    assert host.visible_snapshot(IMAGE, "3") is not None
    host.guest_writes(GUEST, "xvda", 0, CLUSTER, flush=True)
    assert host.visible_snapshot(IMAGE, "3") is None


def test_the_engine_asks_the_qemu_that_has_the_image() -> None:
    host = running("ie")
    Engine(host).create(GUEST, CreateRequest("second", disk_only=True))
    kept = held(host)
    for vdev in ("xvda", "xvdb"):
        host.guest_writes(GUEST, vdev, 0, CLUSTER, flush=True)
    assert held(host) == kept
    Engine(host).delete(GUEST, DeleteRequest("second"))
    sound(host, "")


def test_the_engine_touches_no_image_that_somebody_has_open() -> None:
    host = guest("i")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("clean"))
    pid = host.open_image(IMAGE.path, command="qemu-nbd")
    before = host.world.fs.inode(IMAGE.path).stored
    for request in (CreateRequest("more"), RevertRequest("clean"), DeleteRequest("clean")):
        with pytest.raises(Busy, match="qemu-nbd"):
            Engine(host).perform(GUEST, request)
        assert host.world.fs.inode(IMAGE.path).stored is before
    host.end_process(pid)
    Engine(host).create(GUEST, CreateRequest("more"))
