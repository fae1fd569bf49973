"""The course of one domain under one tool or several: deeds as data, done on hosts, held to what must be.

What must be is kept beside the hosts, as plain dictionaries. After each deed every disk shows what it must, nothing on
the host is wrong that a checker knows of, and every snapshot there is, reverted to on a fork, gives back what it held.
A course needs no Hypothesis: machines draw deeds for it, and a replay reads them from a capsule.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from simulator import SimulatedHost, World
from simulator.checkers import Finding
from simulator.disk.content import SECTOR
from simulator.inside import Visible
from xensnap.conformance.events import Did
from xensnap.conformance.trial import differing
from xensnap.hypervisor import Hypervisor
from xensnap.model import RunState
from xensnap.testing.checks import host_findings
from xensnap.testing.tools import MakeTool, SnapshotTool
from xensnap.testing.values import CLUSTER_BYTES, FaultPlan, GuestWrite


class Write(msgspec.Struct, frozen=True, tag="write", tag_field="do"):
    """The guest writes."""

    write: GuestWrite


class Start(msgspec.Struct, frozen=True, tag="start", tag_field="do"):
    """The operator starts the guest."""


class Stop(msgspec.Struct, frozen=True, tag="stop", tag_field="do"):
    """The operator cuts the guest's power."""


class Create(msgspec.Struct, frozen=True, tag="create", tag_field="do"):
    """The tool takes a snapshot; with a fault, that happens meanwhile."""

    name: str
    fault: FaultPlan | None = None


class Revert(msgspec.Struct, frozen=True, tag="revert", tag_field="do"):
    """The tool reverts."""

    name: str
    fault: FaultPlan | None = None


class Delete(msgspec.Struct, frozen=True, tag="delete", tag_field="do"):
    """The tool deletes a snapshot."""

    name: str
    fault: FaultPlan | None = None


Deed = Write | Start | Stop | Create | Revert | Delete
Shown = dict[str, Visible]
Findings = Callable[[SimulatedHost], Iterable[Finding]]


class Wrong(AssertionError):
    """Something is not as it must be after a deed."""


class Course:
    """One domain, and each tool's host.

    Args:
        world: the hosts to begin with; each tool gets a fork.
        domain: name or UUID of the domain.
        tools: one, or several that must agree.
        case: what the deeds are told under.
        findings: what must find nothing after each deed.
    """

    def __init__(
        self,
        world: World,
        domain: str,
        tools: Sequence[MakeTool],
        *,
        case: str = "",
        findings: Findings = host_findings,
    ) -> None:
        self.case = case
        self.sides = tuple(Side(SimulatedHost(world), make, domain, findings) for make in tools)
        self.deeds: list[Deed] = []
        self.told: list[Did] = []

    @property
    def hosts(self) -> tuple[SimulatedHost, ...]:
        """The host of each tool, as it is now."""
        return tuple(side.host for side in self.sides)

    @property
    def saved(self) -> frozenset[str]:
        """The names of the snapshots there must be."""
        return frozenset(self.sides[0].saved)

    def do(self, deed: Deed) -> None:
        """Do it on every side, and look.

        Raises:
            Wrong: something is not as it must be, or the tools do not agree.
        """
        self.deeds.append(deed)
        before = tuple(sorted(self.sides[0].saved))
        told = "not done"
        try:
            answers = [side.do(deed) for side in self.sides]
            told = answers[0]
            if len({*answers}) > 1:
                raise Wrong(f"{words(deed)}: the tools do not agree: {' / '.join(answers)}")
            for side in self.sides:
                side.look()
        finally:
            self.told.append(Did(self.case, words(deed), told, before=before, tree=tuple(sorted(self.sides[0].saved))))


