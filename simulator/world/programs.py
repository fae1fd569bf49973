"""xl at work: what takes it several steps, between any two of which it can die or be left behind by its parent."""

from __future__ import annotations

import errno
from collections.abc import Callable
from os import strerror
from typing import TYPE_CHECKING, Any

import msgspec

from simulator.disk.content import SECTOR
from simulator.guest import Guest
from simulator.world import life
from simulator.world.life import XlError
from simulator.xen import save_file
from simulator.xen.incarnations import Incarnation, Shutdown, Traits
from simulator.xen.save_file import Header, SavedError
from xensnap.model import Disk, GuestKind

if TYPE_CHECKING:
    from simulator.world import World

replace = msgspec.structs.replace

ACKNOWLEDGED_NS = 60_000_000_000
"""How long xl waits for a guest to suspend itself (xen.md 3)."""
_HELD_NS = 11_000_000_000
_PARTS = 3
_CREATED_MODE = 0o644
_DEVICES = "/dev/"
"""What is written there is nowhere: `/dev/null`, or a pipe."""
_PIPE = "/dev/fd/"
"""A pipe whose reader takes the head and leaves."""
_BROKEN_NS = 600_000_000
SENT_BYTES_PER_S = 128 << 20
"""How fast memory is sent: what QEMU 7.2 allows itself where nobody says otherwise."""
UNWRITTEN = "libxl_domain_suspend failed (rc=-3)"
"""What xl says when what it sends to cannot take it, be it a file or a receiver (xen-live.md A6)."""
TOO_FAST = "the guest changes its memory faster than it could be sent in the time that it may stand still"


class Build(msgspec.Struct, frozen=True, tag="xl-build"):
    """`xl create`, or `xl restore` where there is a save file.

    Attributes:
        memory: the save file, or nothing for a boot.
        data: the save file itself, where it comes on xl's standard input; then `memory` is only what that is called.
        paused: `-p`.
        serial: the pid of this xl, by which it knows its domain from that of another that builds the same.
    """

    uuid: str
    name: str
    traits: Traits
    disks: tuple[Disk, ...]
    memory: str = ""
    paused: bool = False
    serial: int = 0
    data: bytes = b""


class Save(msgspec.Struct, frozen=True, tag="xl-save"):
    """`xl save`: with `-p` it leaves the domain paused, with `-c` running, else it destroys it."""

    domid: int
    path: str
    then: str = "-p"


class Migrate(msgspec.Struct, frozen=True, tag="xl-migrate"):
    """`xl migrate` into a receiver that keeps the stream and refuses the domain: a save while the guest runs.

    xl knows no `max_downtime_s`; it is modelled for hosts whose guests are saved by their QEMU.
    """

    domid: int
    path: str
    max_downtime_s: float | None = None


XlProgram = Build | Save | Migrate

Step = tuple[str, "Callable[[World, Any], World]"]
"""A name, and what it makes of the world, given the program."""

SUSPENDED_AT = 7
"""How many steps of a `Migrate` end with the guest suspended and the whole stream written."""


def argv(program: XlProgram) -> tuple[str, ...]:
    """The command line that the real host would run."""
    match program:
        case Build(_, name, _, _, memory, paused):
            flags = ("-p",) if paused else ()
            return ("xl", "restore", *flags, name, memory) if memory else ("xl", "create", *flags, name)
        case Save(domid, path, then):
            return ("xl", "save", *((then,) if then else ()), str(domid), path)
        case Migrate(domid, path, _):
            return ("xl", "migrate", "-s", "", str(domid), f"receiver {path}")


def steps(program: XlProgram) -> tuple[Step, ...]:
    """What it does, in order."""
    return _STEPS[type(program)]


def tried(world: World, program: XlProgram) -> World:
    """All of it at once, as where somebody else runs xl; it raises `XlError` as xl would fail."""
    for _, step in steps(program):
        world = step(world, program)
    return world


# --- create and restore ----------------------------------------------------------------------------------------------


def _name_checked(world: World, program: Build) -> World:
    life.require_name(world, program.name)
    if program.memory:
        try:
            save_file.read_header(_saved(world, program))
        except SavedError as error:
            raise XlError(str(error)) from None
    return world


def _domain_made(world: World, program: Build) -> World:
    world, domid = life.made(world, uuid=program.uuid, name=program.name, traits=program.traits, disks=program.disks)
    incarnation = replace(life.require(world, domid), builder=program.serial)
    return replace(world, xen=world.xen.putting(incarnation))


def _building(world: World, program: Build) -> Incarnation:
    """The domain that this program is building."""
    for incarnation in reversed(world.xen.of(program.uuid)):
        if incarnation.builder == program.serial:
            return incarnation
    raise XlError(f"domain {program.name} has gone while it was built")


def _disks_attached(world: World, program: Build) -> World:
    return life.attached(world, _building(world, program).domid)


