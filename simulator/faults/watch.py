"""What looks at every effect and meddles: it records the worlds at the cuts, keeps the trace, and lets effects fail."""

import errno as numbers
from collections.abc import Callable
from os import strerror

import msgspec

from simulator.core.effects import Cut, Effect
from simulator.core.trace import Event
from simulator.faults.crash import CrashPoint
from simulator.ports.seat import Cell, Partial
from simulator.world import World
from xensnap.errors import Effect as Known
from xensnap.errors import Failed, FileFailed, ToolFailed, Unknown, XensnapError

# These undo themselves when they fail, so a failure halfway is the same as one before (docstrings of the ports).
_UNDONE = ("create", "replace", "rename", "remove", "set-flag", "set-layers", "take")

# What goes to xl, to QEMU's monitor or to a daemon, and is no file.
_COMMANDS = ("xl.", "qmp.", "watcher.", "agent.")
STEPPED = ("qemu-img.", "xl.create", "xl.restore", "xl.save", "xl.migrate", "qmp.transaction", "qmp.job-wait")
"""How effects begin that are done in several steps, and have a half between any two of them."""


class Fault(msgspec.Struct, frozen=True):
    """One effect that shall fail.

    Attributes:
        at: the number of the effect, counted from when it was armed, or a name; then its `nth` occurrence.
        cut: where it fails: nothing done, partly done, or done without an answer.
        error: an errno, told in the port's own kind of error, or a whole error; None where it is only late.
        late_s: how many seconds pass before it happens or fails.
    """

    at: int | str
    cut: Cut = Cut.BEFORE
    error: "int | XensnapError | None" = numbers.ENOSPC
    nth: int = 1
    late_s: float = 0.0


