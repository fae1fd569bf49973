"""Domains that run: one incarnation for each domid, in the states that xl shows.

Domids only grow and every try uses one up (xen.md 9). Pauses are counted (xen.md 4). A uuid or a name may be there
twice, since xl looks only when it makes a domain (xen.md 12).
"""

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise

import msgspec
from immutables import Map

from xensnap.model import Disk, Domain, DomainUuid, DomId, GuestKind, RunState

replace = msgspec.structs.replace


_OLD_LOGS = 10
"""So many logs of the same name are kept: `.log.1` is the latest of them (libxl_create_logfile of Xen 4.17)."""

VIRT_CAPS = ("pv", "hvm", "hap", "gnttab-v1", "gnttab-v2")
"""What `xl info` tells of Debian's Xen, which is built without shadow paging (xen-live.md A1)."""


class Shutdown(StrEnum):
    """Why a domain executes nothing any more: the fifth letter of its state (xen.md 2)."""

    NO = ""
    POWEROFF = "poweroff"
    REBOOT = "reboot"
    SUSPEND = "suspend"
    CRASH = "crash"


class Traits(msgspec.Struct, frozen=True):
    """What there is to say of a domain beside its name and disks.

    Attributes:
        drivers: whether an HVM guest has PV drivers; it unplugs its emulated disks then, and suspends itself.
        pinned: whether the operator's file gives a uuid; without, each start has a new one.
        operator_disks: what the operator's file names, or None where the description is ours.
        memory_bytes: length of a save file's body.
        items: what its configuration says beside all this, as `configurations` keeps it.
        served: the vdevs of the disks whose backend its configuration names.
    """

    kind: GuestKind = GuestKind.PV
    drivers: bool = True
    pinned: bool = True
    operator_disks: tuple[Disk, ...] | None = None
    memory_bytes: int = 16384
    items: str = ""
    served: frozenset[str] = frozenset()


class Incarnation(msgspec.Struct, frozen=True):
    """A domain from its making to its end.

    Attributes:
        qemu, watcher: processes that serve it and look after it; 0 for none.
        log: the file that the watcher writes into, called as the domain was when it was started.
        stopped: whether the watcher is held by SIGSTOP.
        lets_suspends_pass: whether the watcher is a program of ours, which a save does not end.
        reboots_from: the disks that the watcher would start it from.
        built: whether it has a memory; until then xl shows it with none (xen.md 13).
        ran: whether it has executed anything since it was made.
        builder: the pid of the xl that made it; 0 where nobody asked for its steps.
        attached: the vdevs of the disks that it was not made with.
        detached: those that libxl's file still has, though they are gone.
        closing: those that could not be detached.
    """

    domid: int
    uuid: str
    name: str
    traits: Traits
    disks: tuple[Disk, ...]
    reboots_from: tuple[Disk, ...]
    qemu: int = 0
    watcher: int = 0
    log: str = ""
    stopped: bool = False
    lets_suspends_pass: bool = False
    pauses: int = 1
    shutdown: Shutdown = Shutdown.NO
    dying: bool = False
    built: bool = False
    ran: bool = False
    builder: int = 0
    dirty_logged: bool = False
    attached: frozenset[str] = frozenset()
    detached: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()

    @property
    def state(self) -> RunState:
        """As xl shows it; one without memory is on its way in, or was left there, and nothing can be done with it."""
        if self.dying or not self.built:
            return RunState.DYING
        match self.shutdown:
            case Shutdown.NO:
                return RunState.PAUSED if self.pauses else RunState.RUNNING
            case Shutdown.SUSPEND:
                return RunState.SUSPENDED
            case Shutdown.CRASH:
                return RunState.CRASHED
            case _:
                return RunState.SHUTDOWN

    @property
    def executes(self) -> bool:
        """Whether the guest runs."""
        return self.state is RunState.RUNNING

    @property
    def suspends_itself(self) -> bool:
        """Whether a save needs the guest's own help; only an HVM guest without PV drivers is stopped from outside."""
        return self.traits.kind is not GuestKind.HVM or self.traits.drivers


class Xen(msgspec.Struct, frozen=True):
    """What the hypervisor and xl know beside the stored configurations.

    Attributes:
        logs: what daemons and QEMUs have written, by the names of the files in /var/log/xen.
        found: whether an xl that is started finds the hypervisor.
        answers: whether an xl hears anything of xenstored.
    """

    there: Map[int, Incarnation] = Map()
    traits: Map[str, Traits] = Map()
    next_domid: int = 1
    virt_caps: tuple[str, ...] = VIRT_CAPS
    logs: Map[str, str] = Map()
    found: bool = True
    answers: bool = True

    def logged(self, file: str, text: str, *, anew: bool = False) -> "Xen":
        """With this added to a log; a new daemon or QEMU begins its own, and those before it are turned over."""
        logs = _turned_over(self.logs, file) if anew else self.logs
        return replace(self, logs=logs.set(file, logs.get(file, "") + text))

    def logs_dirty(self, kind: GuestKind) -> bool:
        """Whether it can tell which pages of such a guest have changed (xen-live.md A1)."""
        return "shadow" in self.virt_caps or (kind is not GuestKind.PV and "hap" in self.virt_caps)

    def told(self, stored: Domain, incarnation: Incarnation) -> Domain:
        """A domain as the host tells it: what is stored, how it is doing, and what cannot be done with it."""
        kind = incarnation.traits.kind
        return Domain(
            DomainUuid(incarnation.uuid),
            incarnation.name,
            incarnation.state,
            stored.disks,
            DomId(incarnation.domid),
            stored.described_by,
            kind,
            "" if self.logs_dirty(kind) else f"Xen cannot log dirty pages of a {kind} guest without shadow paging",
            # Before it has run nobody can see whether it has drivers (xen.md 3).
            "a guest that is paused cannot suspend itself"
            if incarnation.suspends_itself or not incarnation.ran
            else "",
            stored.memory_bytes,
            not incarnation.ran,
            stored.described_in,
        )

    def of(self, uuid: str) -> tuple[Incarnation, ...]:
        """The incarnations of a domain that are there now."""
        return tuple(each for each in self if each.uuid == uuid)

    def __iter__(self) -> Iterator[Incarnation]:
        return (self.there[domid] for domid in sorted(self.there))

    def putting(self, incarnation: Incarnation) -> "Xen":
        """With this incarnation in the place of its former self."""
        return replace(self, there=self.there.set(incarnation.domid, incarnation))

    def without(self, domid: int) -> "Xen":
        """The domain is gone; its domid never comes back."""
        return replace(self, there=self.there.delete(domid))


def _turned_over(logs: Map[str, str], file: str) -> Map[str, str]:
    """The log of this name has become the first of the old ones, each of which is one older, and the oldest is gone."""
    if file not in logs:
        return logs
    names = [file, *(f"{file}.{number}" for number in range(1, _OLD_LOGS + 1))]
    turned = {older: logs[newer] for newer, older in pairwise(names) if newer in logs}
    for name in names:
        logs = logs.delete(name) if name in logs else logs
    return logs.update(turned)
