"""Whether guests and domains are sound: no memory over disks of another moment, nobody left standing still."""

from collections.abc import Iterator

from simulator.checkers import Finding
from simulator.guest import mismatches
from simulator.world import World, life
from xensnap.model import RunState


def torn(world: World) -> Iterator[Finding]:
    """Guests whose running disks are not those that they remember."""
    for incarnation in world.xen:
        guest = world.guests.get(incarnation.domid)
        for disk in incarnation.disks if guest else ():
            shows = life.shown(world, incarnation.domid, disk.vdev)
            subject = f"{incarnation.name} {disk.vdev}"
            if shows is None:
                yield Finding("disk-missing", subject, "QEMU does not have it open")
            elif guest and (wrong := mismatches(guest.memory, disk.vdev, shows[1])):
                text = f"it shows (sectors from, to, write) {wrong[:3]}, which the guest does not remember"
                yield Finding("memory-and-disk-disagree", subject, text)


def standing(world: World) -> Iterator[Finding]:
    """Domains that are paused or suspended, guests whose file systems are frozen, and watchers that are stopped."""
    for incarnation in world.xen:
        if incarnation.state in {RunState.PAUSED, RunState.SUSPENDED, RunState.DYING}:
            yield Finding("left-standing", incarnation.name, f"it is {incarnation.state}")
        guest = world.guests.get(incarnation.domid)
        if guest is not None and guest.frozen:
            yield Finding("left-frozen", incarnation.name, "its file systems are frozen")
        if incarnation.stopped:
            yield Finding("watcher-left-stopped", incarnation.name, f"pid {incarnation.watcher}")


def twins(world: World) -> Iterator[Finding]:
    """Domains that are there twice, as two restores of one file at the same time make them (xen.md 12)."""
    uuids = [incarnation.uuid for incarnation in world.xen]
    for uuid in sorted({uuid for uuid in uuids if uuids.count(uuid) > 1}):
        yield Finding("domain-twice", uuid, f"{uuids.count(uuid)} incarnations")


def alone(world: World) -> Iterator[Finding]:
    """Domains whose watcher has gone: nobody reboots or cleans them up (xen.md 1)."""
    for incarnation in world.xen:
        if not incarnation.watcher:
            yield Finding("watcher-lost", incarnation.name, f"domid {incarnation.domid}")
