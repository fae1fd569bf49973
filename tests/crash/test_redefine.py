"""Death at every effect of recording snapshots that exist in the images already."""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import GUEST, guest, judge, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import RedefineRequest, Told, ToldDisk
from xensnap.model import Kind


def with_tags_of_others(kinds: str, *, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """A guest whose images have two tags that nobody has recorded."""
    host = guest(kinds, host_kind=host_kind)
    for place, tag in enumerate(("theirs", "also theirs")):
        scribble(host, place)
        for disk in Engine(host).view(GUEST).domain.disks:
            host.run(host.images.snapshot_create(disk.layer, tag=tag))
    return host


@pytest.mark.parametrize("kinds", ["i", "ii"])
def test_record_what_exists(kinds: str) -> None:
    host = with_tags_of_others(kinds)
    vdevs = [disk.vdev for disk in Engine(host).view(GUEST).domain.disks]
    child, root = (
        Told(tag, tuple(ToldDisk(vdev, Kind.INTERNAL, tag) for vdev in vdevs), parent=parent)
        for tag, parent in (("also theirs", "theirs"), ("theirs", None))
    )
    assert judge(host, lambda engine: engine.perform(GUEST, RedefineRequest((child, root)))) > 30
