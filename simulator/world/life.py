"""Domains in a world: how they are made, stand still, go on, and end, with their QEMU, their guest and their watcher.

Every function takes the world and gives the next one. Nothing here waits; what takes several steps is a program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from simulator.core.unmodelled import NotModelled
from simulator.disk.content import SECTOR, Run
from simulator.guest import Guest, Memory
from simulator.qemu import graph
from simulator.qemu.graph import Event, Qemu
from simulator.xen import configurations, kernel
from simulator.xen import domains as stored
from simulator.xen.incarnations import Incarnation, Shutdown, Traits
from xensnap.model import Backend, Disk, Domain, DomainUuid, GuestKind, Layer, RunState

if TYPE_CHECKING:
    from simulator.world import World

replace = msgspec.structs.replace

DETACH_NS = 600_000_000
"""How long `xl block-detach` takes, whatever the guest says to it."""
_IDE_DISKS = 4
WATCHER_NS = 2_000_000_000
"""How long the watcher sleeps between the end of a domain and its next start."""


class XlError(Exception):
    """xl ends with return code 1 and these words on stderr.

    Attributes:
        world: what it leaves behind, or None where it has changed nothing.
    """

    def __init__(self, words: str, world: World | None = None) -> None:
        super().__init__(words)
        self.words = words
        self.world = world


def require(world: World, domid: int) -> Incarnation:
    """The domain with this domid, which may have gone meanwhile."""
    found = world.xen.there.get(domid)
    if found is None:
        raise XlError(f"{domid} is an invalid domain identifier (rc=-6)")
    return found


# --- making ----------------------------------------------------------------------------------------------------------


def require_name(world: World, name: str) -> None:
    """The name is free now. Two that ask at the same time are both told yes (xen.md 12)."""
    for incarnation in world.xen:
        if incarnation.name == name:
            raise XlError(f'Domain with name "{name}" already exists.')


def made(world: World, *, uuid: str, name: str, traits: Traits, disks: tuple[Disk, ...]) -> tuple[World, int]:
    """A new domain, paused and without anything in it. Its domid is used up whatever happens next."""
    domid = world.xen.next_domid
    incarnation = Incarnation(domid, uuid, name, traits, disks, disks)
    xen = replace(world.xen.putting(incarnation), next_domid=domid + 1)
    known = world.domains.get(uuid) or Domain(DomainUuid(uuid), name, RunState.OFF, (), kind=traits.kind)
    domain = stored.off(known, name=name, disks=disks)
    xen = replace(xen, traits=xen.traits.set(uuid, traits))
    return replace(world, xen=xen, domains=world.domains.set(uuid, domain)), domid


def attached(world: World, domid: int) -> World:
    """Its disks: xl looks whether the files exist, QEMU whether they open, and nobody asks QEMU (xen.md 8)."""
    incarnation = require(world, domid)
    for disk in incarnation.disks:
        if disk.path and world.fs.find(disk.path) is None:
            words = f"libxl: failed to stat {disk.path}: No such file or directory"
            raise XlError(words, destroyed(world, domid))
    world, pid = world.started(f"qemu-system-i386 -xen-domid {domid}")
    emulated = _emulated(incarnation.disks) if incarnation.traits.kind is GuestKind.HVM else None
    found = sorted(incarnation.disks, key=stored.in_xenstore)
    fs, qemu = graph.started(world.fs, pid, found, emulated=emulated)
    xen = world.xen.putting(replace(incarnation, qemu=pid))
    xen = xen.logged(f"qemu-dm-{incarnation.name}.log", "".join(f"{line}\n" for line in qemu.log), anew=True)
    return replace(world, fs=fs, xen=xen, qemus=world.qemus.set(domid, qemu))


def _emulated(disks: tuple[Disk, ...]) -> list[graph.Emulated]:
    """The first four disks by their names, in the order of the configuration: libxl has a PC with four (4.17.7)."""
    if any(disk.vdev.startswith("sd") for disk in disks):
        raise NotModelled("an HVM guest with SCSI disks")
    places = [(disk, stored.place_of(disk.vdev)) for disk in disks]
    return [graph.Emulated(disk, place, stored.number_of(disk)) for disk, place in places if place < _IDE_DISKS]


def booted(world: World, domid: int) -> World:
    """A guest that remembers nothing, about to begin."""
    boot = world.boots + 1
    world = replace(world, xen=world.xen.putting(replace(require(world, domid), built=True)))
    return replace(world, guests=world.guests.set(domid, Guest(Memory(boot, latest=world.writes))), boots=boot)


def watched(world: World, domid: int, *, anew: bool = True) -> World:
    """The daemon that reboots and cleans up the domain; it goes on in its log after a reboot."""
    return _watched(world, f"xl create {require(world, domid).name}", domid, anew=anew)


def stood_in(world: World, domid: int) -> World:
    """A program of ours watches instead of a daemon that was lost; what has happened meanwhile it acts on at once."""
    if require(world, domid).watcher:
        return world
    world = _watched(world, f"xensnap.backends.xen.stand_in {domid}", domid, anew=False)
    incarnation = replace(require(world, domid), lets_suspends_pass=True)
    return watchers_looked(replace(world, xen=world.xen.putting(incarnation)))


def _watched(world: World, command: str, domid: int, *, anew: bool) -> World:
    incarnation = require(world, domid)
    world, pid = world.started(command)
    log = f"xl-{incarnation.name}.log"
    words = f"Waiting for domain {incarnation.name} (domid {domid}) to die [pid {pid}]\n"
    xen = world.xen.putting(replace(incarnation, watcher=pid, log=log))
    return replace(world, xen=xen.logged(log, words, anew=anew))


# --- standing still and going on -------------------------------------------------------------------------------------


def changed(world: World, incarnation: Incarnation) -> World:
    """An incarnation in another state; its guest runs exactly while that state says so."""
    guest = world.guests.get(incarnation.domid)
    now = world.clock.monotonic_ns
    if guest is not None and guest.runs != incarnation.executes:
        if incarnation.executes:
            guest = guest.going(now)
            incarnation = replace(incarnation, ran=True)
        else:
            guest = guest.stopped(now)
        world = replace(world, guests=world.guests.set(incarnation.domid, guest))
    return replace(world, xen=world.xen.putting(incarnation))


def paused(world: World, domid: int) -> World:
    """One pause more (xen.md 4)."""
    incarnation = require(world, domid)
    return changed(world, replace(incarnation, pauses=incarnation.pauses + 1))


def unpaused(world: World, domid: int) -> World:
    """One pause less. Of a domain that is not paused, or is suspended, xl complains and exits 0 (xen.md 4, 5, 7)."""
    incarnation = require(world, domid)
    if not incarnation.pauses or incarnation.shutdown:
        return world
    world = changed(world, replace(incarnation, pauses=incarnation.pauses - 1))
    # A kernel with PV drivers unplugs the emulated disks as soon as it runs (xen.md 16).
    incarnation = require(world, domid)
    if incarnation.executes and incarnation.traits.drivers and domid in world.qemus:
        fs, qemu = graph.unplugged(world.fs, world.qemus[domid])
        world = replace(world, fs=fs, qemus=world.qemus.set(domid, qemu))
    return world


def suspended(world: World, domid: int) -> World:
    """The guest has suspended itself, or was stopped from outside. A watcher that sees it ends (xen.md 1)."""
    incarnation = require(world, domid)
    world = changed(world, replace(incarnation, shutdown=Shutdown.SUSPEND))
    if incarnation.traits.kind is GuestKind.HVM:
        # libxl stops this QEMU and saves its devices as if it moved away (xen.md 20, xen-live.md A4).
        qemu = replace(qemu_of(world, domid), inactive=True, status="paused")
        world = with_qemu(world, domid, qemu.telling((Event("STOP", {}),)))
    return watchers_looked(world)


def resumed(world: World, domid: int, *, pauses: int = 0) -> World:
    """A suspended guest goes on, or is paused that many times more."""
    incarnation = require(world, domid)
    if incarnation.shutdown is not Shutdown.SUSPEND:
        return world
    if domid in world.qemus:
        qemu = world.qemus[domid]
        if qemu.status == "paused":
            qemu = replace(qemu, status="running").telling((Event("RESUME", {}),))
        world = with_qemu(world, domid, replace(qemu, inactive=False))
    return changed(world, replace(incarnation, shutdown=Shutdown.NO, pauses=incarnation.pauses + pauses))


# --- ending ----------------------------------------------------------------------------------------------------------


def destroyed(world: World, domid: int) -> World:
    """The domain is gone, with its QEMU, its guest and its watcher; what is stored about it stays."""
    incarnation = world.xen.there.get(domid)
    if incarnation is None:
        return world
    return without_watcher(without_qemu(replace(world, xen=world.xen.without(domid)), incarnation), incarnation)


def dying(world: World, domid: int) -> World:
    """The domain is ending: nothing executes, and QEMU still has the images open."""
    return changed(world, replace(require(world, domid), dying=True))


def without_qemu(world: World, incarnation: Incarnation) -> World:
    """QEMU is gone, with its jobs, and with it the guest where the domain is gone, too."""
    domid = incarnation.domid
    world = world.ended(incarnation.qemu)
    if domid in world.qemus:
        world = replace(world, qemus=world.qemus.delete(domid))
    if domid in world.guests and domid not in world.xen.there:
        world = replace(world, guests=world.guests.delete(domid))
    return world


def without_watcher(world: World, incarnation: Incarnation) -> World:
    """The watcher has ended."""
    world = world.ended(incarnation.watcher)
    now = world.xen.there.get(incarnation.domid)
    return world if now is None else replace(world, xen=world.xen.putting(replace(now, watcher=0, stopped=False)))


def shut(world: World, domid: int, reason: Shutdown) -> World:
    """The guest has ended or rebooted by itself; what follows is the watcher's doing."""
    world = changed(world, replace(require(world, domid), shutdown=reason))
    return watchers_looked(world)


