"""A client's line to the monitor of a running domain: what is said over it, and what it makes of the world.

QEMU under Xen has two monitors, "libxl" and "libxenstat", each for one client at a time (xen.md 19).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from simulator.qemu import monitor
from simulator.qemu.board import Board
from simulator.qemu.graph import Event
from simulator.qemu.monitor import Session
from simulator.world import life
from simulator.world.monitor import Work

if TYPE_CHECKING:
    from simulator.qemu.graph import Qemu
    from simulator.world import World

replace = msgspec.structs.replace

MONITORS = ("libxl", "libxenstat")


class Line(msgspec.Struct, frozen=True):
    """One connection: whose monitor, which of the two, and what has been said so far.

    Attributes:
        qemu: the process at the other end, so that the line is dead when another serves the same domain.
    """

    domid: int
    which: str
    qemu: int
    session: Session = Session()

    @property
    def over(self) -> bool:
        """Whether QEMU has hung up."""
        return self.session.over


def opened(world: World, domid: int, which: str = "libxenstat") -> tuple[World, Line, bytes]:
    """A new client, and the greeting. The monitor must be free: a second client hears nothing, which is its waiting.

    Whoever had it before may have died with the door that he came by, which nobody has told this world.
    """
    qemu = world.qemus[domid]
    line = Line(domid, which, qemu.pid)
    ears = qemu.ears.set(which, ())
    return _with(world, domid, replace(qemu, ears=ears)), line, monitor.spoken(monitor.greeting())


def closed(world: World, line: Line) -> World:
    """The client has hung up; the next one may come."""
    qemu = _there(world, line)
    return world if qemu is None else _with(world, line.domid, replace(qemu, ears=qemu.ears.delete(line.which)))


def said(world: World, line: Line, data: bytes) -> tuple[World, Line, bytes]:
    """The client has sent these bytes; what QEMU does, and what it answers."""
    qemu = _there(world, line)
    if qemu is None:
        return world, _hung_up(line), b""
    world, line, before = heard(world, line)
    board = Board(world.fs, world.qemus[line.domid], world.clock.now_ns)
    session, board, answers = monitor.received(line.session, board, data)
    events = tuple(Event(each["event"], each.get("data", {})) for each in answers if "event" in each)
    world = settled(world, line.domid, board, events, but=line.which)
    return world, replace(line, session=session), before + _bytes(answers)


def heard(world: World, line: Line) -> tuple[World, Line, bytes]:
    """What has happened since, as QEMU tells it by itself."""
    qemu = _there(world, line)
    if qemu is None:
        return world, _hung_up(line), b""
    unheard = qemu.ears.get(line.which, ())
    if not unheard:
        return world, line, b""
    told = monitor.told(line.session, Board(world.fs, qemu, world.clock.now_ns), unheard)
    return _with(world, line.domid, replace(qemu, ears=qemu.ears.set(line.which, ()))), line, _bytes(told)


def settled(world: World, domid: int, board: Board, events: tuple[Event, ...], *, but: str = "") -> World:
    """The world after a command: its jobs are at work by themselves, and a QEMU that has died is gone.

    Args:
        events: what has happened, of which every client is told but the one that has heard it already.
    """
    before = world.qemus[domid]
    qemu = board.qemu.telling(events, but=but)
    world = replace(_with(world, domid, qemu), fs=board.fs)
    for job in qemu.jobs:
        if before.job(job.id) is None and not job.over:
            world, _ = world.told(Work(domid, job.id))
    if board.crashed or qemu.status == "shutdown":
        words = board.crashed or "terminating on QMP quit"
        world = _with(world, domid, replace(qemu, log=(*qemu.log, f"qemu-system-i386: {words}")))
        return life.without_qemu(world, life.require(world, domid))
    return world


def _there(world: World, line: Line) -> Qemu | None:
    qemu = world.qemus.get(line.domid)
    return qemu if qemu is not None and qemu.pid == line.qemu else None


def _hung_up(line: Line) -> Line:
    return replace(line, session=replace(line.session, over=True))


def _with(world: World, domid: int, qemu: Qemu) -> World:
    return replace(world, qemus=world.qemus.set(domid, qemu))


def _bytes(messages: list[monitor.Message]) -> bytes:
    return b"".join(map(monitor.spoken, messages))
