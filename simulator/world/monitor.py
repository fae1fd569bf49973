"""What a running QEMU does of its own accord once it was told to: a transaction, which nobody's death interrupts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from simulator.qemu import points
from simulator.qemu.graph import Qemu
from simulator.qemu.points import Action, QmpError

if TYPE_CHECKING:
    from simulator.world import World

replace = msgspec.structs.replace


class Transaction(msgspec.Struct, frozen=True, tag="transaction"):
    """QMP's `transaction`: the guest's requests wait from its first step to its last."""

    domid: int
    actions: tuple[Action, ...]


QemuProgram = Transaction


def steps(program: QemuProgram) -> tuple[tuple[str, Callable[[World, QemuProgram], World]], ...]:
    """One for each action, and one in which the guest's requests go on."""
    return (*((f"action {place}", _acted(place)) for place in range(len(program.actions))), ("released", _released))


def _acted(place: int) -> Callable[[World, Transaction], World]:
    def acted(world: World, program: Transaction) -> World:
        if place == 0:
            _tried(world, program)
        qemu = _qemu(world, program.domid)
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
    qemu = replace(_qemu(world, program.domid), drained=False)
    return replace(world, qemus=world.qemus.set(program.domid, qemu))


def _qemu(world: World, domid: int) -> Qemu:
    found = world.qemus.get(domid)
    if found is None:
        raise QmpError("the connection is gone: Connection refused")
    return found
