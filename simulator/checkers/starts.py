"""Whether a domain would go on from where it is: what it starts from next shows what its running disks show."""

from collections.abc import Iterator

from simulator.checkers import Finding
from simulator.checkers.content import Visible, difference
from simulator.disk.chain import OpenError, visible
from simulator.world import World, life
from xensnap.model import Disk


def elsewhere(world: World) -> Iterator[Finding]:
    """Running domains that a reboot, or a save and restore, would give other disks than they have now (design 5.9).

    An empty overlay shows what its base shows, so the names need not be the same at every instant: what they lead to
    must be.
    """
    for incarnation in world.xen:
        if incarnation.domid not in world.qemus or incarnation.dying:
            continue
        sources = {
            "its watcher": incarnation.reboots_from,
            "the stored configuration": world.domains[incarnation.uuid].disks,
        }
        for disk in incarnation.disks:
            shows = life.shown(world, incarnation.domid, disk.vdev)
            for source, disks in sources.items() if shows else ():
                assert shows is not None
                if text := _unlike(world, shows, disk.vdev, disks):
                    yield Finding("starts-elsewhere", f"{incarnation.name} {disk.vdev}", f"{source}: {text}")


def _unlike(world: World, shown: Visible, vdev: str, disks: tuple[Disk, ...]) -> str:
    named = next((disk for disk in disks if disk.vdev == vdev), None)
    if named is None:
        return "the disk is not there"
    try:
        given = visible(world.fs, named.layer)
    except OpenError as error:
        return f"{named.path} does not open: {error}"
    return "" if given == shown else f"{named.path}: {difference(shown, given)}"
