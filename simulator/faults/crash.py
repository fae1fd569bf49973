"""Deaths: of the engine with or without its children, and of the whole host."""

from enum import StrEnum

import msgspec
from immutables import Map

from simulator.core.agenda import find
from simulator.core.effects import Cut
from simulator.core.rng import Rng
from simulator.disk.crash import Unsynced, crashed
from simulator.world import World
from simulator.world.monitor import Transaction
from simulator.xen import domains
from simulator.xen.incarnations import Xen

_BOOT_NS = 60_000_000_000
_STEPS_MAX = 1000


class Orphans(StrEnum):
    """What becomes of the children that work when their parent dies."""

    FINISH = "finish"
    """They have run to their end before anybody looks."""
    RUNNING = "running"
    """They are still at work, hold the locks, and go on as time passes."""
    KILLED = "killed"
    """They die where they are."""


class CrashPoint(msgspec.Struct, frozen=True):
    """A world at a cut of an effect, as it was while an operation ran.

    Attributes:
        number: of the effect, counted from the start of the recording.
        subject: what the effect was done to.
    """

    number: int
    effect: str
    cut: Cut
    world: World
    subject: str = ""

    def __repr__(self) -> str:
        return f"CrashPoint({self.effect}#{self.number} {self.cut} {self.subject})"


def after_engine_crash(world: World, orphans: Orphans | str = Orphans.FINISH, *, pid: int | None = None) -> World:
    """The world when our process has died, or all of ours. What others have open and locked stays."""
    dying = [p.pid for p in world.processes.values() if (p.engine if pid is None else p.pid == pid)]
    children = [a.pid for a in world.agenda if a.pid in world.processes and world.processes[a.pid].parent in dying]
    for each in dying:
        world = world.ended(each)
    # What QEMU was told it does, whoever dies; and it does it before anybody can ask.
    for activity in world.agenda:
        if isinstance(activity.program, Transaction):
            world = _finished(world, activity.pid)
    match Orphans(orphans):
        case Orphans.KILLED:
            for child in children:
                world = world.ended(child)
        case Orphans.FINISH:
            for child in children:
                world = _finished(world, child)
        case Orphans.RUNNING:
            pass
    return world


def _finished(world: World, child: int) -> World:
    for _ in range(_STEPS_MAX):
        if find(world.agenda, child) is None and child not in world.processes:
            return world
        world = world.went_on(child)
    raise AssertionError(f"child {child} does not come to an end")


def after_host_crash(world: World, unsynced: Unsynced | str = Unsynced.LOST, rng: Rng | int = 0) -> World:
    """The world after a power failure and a boot: domains off, no process, no lock, another boot id."""
    drawing = Rng(rng) if isinstance(rng, int) else rng
    fs, _ = crashed(world.fs, Unsynced(unsynced), drawing)
    next_rng, boot_id = world.rng.uuid()
    clock = world.clock.after(_BOOT_NS)
    return msgspec.structs.replace(
        world,
        fs=fs,
        rng=next_rng,
        boot_id=boot_id,
        domains=Map({uuid: domains.off(domain) for uuid, domain in world.domains.items()}),
        clock=msgspec.structs.replace(clock, monotonic_ns=_BOOT_NS),
        agenda=(),
        processes=Map(),
        xen=Xen(traits=world.xen.traits, virt_caps=world.xen.virt_caps),
        qemus=Map(),
        guests=Map(),
        busy=False,
    )