class Side:
    """One tool on one host, with what must be there."""

    def __init__(self, host: SimulatedHost, make: MakeTool, domain: str, findings: Findings) -> None:
        self.host = host
        self.make = make
        self.domain = domain
        self.findings = findings
        self.tool: SnapshotTool = make(host)
        self.now: Shown = host.visible(domain)
        self.saved: dict[str, Shown] = {}
        self.writes: dict[int, str] = {}

    def do(self, deed: Deed) -> str:
        """Do it; how it ended, in words."""
        match deed:
            case Write():
                sizes = {vdev: shown[0] // CLUSTER_BYTES for vdev, shown in self.now.items()}
                number = deed.write.do(self.host, self.domain, sizes)
                self.writes[number] = words(deed)
                self.now = self.host.visible(self.domain)
            case Start():
                self.host.start(self.domain)
            case Stop():
                domain = self.host.run(self.host.toolstack.inspect(self.domain))
                self.host.run(self.host.toolstack.destroy(domain))
            case Create() | Revert() | Delete():
                return self._worked(deed)
        return "done"

    def _worked(self, deed: Create | Revert | Delete) -> str:
        allowed = (deed.name in self.saved) is not isinstance(deed, Create)
        if deed.fault is not None:
            deed.fault.arm(self.host)
        try:
            getattr(self.tool, deed.__struct_config__.tag)(self.domain, deed.name)  # type: ignore[arg-type]
        except Exception as error:
            met = deed.fault is not None and not self.host.unmet_faults
            self.host.cell.watch = None
            if not met and allowed:
                raise Wrong(f"{words(deed)} failed without a fault: {type(error).__name__}: {error}") from error
            if met:
                self._begin_anew(deed)
            return f"{'failed' if met else 'refused'}: {type(error).__name__}"
        self.host.cell.watch = None  # a fault that was not met is none of the next deed's
        if not allowed:
            raise Wrong(f"{words(deed)}: done, although the name is {'taken' if isinstance(deed, Create) else 'free'}")
        self._takes(deed)
        return "done"

    def _takes(self, deed: Create | Revert | Delete) -> None:
        match deed:
            case Create():
                self.saved[deed.name] = self.now
            case Revert():
                self.now = self.saved[deed.name]
            case Delete():
                del self.saved[deed.name]

    def _begin_anew(self, deed: Create | Revert | Delete) -> None:
        """A new process recovers; then all is as before the deed or as after it."""
        self.host = SimulatedHost(self.host.world.ended(self.host.pid))
        self.tool = self.make(self.host)
        self.tool.recover(self.domain)
        if isinstance(deed, Revert):
            done = self.host.visible(self.domain) != self.now
        else:
            done = (deed.name in self.tool.names(self.domain)) is isinstance(deed, Create)
        if done:
            self._takes(deed)

    def look(self) -> None:
        """Everything is as it must be.

        Raises:
            Wrong: it is not.
        """
        if found := [*self.findings(self.host)]:
            raise Wrong("\n".join(["the host is not sound:", *map(str, found)]))
        self._same(self.host, self.now, "now")
        names = frozenset(self.tool.names(self.domain))
        if names != frozenset(self.saved):
            raise Wrong(f"the snapshots are {sorted(names)}, and must be {sorted(self.saved)}")
        for name, shown in self.saved.items():
            fork = self.host.fork()
            try:
                self.make(fork).revert(self.domain, name)
            except Exception as error:
                raise Wrong(f"no way back to {name!r}: {type(error).__name__}: {error}") from error
            self._same(fork, shown, f"after a revert to {name!r}")

    def _same(self, host: SimulatedHost, wanted: Shown, when: str) -> None:
        """Every disk shows what it must; where not, each stretch is told with who wrote what is there instead."""
        found = host.visible(self.domain)
        if found == wanted:
            return
        told = [f"{when}, something else is on the disks:"]
        for vdev, (size_bytes, content) in wanted.items():
            here_bytes, here = found.get(vdev, (0, ()))
            if here_bytes != size_bytes:
                told.append(f"{vdev} is {here_bytes} bytes large, not {size_bytes}")
            told += [
                f"{vdev} sectors {low} to {high}: {self._wrote(now)} instead of {self._wrote(then)}"
                for low, high, now, then in differing(_sectors(here_bytes, here), _sectors(size_bytes, content))
            ]
        raise Wrong("\n".join(told))

    def _wrote(self, number: int) -> str:
        if not number:
            return "zeros"
        return f"write {number} ({self.writes.get(number, 'before the first deed, or by nobody')})"


def _sectors(size_bytes: int, runs: Iterable[tuple[int, int, int]]) -> tuple[int, ...]:
    sectors = [0] * (size_bytes // SECTOR)
    for low, high, number in runs:
        sectors[low:high] = [number] * (high - low)
    return tuple(sectors)


def runs(host: Hypervisor, domain: str) -> bool:
    """Whether the guest is up."""
    return host.run(host.toolstack.inspect(domain)).state is not RunState.OFF


def words(deed: Deed) -> str:
    """A deed as people say it."""
    match deed:
        case Write(write):
            end = write.cluster + write.clusters - 1
            return f"write to {write.vdev}, clusters {write.cluster} to {end}"
        case Start():
            return "start the guest"
        case Stop():
            return "cut its power"
        case Create(name, fault) | Revert(name, fault) | Delete(name, fault):
            broken = (
                f", while {fault.effect} fails {fault.cut} (error {fault.errno}, time {fault.nth})" if fault else ""
            )
            return f"{deed.__struct_config__.tag} {name!r}{broken}"
