"""The memory of checkpoints, and the guest as it is now."""

from collections.abc import Iterator

from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.repair_steps import ResumeGuest
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