def _memory_loaded(world: World, program: Build) -> World:
    domid = _building(world, program).domid
    if not program.memory:
        return life.booted(world, domid)
    try:
        memory = save_file.read_memory(_saved(world, program))
    except SavedError as error:
        raise XlError(str(error), life.destroyed(world, domid)) from None
    xen = world.xen.putting(replace(life.require(world, domid), built=True))
    guests = world.guests.set(domid, Guest(memory))
    return replace(world, xen=xen, guests=guests, busy=world.busy or bool(memory.writers))


def _let_go(world: World, program: Build) -> World:
    domid = _building(world, program).domid
    world = life.watched(world, domid)
    return world if program.paused else life.unpaused(world, domid)


def header_of(world: World, path: str) -> Header:
    """The configuration in a save file."""
    return save_file.read_header(_read(world, path))


def _saved(world: World, program: Build) -> bytes:
    return program.data or _read(world, program.memory)


def _read(world: World, path: str) -> bytes:
    try:
        data = world.fs.inode(path).stored
    except OSError as error:
        raise XlError(f"cannot open {path}: {strerror(error.errno or errno.EIO)}") from None
    return data if isinstance(data, bytes) else b""


# --- save ------------------------------------------------------------------------------------------------------------


def _file_begun(world: World, program: Save | Migrate) -> World:
    """An existing file is truncated at once; a new one can be read by all (xen.md 6)."""
    head = head_of(world, asked_of(world, program.domid))
    if program.path.startswith(_DEVICES):
        return world
    try:
        fs = world.fs
        if fs.find(program.path) is None:
            fs = fs.create(program.path, mode=_CREATED_MODE)
        world = world.with_fs(fs.update(program.path, lambda _: b""))
    except OSError as error:
        raise XlError(f"Failed to open {program.path}: {strerror(error.errno or 0)}") from None
    return _added(world, program, head)


def asked_of(world: World, domid: int) -> Incarnation:
    """The domain, whose QEMU xl asks before it does anything: somebody who keeps its monitor harms that (xen.md 19)."""
    incarnation = life.require(world, domid)
    if world.held(domid) == "libxl" and incarnation.traits.kind is GuestKind.HVM:
        later = replace(world, clock=world.clock.after(_HELD_NS))
        raise XlError("unable to retrieve domain configuration", later)
    return incarnation


def head_of(world: World, incarnation: Incarnation) -> bytes:
    """The head of a save file of this domain, made now."""
    traits, disks = incarnation.traits, world.domains[incarnation.uuid].disks
    name, uuid = incarnation.name, incarnation.uuid
    return save_file.header(Header(traits.kind, name, uuid, disks, traits.items, traits.served))


def _suspend_asked(world: World, program: Save) -> World:
    """A guest that is paused, has ended, or has no QEMU any more does not answer (xen.md 3)."""
    incarnation = life.require(world, program.domid)
    if program.path.startswith(_PIPE):
        # xen-live.md E2: the reader has left, and xl resumes the guest after any failure.
        later = replace(life.resumed(world, program.domid), clock=world.clock.after(_BROKEN_NS))
        raise XlError("libxl_domain_suspend failed (rc=-3): Broken pipe", later)
    if not incarnation.ran and incarnation.suspends_itself:
        # xen.md 10: restored with -p and never run, its page tables are not what a save expects.
        raise XlError("xc_domain_save: Bad mfn ... during page table walk", world)
    if may_suspend(world, program.domid):
        return world
    later = replace(world, clock=world.clock.after(ACKNOWLEDGED_NS))
    raise XlError("libxl: guest didn't acknowledge suspend, cancelling request", later)


def may_suspend(world: World, domid: int) -> bool:
    """Whether a save would get the guest to stand still."""
    incarnation, guest = life.require(world, domid), world.guests.get(domid)
    if guest is None or domid not in world.qemus or incarnation.dying:
        return False
    if incarnation.shutdown is Shutdown.SUSPEND:
        return True  # xen-live.md E2: a plain save of one that a killed save left so goes through
    if incarnation.shutdown:
        return False
    return not incarnation.suspends_itself or (not incarnation.pauses and guest.answers)


def _suspended(world: World, program: Save | Migrate) -> World:
    incarnation = life.require(world, program.domid)
    if incarnation.shutdown is Shutdown.SUSPEND:
        return replace(world, clock=world.clock.after(ACKNOWLEDGED_NS))
    return life.suspended(world, program.domid)