def watchers_looked(world: World) -> World:
    """Every watcher that is not held acts on what it sees (xen-live.md C)."""
    for incarnation in world.xen:
        passes = incarnation.lets_suspends_pass and incarnation.shutdown is Shutdown.SUSPEND
        acts = incarnation.shutdown and not passes and not incarnation.dying
        if acts and incarnation.watcher and not incarnation.stopped:
            world = _acted(world, incarnation)
    return world


def _acted(world: World, incarnation: Incarnation) -> World:
    world = replace(world, xen=world.xen.logged(incarnation.log, _told(incarnation)))
    action = _action(incarnation)
    if incarnation.shutdown is Shutdown.SUSPEND or action == "preserve":
        return without_watcher(world, incarnation)
    world = destroyed(world, incarnation.domid)
    if action != "restart":
        return world
    world = replace(world, clock=world.clock.after(WATCHER_NS))
    try:
        world, domid = made(
            world,
            uuid=incarnation.uuid,
            name=incarnation.name,
            traits=incarnation.traits,
            disks=incarnation.reboots_from,
        )
        return unpaused(watched(booted(attached(world, domid), domid), domid, anew=False), domid)
    except XlError as error:
        return world if error.world is None else error.world


_ACTIONS = ("destroy", "restart", "preserve")
_REASONS = {Shutdown.POWEROFF: 0, Shutdown.REBOOT: 1, Shutdown.SUSPEND: 2, Shutdown.CRASH: 3}


