"""The memory of checkpoints, and the guest as it is now."""

from collections.abc import Iterator

from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.repair_steps import ResumeGuest, WatchGuest
from xensnap.model import RunState


def memories(seen: Survey) -> Iterator[Finding]:
    """The memory of every checkpoint is there, and as long as it was."""
    remedy = "Put the file back from a backup; the disks can be had by themselves."
    for snapshot in seen.view.snapshots.values():
        length = seen.view.memories.get(snapshot.name)
        if not snapshot.memory or length == snapshot.memory_bytes != 0:
            continue
        if not length:
            cause = f"the memory of {snapshot.name!r} is not there or empty: {snapshot.memory}"
            yield Finding("memory-missing", Severity.ERROR, snapshot.name, cause, remedy)
        elif snapshot.memory_bytes:
            cause = f"the memory of {snapshot.name!r} is {length} bytes long and was {snapshot.memory_bytes}"
            yield Finding("memory-changed", Severity.ERROR, snapshot.name, cause, remedy)


def state(seen: Survey) -> Iterator[Finding]:
    """The guest does not stand still because of us, and its QEMU is there."""
    domain = seen.view.domain
    if domain.state is RunState.SUSPENDED and not seen.begun:
        repair = Repair("let it go on", finish=(ResumeGuest(),))
        cause = "the guest is suspended, as a save that died leaves it"
        yield Finding("guest-suspended", Severity.ERROR, domain.name, cause, repair=repair)
    if domain.state in (RunState.RUNNING, RunState.PAUSED) and seen.view.opened.unasked:
        cause = f"the domain is {domain.state}, and its QEMU cannot be asked: {seen.view.opened.unasked}"
        remedy = "If another program talks to it, wait; if QEMU has died, its disks are gone: destroy the domain."
        yield Finding("qemu-silent", Severity.ERROR, domain.name, cause, remedy)


def headers(seen: Survey) -> Iterator[Finding]:
    """What a guest reads its disks from is what their headers lead to, which is what its next start goes by."""
    for disk in seen.view.disks:
        for top in seen.view.opened.tops.get(disk.disk.vdev, ()):
            if disk.chain is None or top.file != disk.chain.active.file or len(top.below) == len(disk.chain.images) - 1:
                continue
            path = disk.disk.path
            cause = f"the guest that runs reads {disk.disk.vdev} from {', '.join((path, *top.below))}, and the headers "
            cause += (
                f"lead to {', '.join(image.layer.path for image in disk.chain)}: somebody has written one meanwhile"
            )
            name = top.below[0] if top.below else "nothing"
            remedy = "Copy what the guest has out of it before it ends, or write the header anew once it has: "
            yield Finding("header-written", Severity.ERROR, path, cause, f"{remedy}it stood on {name}.")


def watcher(seen: Survey) -> Iterator[Finding]:
    """Whoever starts the guest anew when it reboots is there. Every plain `xl save` ends it (Xen 4.17.7)."""
    if seen.watched is False:
        cause = "nobody watches the guest: it will not come back from a reboot, and a power-off leaves it lying about"
        repair = Repair("watch it from now on", prepare=(WatchGuest(),))
        yield Finding("watcher-lost", Severity.WARNING, seen.view.domain.name, cause, repair=repair)
