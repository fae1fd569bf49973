"""State machines for tools that take snapshots: Hypothesis draws what happens, and finds the shortest that goes wrong.

    TestMine = snapshot_machine(MyTool, faults=True).TestCase

A failure carries a replay capsule, which the pytest plugin writes to a file.
"""

import sys
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from simulator import SimulatedHost, World
from simulator.checkers import Finding
from xensnap.testing import capsules, strategies
from xensnap.testing.checks import host_findings
from xensnap.testing.course import Course, Create, Deed, Delete, Revert, Start, Stop, Write, runs
from xensnap.testing.tools import MakeTool, OurTool
from xensnap.testing.values import DiskLayout, FaultPlan, GuestWrite

DOMAIN = "guest"
NAMES = ("a", "b", "c", "1")


class SnapshotMachine(RuleBasedStateMachine):
    """One domain under a tool: written to, started, stopped, snapshotted, reverted; every snapshot keeps its promise.

    Subclass it to add rules and invariants of your own: `self.course` has the hosts, `self.do` does a deed and looks.

    Attributes:
        tools: what is tried, or what must agree; xensnap's own engine where nothing else is said.
        faults: whether effects fail now and then while a tool works. It is then begun anew, and must recover.
    """

    tools: ClassVar[tuple[MakeTool, ...]] = (OurTool,)
    faults: ClassVar[bool] = False

    world: World
    course: Course

    @initialize(layouts=strategies.disk_layouts(max_size=2, max_layers=2), seed=st.integers(0, 1 << 16))
    def define_the_domain(self, layouts: list[DiskLayout], seed: int) -> None:
        """A host with one domain that is off."""
        host = SimulatedHost.fresh(seed)
        host.add_domain(DOMAIN, disks=[layout.make(host, DOMAIN) for layout in layouts])
        self.world = host.world.ended(host.pid)
        self.course = Course(self.world, DOMAIN, self.tools, case=type(self).__qualname__, findings=self.findings)

    def findings(self, host: SimulatedHost) -> Iterable[Finding]:
        """What is wrong with a host after a deed, whatever the tool; nothing must be."""
        return host_findings(host)

    def do(self, deed: Deed) -> None:
        """Do it on every host, and look."""
        self.course.do(deed)

    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        """The guest writes to one of its disks."""
        vdevs = sorted(self.course.sides[0].now)
        one = st.builds(GuestWrite, st.sampled_from(vdevs), st.integers(0, 7), st.integers(1, 4))
        self.do(Write(data.draw(one)))

    @precondition(lambda self: not runs(self.course.hosts[0], DOMAIN))
    @rule()
    def start(self) -> None:
        """The operator starts the guest."""
        self.do(Start())

    @precondition(lambda self: runs(self.course.hosts[0], DOMAIN))
    @rule()
    def stop(self) -> None:
        """The operator cuts its power."""
        self.do(Stop())

    @rule(name=st.sampled_from(NAMES), data=st.data())
    def create(self, name: str, data: st.DataObject) -> None:
        """The tool takes a snapshot. A name that is taken it must not take again."""
        self.do(Create(name, self._fault(data)))

    @precondition(lambda self: self.course.saved)
    @rule(data=st.data())
    def revert(self, data: st.DataObject) -> None:
        """The tool reverts to one of the snapshots."""
        self.do(Revert(data.draw(st.sampled_from(sorted(self.course.saved))), self._fault(data)))

    @precondition(lambda self: self.course.saved)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """The tool deletes one of the snapshots."""
        self.do(Delete(data.draw(st.sampled_from(sorted(self.course.saved))), self._fault(data)))

    def _fault(self, data: st.DataObject) -> FaultPlan | None:
        return data.draw(st.none() | strategies.fault_plans()) if self.faults else None

    def teardown(self) -> None:
        """Give a failure its capsule."""
        error = sys.exc_info()[1]
        if isinstance(error, Exception) and not isinstance(error, HypothesisException) and hasattr(self, "course"):
            held = capsules.capsule_of(
                self.course, self.world, DOMAIN, self.tools, error, story=type(self).__doc__ or ""
            )
            capsules.attach(error, held)


def snapshot_machine(engine: MakeTool = OurTool, *, faults: bool = False) -> type[SnapshotMachine]:
    """A machine for one tool.

    Args:
        engine: starts a process of the tool on a host.
        faults: whether effects fail now and then while it works.
    """
    return _machine(engine.__name__, (engine,), faults=faults)


def DualMachine(left: MakeTool, right: MakeTool) -> type[SnapshotMachine]:  # noqa: N802 -- it makes a class
    """A machine for two tools that must agree, and both be right.

    Args:
        left: starts a process of the one on its host.
        right: starts a process of the other on another host, which is the same to begin with.
    """
    return _machine(f"{left.__name__}And{right.__name__}", (left, right), faults=False)


def _machine(name: str, tools: tuple[MakeTool, ...], *, faults: bool) -> type[SnapshotMachine]:
    fields: dict[str, Any] = {"tools": tools, "faults": faults, "__doc__": SnapshotMachine.__doc__}
    made: Callable[..., type[SnapshotMachine]] = type
    return made(f"{name}Machine", (SnapshotMachine,), fields)
