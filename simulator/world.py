"""The whole state of a simulated host as one frozen value: the product of what each layer keeps.

To fork a world is to keep the reference. Nothing in here is a callable; what is pending stands in the agenda.
"""

import msgspec
from immutables import Map

from simulator.core import agenda as pending
from simulator.core.agenda import Activity
from simulator.core.clock import Clock
from simulator.core.rng import Rng
from simulator.disk.filesystem import FileSystem
from simulator.tools import qemu_img
from simulator.tools.qemu_img import Program, ToolError
from simulator.xen.domains import Domains

replace = msgspec.structs.replace

STEP_NS = 2_000_000
"""How long one step of a tool takes: qemu-img 7.2.22 needs about 8 ms from end to end."""


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
        effects: how many effects have changed this world.
        writes: the number of the last write, unique in this world and all its forks' pasts.
    """

    fs: FileSystem
    rng: Rng
    boot_id: str
    domains: Domains = Map()
    clock: Clock = Clock()
    agenda: tuple[Activity[Program], ...] = ()
    processes: Map[int, Process] = Map()
    next_pid: int = 100
    effects: int = 0
    writes: int = 0

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

    # --- processes ---------------------------------------------------------------------------------------------------

    def started(self, command: str, *, parent: int = 1, engine: bool = False) -> "tuple[World, int]":
        """A process more, and its pid."""
        pid = self.next_pid
        process = Process(pid, command, parent, engine, self.clock.monotonic_ns)
        return replace(self, processes=self.processes.set(pid, process), next_pid=pid + 1), pid

    def ended(self, pid: int) -> "World":
        """The process is gone, with what it had open, its share in locks, and what it was doing."""
        if pid not in self.processes:
            return self
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
        for path in qemu_img.writes(program):
            fs = fs.opened(path, pid, writing=True)
        for path in qemu_img.reads(program):
            fs = fs.opened(path, pid, writing=False)
        return replace(world, fs=fs, agenda=(*world.agenda, Activity(pid, program))), pid

    # --- time --------------------------------------------------------------------------------------------------------

    def at_end(self, pid: int) -> bool:
        """Whether a child has nothing left to do."""
        activity = pending.find(self.agenda, pid)
        return activity is None or activity.counter >= len(qemu_img.steps(activity.program))

    def advanced(self, pid: int) -> "World":
        """One step more of a child. Raises `ToolError` where its program ends with an error."""
        activity = pending.find(self.agenda, pid)
        assert activity is not None
        clock = self.clock.after(STEP_NS)
        _, step = qemu_img.steps(activity.program)[activity.counter]
        fs = step(self.fs, activity.program, clock.now_ns)
        return replace(self, fs=fs, clock=clock, agenda=pending.put(self.agenda, activity.stepped()))

    def orphans(self) -> tuple[int, ...]:
        """The children at work whose parent is gone."""
        return tuple(
            activity.pid
            for activity in self.agenda
            if (process := self.processes.get(activity.pid)) is None or process.parent not in self.processes
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

    def slept(self, ns: int) -> "World":
        """Time passes, and every orphan goes on for as many steps as fit in."""
        world = self
        until = self.clock.monotonic_ns + ns
        while world.clock.monotonic_ns < until and (orphans := world.orphans()):
            for pid in orphans:
                world = world.went_on(pid)
        left = until - world.clock.monotonic_ns
        return replace(world, clock=world.clock.after(left)) if left > 0 else world
