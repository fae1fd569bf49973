"""What can go wrong in one operation besides an effect that fails: it is late, it never answers, somebody refuses.

Each is data that prints as Python, is armed on a host, and tells afterwards whether it was met. A hindrance stays until
it is removed, as those of the world do; `heal` removes it.
"""

from enum import StrEnum

import msgspec

from simulator.core.effects import Cut
from simulator.faults.watch import Fault
from simulator.guest import AgentManner
from simulator.host import SimulatedHost
from simulator.ports.toolstack import looked_up
from simulator.qemu.graph import GONE
from xensnap.errors import NotFound, Unknown, Usage

LONG_S = 600.0
"""How long nobody hears anything of what times out, in seconds."""

STRANGER = "somebody-else"
"""The command of the process that holds what it should not."""


class Late(msgspec.Struct, frozen=True):
    """An effect takes so many seconds longer, in which guests, children and jobs go on; then all is well."""

    effect: str
    seconds: float = 30.0
    nth: int = 1

    def arm(self, host: SimulatedHost) -> "Armed":
        """Let it happen from now on."""
        return Armed(host, host.fail_at(self.effect, nth=self.nth, error=None, late_s=self.seconds))


class TimesOut(msgspec.Struct, frozen=True):
    """An effect of which nobody hears any more: it never came about, or is done, or half of it."""

    effect: str
    cut: Cut = Cut.UNACKNOWLEDGED
    nth: int = 1

    def arm(self, host: SimulatedHost) -> "Armed":
        """Let it happen from now on."""
        error = Unknown(f"{self.effect}: no answer within {LONG_S:.0f} s")
        return Armed(host, host.fail_at(self.effect, self.cut, error, nth=self.nth, late_s=LONG_S))


class Hindrance(StrEnum):
    """Who does not play along."""

    GUEST_DEAF = "the guest ignores what it is asked, such as to suspend itself"
    AGENT_SILENT = "the agent in the guest freezes, and answers nothing from then on"
    AGENT_ABSENT = "nobody answers in the guest"
    MONITOR_HELD = "another program keeps the monitor of the guest to itself"
    MONITOR_GONE = "the socket of the monitor of the guest has been removed, and the guest goes on"
    LOCK_HELD = "another process holds the lock of the domain"
    IMAGE_OPEN = "another process has the images of the domain open"
    NEVER_RESTS = "the guest writes to its disks whenever time passes, faster than any job"

    def __repr__(self) -> str:
        """As Python, so that a plan can be pasted."""
        return f"{type(self).__name__}.{self.name}"


class Hindered(msgspec.Struct, frozen=True):
    """Before this effect somebody begins not to play along, and does not end until the world is healed."""

    what: Hindrance
    effect: str
    nth: int = 1
    domain: str = "guest"

    def arm(self, host: SimulatedHost) -> "Armed":
        """Let it happen from now on."""
        armed = Armed(host)
        host.meanwhile(self.effect, lambda: armed.happened(self), nth=self.nth)
        return armed


class Armed:
    """A plan on a host: whether it was met, and how to remove it again."""

    def __init__(self, host: SimulatedHost, fault: Fault | None = None) -> None:
        self._host = host
        self._fault = fault
        self._met = False

    @property
    def met(self) -> bool:
        """Whether the operation came there, and the world allowed it."""
        return self._met if self._fault is None else self._fault not in self._host.unmet_faults

    def happened(self, plan: Hindered) -> None:
        """The operation has come there."""
        try:
            _begins(self._host, plan)
        except (FileNotFoundError, NotFound, Usage):  # nobody is there who could refuse, or nothing to have open
            return
        self._met = True


def heal(host: SimulatedHost, domain: str = "guest") -> None:
    """Whoever did not play along does again, and strangers have ended."""
    for process in [each for each in host.world.processes.values() if each.command == STRANGER]:
        host.end_process(process.pid)
    try:
        host.guest_answers(domain, answers=True)
        host.guest_agent(domain, AgentManner.ANSWERS)
        host.hold_monitor(domain, "")
        host.guest_rests(domain)
    except (NotFound, Usage):  # it is off by now, or was never made
        return


def _begins(host: SimulatedHost, plan: Hindered) -> None:
    match plan.what:
        case Hindrance.GUEST_DEAF:
            host.guest_answers(plan.domain, answers=False)
        case Hindrance.AGENT_SILENT:
            host.guest_agent(plan.domain, AgentManner.HANGS)
        case Hindrance.AGENT_ABSENT:
            host.guest_agent(plan.domain, AgentManner.ABSENT)
        case Hindrance.MONITOR_HELD:
            host.hold_monitor(plan.domain)
        case Hindrance.MONITOR_GONE:
            host.hold_monitor(plan.domain, GONE)
        case Hindrance.LOCK_HELD:
            _hold_lock(host, plan.domain)
        case Hindrance.IMAGE_OPEN:
            for disk in looked_up(host.world, plan.domain).disks:
                host.open_image(disk.path, command=STRANGER)
        case Hindrance.NEVER_RESTS:
            for disk in looked_up(host.world, plan.domain).disks:
                host.guest_never_rests(plan.domain, disk.vdev, end_bytes=4 * 65536)


def _hold_lock(host: SimulatedHost, domain: str) -> None:
    """Whoever has it already keeps it: a lock is never broken."""
    path = f"{host.root}/{looked_up(host.world, domain).uuid}/lock"
    fs = host.world.fs
    if (number := fs.find(path)) is None or number in fs.locks:
        raise Usage("the lock is ours already")
    world, pid = host.world.started(STRANGER)
    host.cell.world = world.with_fs(world.fs.locked(path, pid))