def _told(incarnation: Incarnation) -> str:
    """What the daemon writes of what it sees (Xen 4.17.7)."""
    reason = _REASONS[incarnation.shutdown]
    head = f"Domain {incarnation.domid} has shut down, reason code {reason} 0x{reason:x}\n"
    if incarnation.shutdown is Shutdown.SUSPEND:
        return f"{head}Domain has suspended.\nDone. Exiting now\n"
    action = _action(incarnation)
    head += f"Action for shutdown reason code {reason} is {action}\n"
    if action == "preserve":
        return f"{head}Done. Exiting now\n"
    return (
        f"{head}Domain {incarnation.domid} needs to be cleaned up: destroying the domain\n"
        f"Done. {'Rebooting' if action == 'restart' else 'Exiting'} now\n"
    )


def _action(incarnation: Incarnation) -> str:
    """What the configuration wants done when a guest ends like that."""
    action = configurations.on_end(incarnation.traits.items, incarnation.shutdown)
    if action not in _ACTIONS:
        raise NotModelled(f"a guest that ends with on_{incarnation.shutdown} = {action}")
    return action


# --- configurations --------------------------------------------------------------------------------------------------


def with_layers(world: World, domain: Domain, layers: dict[str, Layer], *, watcher: bool = True) -> World:
    """The domain starts from these layers: in the stored configuration, and in what its watchers reboot with."""
    changed_domain = stored.with_layers(domain, layers)
    xen = world.xen
    for incarnation in xen.of(domain.uuid) if watcher else ():
        disks = stored.switched(incarnation.reboots_from, layers)
        xen = xen.putting(replace(incarnation, reboots_from=disks))
    known = world.domains[domain.uuid]
    kept = stored.off(known, disks=changed_domain.disks)
    return replace(world, xen=xen, domains=world.domains.set(domain.uuid, kept))


