"""Machines find what is wrong with a tool, shrink it, and leave a capsule that shows it again."""

import json

import pytest
from hypothesis import HealthCheck, Phase, settings

from simulator import SimulatedHost
from xensnap.testing import DualMachine, OurTool, SnapshotMachine, capsules, run_conformance, snapshot_machine

FEW = settings(max_examples=6, stateful_step_count=8, suppress_health_check=list(HealthCheck))
MANY = settings(FEW, max_examples=100, phases=[Phase.generate, Phase.shrink], report_multiple_bugs=False)


class Forgetful(OurTool):
    """Believes that it has reverted as soon as there are two snapshots."""

    def revert(self, domain: str, name: str) -> object:
        return None if len(self.names(domain)) > 1 else super().revert(domain, name)


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
