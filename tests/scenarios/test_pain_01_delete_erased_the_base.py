"""Deleting an external snapshot erased the image that everything stood on.

A guest had a snapshot, was reverted, and the snapshot was deleted. The manager took the file named in the snapshot for
one of its own and unlinked it: the only copy of the disk. Total loss.
Source: virt-manager/virt-manager#811, libvirt issue 734, fixed in libvirt 11.0.
"""

import pytest

from tests.scenarios.stage import GUEST, Naive, fails, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest


def story():
    host = guest("e")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("clean"))
    scribble(host, 1)
    Engine(host).revert(GUEST, RevertRequest("clean"))
    return host, host.visible(GUEST)


@pytest.mark.one_door("what we have frozen carries a flag there, and cannot be removed")
def test_a_script_loses_the_disk() -> None:
    host, _ = story()
    Naive(host).remove(Engine(host).list(GUEST).contents.snapshots["clean"].disks[0].image.path)
    assert fails(lambda: host.visible(GUEST))


def test_the_engine_merges_and_loses_nothing() -> None:
    host, before = story()
    Engine(host).delete(GUEST, DeleteRequest("clean"))
    assert host.visible(GUEST) == before
    assert host.world.fs.find("/images/xvda.raw") is not None