def attached_disk(world: World, domain: Domain, disk: Disk, *, named: bool = False) -> World:
    """`xl block-attach`: the domain has a disk more, now if it runs, and whenever it starts.

    Where QEMU does not open its image nobody is told, but QEMU's log (trace xen/a-disk-that-is-not-there).

    Args:
        named: whether it was said what shall serve it.
    """
    world = replace(world, domains=world.domains.set(domain.uuid, stored.off(domain, disks=(*domain.disks, disk))))
    for one in world.xen.of(domain.uuid):
        fs, qemu = graph.plugged(world.fs, qemu_of(world, one.domid), disk)
        world = with_qemu(world.with_fs(fs), one.domid, qemu)
        after = replace(one, disks=(*one.disks, disk), reboots_from=(*one.reboots_from, disk))
        after = replace(after, attached=one.attached | {disk.vdev}, detached=one.detached - {disk.vdev})
        served = one.traits.served | {disk.vdev} if named else one.traits.served - {disk.vdev}
        after = replace(after, traits=replace(one.traits, served=served))
        # What is on it the guest sees for the first time, whoever has written it.
        guest = world.guests[one.domid]
        guest = replace(guest, memory=replace(guest.memory, latest=world.writes))
        world = replace(world, xen=world.xen.putting(after), guests=world.guests.set(one.domid, guest))
    return world


def detached_disk(world: World, domain: Domain, vdev: str) -> World:
    """`xl block-detach`: the disk is gone in 0.6 s, mounted or not (xen-live.md B4).

    A guest that has unmounted it has nothing cached of it any more; one that has not keeps what it will never write.
    """
    left = tuple(disk for disk in domain.disks if disk.vdev != vdev)
    world = replace(world, domains=world.domains.set(domain.uuid, stored.off(domain, disks=left)))
    for one in world.xen.of(domain.uuid):
        qemu = qemu_of(world, one.domid)
        if qemu.working(vdev):
            raise NotModelled("detaching a disk that a block job works on")
        fs, qemu = graph.pulled(world.fs, qemu, vdev)
        world = with_qemu(world.with_fs(fs), one.domid, qemu)
        after = replace(
            one,
            disks=tuple(disk for disk in one.disks if disk.vdev != vdev),
            reboots_from=tuple(disk for disk in one.reboots_from if disk.vdev != vdev),
            attached=one.attached - {vdev},
            detached=one.detached | {vdev},
        )
        world = replace(world, xen=world.xen.putting(after), clock=world.clock.after(DETACH_NS))
    return world


# --- QEMU and the guest ----------------------------------------------------------------------------------------------


