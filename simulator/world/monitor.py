"""What a running QEMU does of its own accord once it was told to, and which no death of whoever told it interrupts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from simulator.qemu import points
from simulator.qemu.board import Board
from simulator.qemu.commands import work
from simulator.qemu.graph import BlockJob, Qemu
from simulator.qemu.points import Action, HungUp, QmpError

if TYPE_CHECKING:
    from simulator.world import World

replace = msgspec.structs.replace

JOB_STEP_NS = 50_000_000
"""How long a block job takes for one step."""


class Transaction(msgspec.Struct, frozen=True, tag="transaction"):
    """QMP's `transaction`: the guest's requests wait from its first step to its last."""

    domid: int
    actions: tuple[Action, ...]


class Work(msgspec.Struct, frozen=True, tag="block-job"):
    """A block job: the same step again and again, until it is over."""

    domid: int
    job_id: str


QemuProgram = Transaction | Work


def steps(program: QemuProgram) -> tuple[tuple[str, Callable[[World, Any], World]], ...]:
    """One for each action, and one in which the guest's requests go on; of a job the one that is repeated."""
    if isinstance(program, Work):
        return (("part copied", _worked),)
    return (*((f"action {place}", _acted(place)) for place in range(len(program.actions))), ("released", _released))


def job_of(world: World, program: Work) -> BlockJob | None:
    """The job that is worked on, if it is not over."""
    qemu = world.qemus.get(program.domid)
    job = qemu.job(program.job_id) if qemu else None
    return None if job is None or job.over else job


def idle(world: World, program: QemuProgram) -> bool:
    """Whether a job has caught up with the guest and waits to be completed."""
    job = job_of(world, program) if isinstance(program, Work) else None
    return job is not None and work.waits(job) and not job.ordered


def _worked(world: World, program: Work) -> World:
    job, qemu = job_of(world, program), _qemu(world, program.domid)
    if job is None:
        return world
    board = work.step(Board(world.fs, qemu, world.clock.now_ns), job)
    qemu = board.qemu.telling(board.events)
    return replace(world, fs=board.fs, qemus=world.qemus.set(program.domid, qemu))


def _acted(place: int) -> Callable[[World, Transaction], World]:
    def acted(world: World, program: Transaction) -> World:
        if place == 0:
            _tried(world, program)
        qemu = _at_work(world, program.domid)
        fs, qemu = points.acted(world.fs, qemu, program.actions[place], world.clock.now_ns)
        qemus = world.qemus.set(program.domid, replace(qemu, drained=True))
        return replace(world, fs=fs, qemus=qemus)

    return acted


def _tried(world: World, program: Transaction) -> None:
    """The whole list on values: what fails anywhere fails before anything has changed (xen.md 21)."""
    fs, qemu = world.fs, _qemu(world, program.domid)
    for action in program.actions:
        fs, qemu = points.acted(fs, qemu, action, world.clock.now_ns)


def _released(world: World, program: Transaction) -> World:
    qemu = replace(_at_work(world, program.domid), drained=False)
    return replace(world, qemus=world.qemus.set(program.domid, qemu))


def _qemu(world: World, domid: int) -> Qemu:
    found = world.qemus.get(domid)
    if found is None:
        raise QmpError("the connection is gone: Connection refused")
    return found


def _at_work(world: World, domid: int) -> Qemu:
    found = world.qemus.get(domid)
    if found is None:
        raise HungUp("the monitor hung up before it replied to transaction")
    return found
