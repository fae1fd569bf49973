"""What goes on beside an operation, done by somebody who asks nobody: the guest itself, and an operator at the console.

Each deed is one thing at one moment. Where the moment does not allow it (nobody can pause a guest that is off), it
does not happen, as it would not for the one who tries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from simulator import SimulatedHost
from simulator.checkers.leaks import unclean
from simulator.core.effects import Cut
from simulator.core.unmodelled import NotModelled
from simulator.tools.qemu_img import SnapshotCreate
from simulator.world import World, life
from tests.crash.harness import GUEST, TRIED, Operation, every_effect
from tests.crash.running import Seen, findings, seen
from xensnap.engine.engine import Engine
from xensnap.errors import Busy, ExitCode, Usage, XensnapError
from xensnap.model import Disk, Format, Layer

Deed = Callable[[SimulatedHost], object]

NEW = "/images/new.qcow2"


def by_xl(change: Callable[[World, int], World]) -> Deed:
    """What xl does to the running domain, whoever has the lock."""

    def deed(host: SimulatedHost) -> None:
        host.cell.world = change(host.world, host.incarnation(GUEST).domid)

    return deed


def attach(host: SimulatedHost) -> None:
    host.incarnation(GUEST)  # xl knows only domains that are there
    host.attach(GUEST, Disk("xvdd", NEW, Format.QCOW2))


def detach(host: SimulatedHost) -> None:
    host.incarnation(GUEST)
    host.detach(GUEST, "xvdb")


def tag_by_hand(host: SimulatedHost) -> None:
    """`qemu-img snapshot -c` on the image of the first disk, whether a QEMU has it open or not."""
    host.operate(SnapshotCreate(Layer("/images/xvda.qcow2", Format.QCOW2), "by-hand"))


DEEDS: dict[str, Deed] = {
    "reboots": lambda host: host.guest_reboot(GUEST),
    "powers off": lambda host: host.guest_poweroff(GUEST),
    "crashes": lambda host: host.guest_crash(GUEST),
    "its QEMU dies": lambda host: host.kill_qemu(GUEST),
    "xl pause": by_xl(life.paused),
    "xl unpause": by_xl(life.unpaused),
    "xl destroy": by_xl(life.destroyed),
    "xl save -c": lambda host: host.xl_save(GUEST, "/images/by-hand.save", then="-c"),
    "xl create": lambda host: host.start(GUEST),
    "xl block-attach": attach,
    "xl block-detach": detach,
    "qemu-img snapshot": tag_by_hand,
}


@dataclass(frozen=True)
class End:
    """What is seen of a host, and what is wrong with it."""

    seen: Seen
    wrong: frozenset[str]


def end(host: SimulatedHost) -> End:
    wrong = {str(each.rule) for each in (*findings(host.world), *unclean(host.world.fs))}
    return End(seen(host), frozenset(wrong))


def happens(host: SimulatedHost, deed: Deed) -> bool:
    """Whether it could be done."""
    try:
        deed(host)
    except (NotModelled, Usage, life.XlError, XensnapError):
        return False
    return True


def performs(host: SimulatedHost, operation: Operation) -> XensnapError | None:
    """How an operation ends; what it leaves open is recovered, when nobody has the images open any more."""
    told: XensnapError | None = None
    try:
        operation(Engine(host))
    except XensnapError as error:
        told = error
    left = told is not None and told.exit_code in (ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN)
    assert bool(Engine(host).list(GUEST).pending) == left, told
    try:
        Engine(host).recover(GUEST)
    except XensnapError as error:
        # Somebody has started the guest on what is half reverted, or its QEMU is dead: he is told to end it first.
        dead = error.id == "monitor-gone" and error.exit_code is ExitCode.SOMETHING_LEFT
        if not dead and not isinstance(error, Busy):
            raise
        DEEDS["xl destroy"](host)
        Engine(host).recover(GUEST)
    return told


FOR_US = {"xl pause", "xl create", "its QEMU dies"}
"""What cannot be told from our own doing, so that it may be gone when ours is put back or done: a pause while we hold
the guest suspended, a start while a revert has ended it, the death of a QEMU that a revert is about to end. The
operator who did it without asking sees his guest running, or as it was.
"""

HARM: dict[str, set[str]] = {
    "qemu-img snapshot": {"leaked-clusters"},  # beside a QEMU that has the image open, it always does
    "reboots": {"leaked-clusters"},  # its QEMU dies in the middle of a block job
}
"""What a deed does to images by itself."""

ORDERS = ("operation deed", "deed operation", "deed", "flush deed", "destroy deed", "destroy")
"""All that may come of both: one after the other, or without the operation.

A guest that is asked to be quiet writes out what it has cached, as it may do by itself at any time; and one that was
ended by a revert before an operator starts it has lost that.
"""

MORE_ORDERS = {"its QEMU dies": ("operation deed destroy",)}
"""What may come, too: where a job was at work in a QEMU that dies, all waits until the operator ends the domain."""


def serial(host: SimulatedHost, operation: Operation, name: str) -> tuple[list[End], list[End]]:
    """Every end that an operation and a deed may come to; and those without the deed."""
    doing: dict[str, Deed] = {
        "operation": lambda host: performs(host, operation),
        "deed": DEEDS[name],
        "flush": lambda host: host.guest_flush(GUEST),
        "destroy": DEEDS["xl destroy"],
    }
    ends = []
    for order in (*ORDERS, *MORE_ORDERS.get(name, ())):
        fork = host.fork()
        for step in order.split():
            happens(fork, doing[step])
        ends.append(end(fork))
    alone = host.fork()
    performs(alone, operation)
    return ends, [end(host), end(alone)]


def judge(host: SimulatedHost, operation: Operation, name: str) -> int:
    """Let a deed happen at every effect of the operation; how often it did.

    The guest does nothing while its QEMU takes points, and xl has no lock that would keep a start out of the middle of
    what qemu-img does: these two happen only between effects.
    """
    deed = DEEDS[name]
    ends, without = serial(host, operation, name)
    cuts = (Cut.BEFORE,) if name in {"reboots", "powers off", "crashes", "xl create"} else (Cut.BEFORE, Cut.PARTLY)
    happened = 0
    for number in every_effect(host, operation):
        for cut in cuts:
            busy = host.fork()
            done: list[bool] = []
            busy.meanwhile(number, partial(_noted, busy, deed, done), cut)
            error = performs(busy, operation)
            TRIED["somebody meanwhile"] += 1
            happened += any(done)
            allowed = [*(ends if any(done) else ()), *(without if not any(done) or name in FOR_US else ())]
            found = end(busy)
            harmless = {each for each in found.wrong if each not in HARM.get(name, ())}
            where = f"effect {number} {cut}, {name}, {error}: {found}"
            assert any(found.seen == each.seen and harmless <= each.wrong for each in allowed), where
    return happened


def _noted(host: SimulatedHost, deed: Deed, done: list[bool]) -> None:
    done.append(happens(host, deed))
