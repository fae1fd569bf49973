"""The whole state of a simulated host as one frozen value: the product of what each layer keeps.

To fork a world is to keep the reference. Nothing in here is a callable; what is pending stands in the agenda.
"""

from collections.abc import Callable
from typing import Any, get_args

import msgspec
from immutables import Map

from simulator.core import agenda as pending
from simulator.core.agenda import Activity
from simulator.core.clock import Clock
from simulator.core.rng import Rng
from simulator.disk.filesystem import FileSystem
from simulator.guest import Guest
from simulator.qemu.graph import Qemu
from simulator.qemu.points import QmpError
from simulator.tools import qemu_img
from simulator.tools.qemu_img import Program, ToolError
from simulator.world import life, monitor, programs
from simulator.world.life import XlError
from simulator.world.monitor import QemuProgram, Work
from simulator.world.programs import XlProgram
from simulator.xen.domains import Domains
from simulator.xen.incarnations import Xen

replace = msgspec.structs.replace

STEP_NS = 2_000_000
"""How long one step of a tool takes: qemu-img 7.2.22 needs about 8 ms from end to end."""


AnyProgram = Program | XlProgram | QemuProgram
"""Whatever can be pending."""

# By type: every step of everything asks, and `isinstance` takes half a microsecond for each struct that it is not.
_TOOLS = frozenset(get_args(Program))
_STEPS: dict[type, Callable[[Any], tuple[tuple[str, Any], ...]]] = {
    **dict.fromkeys(_TOOLS, qemu_img.steps),
    **dict.fromkeys(get_args(XlProgram), programs.steps),
    **dict.fromkeys(get_args(QemuProgram), monitor.steps),
}


class Process(msgspec.Struct, frozen=True):
    """A process of the host. `engine` marks one of ours, which a crash of the engine ends."""

    pid: int
    command: str
    parent: int = 1
    engine: bool = False
    started_ns: int = 0