class Watching:
    """The watch of one cell."""

    def __init__(self) -> None:
        self.recording = False
        self.points: list[CrashPoint] = []
        self.trace: list[Event] = []
        self._waiting: list[tuple[Fault, int]] = []
        self._happening: dict[tuple[int | str, int, Cut], Callable[[], object]] = {}
        self.met: list[Fault] = []
        self._number = 0
        self._seen: dict[str, int] = {}
        self._due: Fault | None = None
        self._subject = ""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Faults that were not met yet."""
        return tuple(fault for fault, _ in self._waiting)

    def arm(self, fault: Fault) -> None:
        """Let this effect fail, counted from now on."""
        before = self._number if isinstance(fault.at, int) else self._seen.get(fault.at, 0)
        self._waiting.append((fault, before + (fault.at if isinstance(fault.at, int) else fault.nth)))

    def happening(self, at: int | str, cut: Cut, what: Callable[[], object], *, nth: int = 1) -> None:
        """Let something happen at this effect, counted from now on."""
        if isinstance(at, int):
            self._happening["", self._number + at, cut] = what
        else:
            self._happening[at, self._seen.get(at, 0) + nth, cut] = what

    def begins(self, effect: Effect, subject: str, cell: Cell, partials: tuple[Partial, ...], pid: int) -> None:
        """Record the world before and the worlds in between; fail what shall fail here."""
        self._number += 1
        self._seen[effect.name] = self._seen.get(effect.name, 0) + 1
        self._subject = subject
        self._due = self._armed(effect)
        if self.recording:
            self.trace.append(Event(self._number, effect.name, pid, subject))
            if effect.writes:
                self._record(effect, Cut.BEFORE, cell.world)
                for partial in partials:
                    world = _tried(partial, cell.world)
                    if world is not None:
                        self._record(effect, Cut.PARTLY, world)
        self._happens(effect, Cut.BEFORE)
        due = self._due
        if due is None:
            return
        if due.late_s:
            cell.world = cell.world.slept(int(due.late_s * 1e9))
        if due.error is None:
            self._meet(due)
            return
        if due.cut is Cut.BEFORE or (due.cut is Cut.PARTLY and _undoes_itself(effect)):
            self._fail(due, effect, Known.NONE)
        if due.cut is Cut.PARTLY and not effect.name.startswith(STEPPED):
            halves = [world for partial in partials if (world := _tried(partial, cell.world)) is not None]
            cell.world = halves[-1] if halves else cell.world
            self._fail(due, effect, Known.UNKNOWN)

    def halfway(self, effect: Effect, cell: Cell) -> None:
        """A child stands between two steps."""
        if self.recording:
            self._record(effect, Cut.PARTLY, cell.world)
        started = any(activity.counter for activity in cell.world.agenda)
        if started:
            self._happens(effect, Cut.PARTLY)
        if self._due is not None and self._due.cut is Cut.PARTLY and started:
            self._fail(self._due, effect, Known.UNKNOWN)

    def happened(self, effect: Effect, cell: Cell) -> None:
        """It is done; the caller learns of it next, or never."""
        if self.recording:
            self._record(effect, Cut.UNACKNOWLEDGED, cell.world)
            self._record(effect, Cut.AFTER, cell.world)
        if self._due is not None:
            # A program of a single step has no half; the nearest that can fail is its answer.
            self._fail(self._due, effect, Known.UNKNOWN)

    def _happens(self, effect: Effect, cut: Cut) -> None:
        for key in (("", self._number, cut), (effect.name, self._seen[effect.name], cut)):
            happening = self._happening.pop(key, None)
            if happening is not None:
                happening()

    def _armed(self, effect: Effect) -> Fault | None:
        for fault, count in self._waiting:
            if count == (self._number if isinstance(fault.at, int) else self._seen[effect.name]) and (
                isinstance(fault.at, int) or fault.at == effect.name
            ):
                return fault
        return None

    def _record(self, effect: Effect, cut: Cut, world: World) -> None:
        self.points.append(CrashPoint(self._number, effect.name, cut, world, self._subject))

    def _meet(self, fault: Fault) -> None:
        self._waiting = [each for each in self._waiting if each[0] is not fault]
        self.met.append(fault)
        self._due = None

    def _fail(self, fault: Fault, effect: Effect, known: Known) -> None:
        self._meet(fault)
        assert fault.error is not None, "one that is only late does not fail"
        if isinstance(fault.error, XensnapError):
            raise fault.error
        words = strerror(fault.error)
        if effect.name.startswith("qemu-img."):
            verb = effect.name.partition(".")[2]
            text = f"qemu-img: {verb} failed: {words}"
            raise ToolFailed(text, argv=("qemu-img", verb, self._subject), returncode=1, stderr=text, effect=known)
        if effect.name.startswith(_COMMANDS):
            if effect.name.startswith(("qmp.", "agent.")) and known is not Known.NONE:
                raise Unknown(f"{effect.name} {self._subject}: no answer ({words})")
            raise Failed(f"{effect.name} {self._subject}: {words}", id="command-failed", effect=known)
        if fault.cut is Cut.UNACKNOWLEDGED and _undoes_itself(effect):
            raise Unknown(f"{effect.name} {self._subject}: no answer ({words})")
        text = f"{effect.name} {self._subject}: {words}"
        raise FileFailed(text, path=self._subject, errno=fault.error, effect=known)


def _undoes_itself(effect: Effect) -> bool:
    return effect.name.rpartition(".")[2] in _UNDONE and not effect.name.startswith(_COMMANDS)


def _tried(partial: Partial, world: World) -> World | None:
    """The world in which an effect happened partly; None where it could not even begin."""
    try:
        return partial(world)
    except OSError:
        return None


def distinct(points: list[CrashPoint]) -> tuple[CrashPoint, ...]:
    """Without the points whose world is the very same as the one before: dying there is the same death."""
    kept: list[CrashPoint] = []
    for point in points:
        if not kept or kept[-1].world is not point.world:
            kept.append(point)
    return tuple(kept)