def _memory_written(part: int) -> Callable[[World, Save | Migrate], World]:
    def written(world: World, program: Save | Migrate) -> World:
        incarnation = life.require(world, program.domid)
        memory = world.guests[program.domid].at(world.clock.monotonic_ns)
        data = save_file.body(memory, incarnation.traits.memory_bytes)
        step = -(-len(data) // _PARTS)
        return _added(world, program, data[part * step : (part + 1) * step])

    return written


def _added(world: World, program: Save | Migrate, data: bytes) -> World:
    """More in the file. Where that fails the guest goes on, but what was written stays (xen.md 1, 6)."""

    def more(stored: object) -> bytes:
        assert isinstance(stored, bytes)
        return stored + data

    if program.path.startswith(_DEVICES):
        return world
    try:
        return world.with_fs(world.fs.update(program.path, more))
    except OSError as error:
        words = f"{UNWRITTEN}: {strerror(error.errno or errno.EIO)}"
        raise XlError(words, life.resumed(world, program.domid)) from None


def _let_be(world: World, program: Save) -> World:
    match program.then:
        case "-p":
            return life.resumed(world, program.domid, pauses=1)
        case "-c":
            return life.resumed(world, program.domid)
        case _:
            return life.destroyed(world, program.domid)


# --- the live stream -------------------------------------------------------------------------------------------------


def _dirty_logged(world: World, program: Migrate) -> World:
    incarnation = life.require(world, program.domid)
    if not world.xen.logs_dirty(incarnation.traits.kind):
        raise XlError("Failed to enable logdirty: 95,22,0", world)
    return replace(world, xen=world.xen.putting(replace(incarnation, dirty_logged=True)))


def _copied(part: int) -> Callable[[World, Migrate], World]:
    """Memory is sent while the guest runs. What it changes is sent again, so none of this counts (xen-live.md A5)."""

    def copied(world: World, program: Migrate) -> World:
        length = _pass_bytes(life.require(world, program.domid))
        return _added(world, program, (b"" if part else save_file.BEGIN) + save_file.outdated(length))

    return copied


def _pass_bytes(incarnation: Incarnation) -> int:
    return -(-incarnation.traits.memory_bytes // _PARTS)


def sent_running(world: World, domid: int) -> tuple[World, bytes]:
    """A live stream into a pipe: all pages that are sent while the guest runs."""
    program = Migrate(domid, _PIPE)
    for _, step in _STEPS[Migrate][: SUSPENDED_AT - 1]:
        world = step(world, program)
    return world, save_file.outdated(_pass_bytes(life.require(world, domid))) * _PARTS


def sent_standing(world: World, domid: int) -> tuple[World, bytes]:
    """Its end: the guest is suspended, and stays it until the receiver has left."""
    world = _last_sent(world, Migrate(domid, _PIPE))
    return world, save_file.last(world.guests[domid].at(world.clock.monotonic_ns))


def refused(world: World, domid: int) -> World:
    """The receiver has left, and the guest goes on."""
    return _refused(world, Migrate(domid, _PIPE))


def _converged(world: World, program: Migrate) -> World:
    """Whether what the guest changes meanwhile can be sent in the time that it may stand still."""
    writers = world.guests[program.domid].memory.writers if program.domid in world.guests else ()
    left_bytes = sum(writer.sectors for writer in writers) * SECTOR
    if program.max_downtime_s is not None and left_bytes > program.max_downtime_s * SENT_BYTES_PER_S:
        incarnation = replace(life.require(world, program.domid), dirty_logged=False)
        raise XlError(TOO_FAST, replace(world, xen=world.xen.putting(incarnation)))
    return world


def _last_sent(world: World, program: Migrate) -> World:
    if not may_suspend(world, program.domid):
        later = replace(world, clock=world.clock.after(ACKNOWLEDGED_NS))
        raise XlError("failed to suspend at sender", later)
    world = _suspended(world, program)
    memory = world.guests[program.domid].at(world.clock.monotonic_ns)
    return _added(world, program, save_file.last(memory))


def _refused(world: World, program: Migrate) -> World:
    incarnation = replace(life.require(world, program.domid), dirty_logged=False)
    return life.resumed(replace(world, xen=world.xen.putting(incarnation)), program.domid)


_STEPS: dict[type, tuple[Step, ...]] = {
    Build: (
        ("name checked", _name_checked),
        ("domain made", _domain_made),
        ("disks attached", _disks_attached),
        ("memory loaded", _memory_loaded),
        ("let go", _let_go),
    ),
    Save: (
        ("file begun", _file_begun),
        ("suspend asked", _suspend_asked),
        ("suspended", _suspended),
        *((f"written {part + 1} of {_PARTS}", _memory_written(part)) for part in range(_PARTS)),
        ("saved", _let_be),
    ),
    Migrate: (
        ("file begun", _file_begun),
        ("dirty pages logged", _dirty_logged),
        *((f"copied {part + 1} of {_PARTS}", _copied(part)) for part in range(_PARTS)),
        ("converged", _converged),
        ("last pages sent", _last_sent),
        ("refused", _refused),
    ),
}
assert len(_STEPS[Migrate]) == SUSPENDED_AT + 1