class World(msgspec.Struct, frozen=True):
    """Everything there is.

    Attributes:
        domains: what is stored of each domain, by uuid, whether it runs or not.
        xen, qemus, guests: what runs; the latter two by domid.
        boots: how many guests have been started.
        busy: whether a guest has a program that never rests.
        effects: how many effects have changed this world.
        written: what somebody has put into xenstore by hand, which stands above what it would hold without.
        writes: the number of the last write, unique in this world and all its forks' pasts.
    """

    fs: FileSystem
    rng: Rng
    boot_id: str
    domains: Domains = Map()
    clock: Clock = Clock()
    xen: Xen = Xen()
    qemus: Map[int, Qemu] = Map()
    guests: Map[int, Guest] = Map()
    agenda: tuple[Activity[AnyProgram], ...] = ()
    processes: Map[int, Process] = Map()
    next_pid: int = 100
    effects: int = 0
    writes: int = 0
    boots: int = 0
    busy: bool = False
    written: Map[str, str] = Map()

    @classmethod
    def fresh(cls, seed: int = 0) -> "World":
        """An empty host that has just booted."""
        rng, boot_id = Rng(seed).uuid()
        fs = FileSystem()
        for path in ("/var", "/var/lib", "/var/lib/xen", "/var/lib/xen/snapshots", "/images"):
            fs = fs.mkdir(path).sync_dir(path.rpartition("/")[0] or "/")
        return cls(fs, rng, boot_id)

    def with_fs(self, fs: FileSystem) -> "World":
        """The world with another file system."""
        return replace(self, fs=fs)

    def counted(self) -> "World":
        """One effect more has changed this world."""
        return replace(self, effects=self.effects + 1)

    def looked_at(self) -> "World":
        """The world for somebody who looks and keeps nothing: the ids that he draws nobody draws again.

        A plan that was only shown may be carried out later, and then has an id that must be its own.
        """
        return replace(self, rng=self.rng.apart(self.effects))

    # --- processes ---------------------------------------------------------------------------------------------------

    def started(self, command: str, *, parent: int = 1, engine: bool = False) -> "tuple[World, int]":
        """A process more, and its pid."""
        pid = self.next_pid
        process = Process(pid, command, parent, engine, self.clock.monotonic_ns)
        return replace(self, processes=self.processes.set(pid, process), next_pid=pid + 1), pid

    def ended(self, pid: int) -> "World":
        """The process is gone, with what it had open, its share in locks, and what it was doing."""
        if pid not in self.processes:
            agenda = pending.drop(self.agenda, pid)
            return self if len(agenda) == len(self.agenda) else replace(self, agenda=agenda)
        return replace(
            self,
            fs=self.fs.closed(pid).unlocked(pid),
            processes=self.processes.delete(pid),
            agenda=pending.drop(self.agenda, pid),
        )

    def spawned(self, program: Program, *, parent: int) -> "tuple[World, int]":
        """A child at work: it holds its parent's locks and has the images open that it works on."""
        qemu_img.begin(self.fs, program)
        world, pid = self.started(" ".join(qemu_img.argv(program)), parent=parent)
        fs = world.fs.inherited(parent, pid)
        if isinstance(program, qemu_img.CreateOverlay) and fs.find(program.path) is None:
            fs = fs.create(program.path, mode=0o644)  # somebody has removed it: the tool makes it as it makes any
        fs = fs.opened(program.written, pid, writing=True)
        for path in program.read:
            fs = fs.opened(path, pid, writing=False)
        return replace(world, fs=fs, agenda=(*world.agenda, Activity(pid, program))), pid

    def xl_spawned(self, program: XlProgram, *, parent: int) -> "tuple[World, int]":
        """Xl as a child at work: it holds its parent's locks, and a save has its file open."""
        world, pid = self.started(" ".join(programs.argv(program)), parent=parent)
        fs = world.fs.inherited(parent, pid)
        if isinstance(program, programs.Build):
            program = replace(program, serial=pid)
        path = program.memory if isinstance(program, programs.Build) else program.path
        if path and fs.find(path) is not None:
            fs = fs.opened(path, pid, writing=not isinstance(program, programs.Build))
        return replace(world, fs=fs, agenda=(*world.agenda, Activity(pid, program))), pid

    def told(self, program: QemuProgram) -> "tuple[World, int]":
        """A QEMU at work. The activity has a number of its own but is no process: whoever told it may die."""
        number = self.next_pid
        return replace(self, next_pid=number + 1, agenda=(*self.agenda, Activity(number, program))), number

    def held(self, domid: int) -> str:
        """Which of a domain's monitors somebody keeps to himself."""
        qemu = self.qemus.get(domid)
        return qemu.held if qemu else ""

    # --- time --------------------------------------------------------------------------------------------------------

    def at_end(self, pid: int) -> bool:
        """Whether a child has nothing left to do."""
        activity = pending.find(self.agenda, pid)
        if activity is None:
            return True
        if type(activity.program) is Work:
            return monitor.job_of(self, activity.program) is None
        return activity.counter >= len(_steps(activity.program))

    def advanced(self, pid: int) -> "World":
        """One step more of a child. Raises `ToolError` or `XlError` where its program ends with an error."""
        activity = pending.find(self.agenda, pid)
        assert activity is not None
        repeated = type(activity.program) is Work
        clock = self.clock.after(monitor.JOB_STEP_NS if repeated else STEP_NS)
        _, step = _steps(activity.program)[0 if repeated else activity.counter]
        if type(activity.program) in _TOOLS:
            world = replace(self, fs=step(self.fs, activity.program, clock.now_ns), clock=clock)
        else:
            # The guests had these milliseconds, too.
            world = step(replace(life.lived(self) if self.busy else self, clock=clock), activity.program)
        return replace(world, agenda=pending.put(world.agenda, activity.stepped()))

    def orphans(self) -> tuple[int, ...]:
        """The children at work whose parent is gone, and what QEMUs are at work on."""
        return tuple(
            activity.pid
            for activity in self.agenda
            if (isinstance(activity.program, Program | XlProgram) or not monitor.idle(self, activity.program))
            and ((process := self.processes.get(activity.pid)) is None or process.parent not in self.processes)
        )

    def went_on(self, pid: int) -> "World":
        """One step of an orphan, whose errors nobody hears; after its last step it is gone."""
        if self.at_end(pid):
            return self.ended(pid)
        try:
            return self.advanced(pid)
        except ToolError as error:
            left = self if error.fs is None else replace(self, fs=error.fs)
            return left.ended(pid)
        except XlError as error:
            return (error.world or self).ended(pid)
        except QmpError:
            return self.ended(pid)

    def slept(self, ns: int) -> "World":
        """Time passes: every orphan goes on for as many steps as fit in, and every guest does what it does."""
        world = self
        until = self.clock.monotonic_ns + ns
        while world.clock.monotonic_ns < until and (orphans := world.orphans()):
            for pid in orphans:
                world = world.went_on(pid)
        if world.busy:
            world = life.lived(world)
        left = until - world.clock.monotonic_ns
        return replace(world, clock=world.clock.after(left)) if left > 0 else world


def _steps(program: AnyProgram) -> tuple[tuple[str, Any], ...]:
    return _STEPS[type(program)](program)
