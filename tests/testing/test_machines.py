"""Machines find what is wrong with a tool, shrink it, and leave a capsule that shows it again."""

import json
import re

import pytest
from hypothesis import HealthCheck, Phase, settings

from simulator import SimulatedHost, World
from xensnap.errors import XensnapError
from xensnap.testing import (
    DualMachine,
    OurTool,
    SnapshotMachine,
    capsules,
    fail_everywhere,
    run_conformance,
    snapshot_machine,
)
from xensnap.testing.course import Create, Deed, Delete, Revert, Start, Write, Wrong
from xensnap.testing.values import CLUSTER_BYTES, GuestWrite

FEW = settings(max_examples=6, stateful_step_count=8, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=100, phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False)


class Forgetful(OurTool):
    """Believes that it has reverted as soon as there are two snapshots."""

    def revert(self, domain: str, name: str) -> object:
        return None if len(self.names(domain)) > 1 else super().revert(domain, name)


class Boasting(OurTool):
    """Says that all went well, whatever happened; wrong only where something fails."""

    def create(self, domain: str, name: str) -> object:
        try:
            return super().create(domain, name)
        except XensnapError:
            return None


class Timid(OurTool):
    """Does everything right, but refuses some names."""

    def create(self, domain: str, name: str) -> object:
        if name == "1":
            raise ValueError("a name must not be a number")
        return super().create(domain, name)


class Cutting(OurTool):
    """Leaves guests without power behind."""

    def __init__(self, host: SimulatedHost) -> None:
        super().__init__(host)
        self._host = host

    def create(self, domain: str, name: str) -> object:
        made = super().create(domain, name)
        found = self._host.run(self._host.toolstack.inspect(domain))
        if found.domid is not None:
            self._host.run(self._host.toolstack.pause(found))
        return made


class WithAnInvariant(SnapshotMachine):
    """Somebody's own machine, with a rule of the house."""

    def do(self, deed) -> None:
        super().do(deed)
        assert len(self.course.saved) < 2, "this house keeps one snapshot"


def failure(machine: type[SnapshotMachine], how: settings = MANY) -> BaseException:
    case = machine.TestCase("runTest")
    setattr(case, "settings", how)  # noqa: B010 -- unittest's way, not the type checker's
    with pytest.raises(AssertionError) as caught:
        case.runTest()
    return caught.value


TestOurs = snapshot_machine().TestCase
TestOurs.settings = FEW
TestOursUnderFaults = snapshot_machine(faults=True).TestCase
TestOursUnderFaults.settings = FEW
TestBoth = DualMachine(OurTool, OurTool).TestCase
TestBoth.settings = FEW


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        (Forgetful, "sectors 0 to 127: write 1 (write to xvda, clusters 0 to 0) instead of zeros"),
        (Timid, "create '1' failed without a fault: ValueError: a name must not be a number"),
        (Cutting, "the host is not sound:"),
    ],
)
def test_what_is_wrong_with_a_tool_is_found(tool, words) -> None:
    error = failure(snapshot_machine(tool))
    assert words in str(error)
    held = capsules.attached(error)
    assert held is not None
    assert held.tools == (f"{__name__}:{tool.__name__}",)
    assert len(held.deeds) == len(held.told) < 7


COURSES: dict[str, list[Deed]] = {
    "create": [Create("a"), Write(GuestWrite("xvda", 1)), Create("b")],
    "revert": [Create("a"), Write(GuestWrite("xvda", 1)), Create("b"), Revert("a")],
    "delete": [Create("a"), Write(GuestWrite("xvda", 1)), Create("b"), Delete("a")],
}


@pytest.fixture
def world(sim_host) -> World:
    """A host with one domain that is off and has one disk."""
    sim_host.add_domain("guest", disks={"xvda": sim_host.create_image("/images/root", "qcow2", 4 * CLUSTER_BYTES).path})
    return sim_host.world.ended(sim_host.pid)


@pytest.mark.parametrize("deeds", COURSES.values(), ids=COURSES.keys())
def test_our_tool_bears_a_fault_at_every_effect(world, deeds) -> None:
    assert fail_everywhere(world, "guest", OurTool, deeds) > 30


def test_a_tool_that_is_wrong_only_under_faults_is_found_surely(world) -> None:
    found = []
    for _ in range(2):
        with pytest.raises(Wrong, match=re.escape("the snapshots are ['a'], and must be ['a', 'b']")) as caught:
            fail_everywhere(world, "guest", Boasting, COURSES["create"])
        found.append(str(caught.value))
    assert found[0] == found[1], "found by luck"


def test_a_deed_that_is_not_the_tools_cannot_fail(world) -> None:
    with pytest.raises(AssertionError, match="the last deed is not the tool's"):
        fail_everywhere(world, "guest", OurTool, [Create("a"), Start()])


def test_two_tools_that_do_not_agree_are_told_apart() -> None:
    error = failure(DualMachine(OurTool, Timid))
    assert "create '1' failed without a fault" in str(error)


def test_a_rule_of_ones_own_is_added_by_subclassing() -> None:
    error = failure(WithAnInvariant)
    held = capsules.attached(error)
    assert held is not None
    assert [deed["do"] for deed in json.loads(capsules.encode(held))["deeds"]][-2:] == ["create", "create"]


def test_conformance_is_one_call() -> None:
    from tests.conformance.broken import applies_nothing, can_only_work_on_disks_inside
    from xensnap.hypervisor import Capability

    run = run_conformance("sim", capabilities=[Capability.MEMORY], profiles=["core"])
    assert run.ended.bad == 0
    with pytest.raises(AssertionError, match="core/disks-come-back: after the revert: 40 blocks differ"):
        run_conformance(applies_nothing, profiles=["core"])
    with pytest.raises(AssertionError, match="does not declare memory"):
        run_conformance(can_only_work_on_disks_inside, capabilities=[Capability.MEMORY], profiles=["metadata"])