def qemu_of(world: World, domid: int) -> Qemu:
    """The QEMU of a domain, where it lives."""
    found = world.qemus.get(domid)
    if found is None:
        raise XlError(f"domain {domid} has no device model: Connection refused")
    return found


def with_qemu(world: World, domid: int, qemu: Qemu) -> World:
    """The world with another QEMU of this domain."""
    return replace(world, qemus=world.qemus.set(domid, qemu))


def guest_wrote(world: World, domid: int, vdev: str, low: int, high: int, *, flush: bool) -> World:
    """The guest writes these sectors; the write's number is `world.writes` afterwards."""
    guest, number, now = world.guests[domid], world.writes + 1, world.clock.monotonic_ns
    run: Run = (low, high, number)
    memory = guest.at(now).written(vdev, run)
    world = replace(world, writes=number, guests=world.guests.set(domid, guest.remembering(memory, now)))
    return guest_flushed(world, domid, vdev) if flush else world


def guest_flushed(world: World, domid: int, vdev: str) -> World:
    """The guest writes out what of this disk is in its cache only. An error is known to the guest alone (xen.md 21)."""
    guest, now = world.guests[domid], world.clock.monotonic_ns
    memory = guest.at(now)
    runs = memory.cache(vdev).dirty
    qemu = world.qemus.get(domid)
    if not runs or guest.frozen or (qemu is not None and qemu.drained):
        return world
    qemu = qemu or Qemu(0)
    try:
        if served := by_kernel(world, domid, vdev):
            fs = kernel.wrote(world.fs, served, runs)
        else:
            fs, qemu = graph.wrote(world.fs, qemu, vdev, runs)
    except OSError:
        return replace(world, guests=world.guests.set(domid, guest.remembering(memory.refused(), now)))
    world = replace(world, fs=fs, qemus=world.qemus.set(domid, qemu))
    return replace(world, guests=world.guests.set(domid, guest.remembering(memory.flushed(vdev), now)))


def lived(world: World) -> World:
    """Every guest that runs and has a program which never rests lets it have a turn."""
    for domid in sorted(world.guests):
        guest = world.guests[domid]
        if not guest.runs or not guest.memory.writers or (domid in world.qemus and world.qemus[domid].drained):
            continue
        for writer in guest.memory.writers:
            low = writer.start + writer.at
            world = guest_wrote(world, domid, writer.vdev, low, min(low + writer.sectors, writer.end), flush=True)
        memory = world.guests[domid].memory
        turned = replace(memory, writers=tuple(writer.turned() for writer in memory.writers))
        world = replace(world, guests=world.guests.set(domid, replace(world.guests[domid], memory=turned)))
    return replace(world, busy=any(guest.memory.writers for guest in world.guests.values()))


def by_kernel(world: World, domid: int, vdev: str) -> Disk | None:
    """The disk, where the guest's requests go to dom0's kernel: not before an emulated one was unplugged."""
    incarnation, qemu = world.xen.there.get(domid), world.qemus.get(domid)
    for disk in incarnation.disks if incarnation else ():
        if disk.vdev == vdev and disk.backend is Backend.PHY and (qemu is None or qemu.guests(vdev) is None):
            return disk
    return None


def shown(world: World, domid: int, vdev: str) -> tuple[int, tuple[Run, ...]] | None:
    """What a disk shows to a guest that runs: its size, and every run that is not zero; None where it has none."""
    if served := by_kernel(world, domid, vdev):
        return kernel.visible(world.fs, served)
    qemu = world.qemus.get(domid)
    drive = qemu.guests(vdev) if qemu else None
    return None if drive is None else graph.visible(world.fs, drive)


def sector_range(offset_bytes: int, length_bytes: int) -> tuple[int, int]:
    """A range of bytes in whole sectors."""
    if offset_bytes % SECTOR or length_bytes % SECTOR or offset_bytes < 0:
        raise NotModelled(f"guests write in whole sectors of {SECTOR} bytes")
    return offset_bytes // SECTOR, (offset_bytes + length_bytes) // SECTOR
