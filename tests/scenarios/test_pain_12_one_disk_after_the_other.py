"""A snapshot of several disks was called atomic, and was one disk after the other; the database did not come up.

Source: xapi's own documentation of snapshots, the loop over volumes in Proxmox' AbstractConfig, OpenNebula/one#1260.
"""

import pytest

from simulator import SimulatedHost
from tests.crash.running import running
from tests.scenarios.stage import CLUSTER, GUEST
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest
from xensnap.hypervisor import TakeInternal
from xensnap.model import Kind

DISKS = ("xvda", "xvdb", "xvdc")


def story(kinds: str) -> SimulatedHost:
    """A guest that writes to its disks by turns, flushed, for as long as it runs: a journal and its data."""
    host = running(kinds)
    for vdev in DISKS:
        host.guest_never_rests(GUEST, vdev, end_bytes=4 * CLUSTER)
    return host


def of_one_moment(host: SimulatedHost, name: str) -> bool:
    """Whether no disk has a write that came after one that another disk lacks.

    The guest writes to one disk after the other, so no two newest writes are further apart than a turn.
    """
    newest = []
    for disk in Engine(host).list(GUEST).contents.snapshots[name].disks:
        shown = (
            host.visible_layer(disk.image)
            if disk.kind is Kind.EXTERNAL
            else host.visible_snapshot(disk.image, disk.fingerprint.snapshot_id)
        )
        assert shown is not None
        newest.append(max(write for _, _, write in shown[1]))
    return max(newest) - min(newest) < len(newest)


def test_a_script_takes_one_disk_after_the_other() -> None:
    host = story("iii")
    domain = Engine(host).view(GUEST).domain
    for vdev in DISKS:
        host.run(host.blocks.transaction(domain, [TakeInternal(vdev, "by-hand")]))
    newest = []
    for disk in domain.disks:
        image = host.run(host.images.inspect(disk.layer))
        shown = host.visible_snapshot(disk.layer, image.snapshots[-1].id)
        assert shown is not None
        newest.append(max(write for _, _, write in shown[1]))
    assert max(newest) - min(newest) >= len(DISKS)


@pytest.mark.parametrize("kinds", ["iii", "eee", "iee"])
def test_the_engine_takes_all_in_one_transaction(kinds: str) -> None:
    host = story(kinds)
    Engine(host).create(GUEST, CreateRequest("together", disk_only=True))
    assert of_one_moment(host, "together")
