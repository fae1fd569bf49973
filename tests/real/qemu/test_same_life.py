"""The same lives of a guest on the simulator and on QEMU with real memory: what is refused, what there is, what it saw.

After every step both guests are in the same state, their disks have the same chains and snapshot tables, their records
say the same, and each says of itself that memory and disks are of one moment.
"""

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.real.qemu.running_benches import DOMAIN, GuestBench, RealGuest, Seen, SimulatedGuest
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Refused
from xensnap.hypervisor import Then
from xensnap.model import Consistency, Format, Kind, RunState

NAMES = ("a", "b", "c")
FORMATS = st.tuples(*[st.sampled_from([Format.QCOW2, Format.QCOW2, Format.RAW])] * 2)
THEN = st.sampled_from([Then.SAME, Then.SAME, *Then])
ONLY_ON_XEN = {"paused-guest", "image-open-twice"}
"""Why a simulated HVM guest may be refused: it suspends itself, and before it has run its disks are open twice."""
ON = (RunState.RUNNING, RunState.PAUSED)


class SameLife(RuleBasedStateMachine):
    """One guest in two worlds."""

    def __init__(self) -> None:
        super().__init__()
        self.benches: tuple[GuestBench, ...] = ()
        self.state = RunState.OFF
        self.saved: dict[str, list[tuple[Seen, Seen]]] = {}
        """By snapshot, for each bench: what was seen before it was taken, and after."""

    @initialize(formats=FORMATS, seed=st.integers(0, 3))
    def define(self, formats: tuple[Format, ...], seed: int) -> None:
        self.benches = (SimulatedGuest(formats, seed), RealGuest(formats))

    # When: the guest and its operator --------------------------------------------------------------------------------

    @precondition(lambda self: self.state is RunState.OFF)
    @rule(paused=st.booleans())
    def start(self, paused: bool) -> None:
        for bench in self.benches:
            bench.engine.start(DOMAIN, paused=paused)
        self.state = RunState.PAUSED if paused else RunState.RUNNING

    @precondition(lambda self: self.state in ON)
    @rule()
    def stop(self) -> None:
        for bench in self.benches:
            bench.engine.stop(DOMAIN)
        self.state = RunState.OFF

    @precondition(lambda self: self.state is RunState.RUNNING)
    @rule()
    def pause(self) -> None:
        for bench in self.benches:
            bench.engine.pause(DOMAIN)
        self.state = RunState.PAUSED

    @precondition(lambda self: self.state is RunState.PAUSED)
    @rule()
    def unpause(self) -> None:
        for bench in self.benches:
            bench.engine.unpause(DOMAIN)
        self.state = RunState.RUNNING

    @precondition(lambda self: self.state is RunState.RUNNING)
    @rule()
    def work(self) -> None:
        for bench in self.benches:
            bench.work()

    # When: snapshots -------------------------------------------------------------------------------------------------

    @rule(
        name=st.sampled_from(NAMES),
        kind=st.sampled_from([None, Kind.INTERNAL, Kind.EXTERNAL]),
        disk_only=st.sampled_from([False, False, True]),
        live=st.sampled_from([False, False, True]),
        then=THEN,
    )
    def create(self, name: str, kind: Kind | None, disk_only: bool, live: bool, then: Then) -> None:
        request = CreateRequest(name, kind=kind, disk_only=disk_only, live=live, then=then)
        before = [bench.seen() for bench in self.benches]
        if self._refused("create", request):
            return
        self._is_now(then)
        self.saved[name] = list(zip(before, [bench.seen() for bench in self.benches], strict=True))

    @precondition(lambda self: self.saved)
    @rule(data=st.data(), then=THEN)
    def revert(self, data: st.DataObject, then: Then) -> None:
        name = data.draw(st.sampled_from(sorted(self.saved)))
        if self._refused("revert", RevertRequest(name, then=then)):
            return
        snapshot = self.benches[0].engine.list(DOMAIN).contents.snapshots[name]
        self.state = snapshot.state if snapshot.state in ON else RunState.OFF
        self._is_now(then)
        remembers = snapshot.consistency is Consistency.CHECKPOINT and self.state in ON
        for bench, (moment, after) in zip(self.benches, self.saved[name], strict=True):
            bench.is_back(moment, after, memory=remembers)

    @precondition(lambda self: self.saved)
    @rule(data=st.data(), children=st.booleans())
    def delete(self, data: st.DataObject, children: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.saved)))
        if not self._refused("delete", DeleteRequest(name, children=children)):
            left = self.benches[0].engine.list(DOMAIN).contents.snapshots
            self.saved = {kept: seen for kept, seen in self.saved.items() if kept in left}

    def _is_now(self, then: Then) -> None:
        now = {Then.RUNNING: RunState.RUNNING, Then.PAUSED: RunState.PAUSED, Then.STOPPED: RunState.OFF}
        self.state = now.get(then, self.state)

    def _refused(self, verb: str, request: Any) -> tuple[str, ...]:
        """The ids of the reasons, which both have to give; none where it was done."""
        told = [_reasons(bench, request) for bench in self.benches]
        # Where only Xen is in the way, nothing is done on either.
        alike = tuple(reason for reason in told[0] if reason not in ONLY_ON_XEN)
        assert alike == told[1], "the two refuse for different reasons"
        if not told[0]:
            for bench in self.benches:
                getattr(bench.engine, verb)(DOMAIN, request)
        return told[0]

    # Then ------------------------------------------------------------------------------------------------------------

    @invariant()
    def both_are_the_same(self) -> None:
        if self.benches:
            simulated, real = (_shape(bench) for bench in self.benches)
            assert simulated == real, f"{simulated}\n{real}"
            assert simulated["state"] is self.state

    @invariant()
    def memory_and_disks_agree(self) -> None:
        for bench in self.benches:
            bench.agrees()

    def teardown(self) -> None:
        for bench in self.benches:
            bench.close()


def _reasons(bench: GuestBench, request: Any) -> tuple[str, ...]:
    try:
        bench.engine.plan(DOMAIN, request)
    except Refused as error:
        return tuple(reason.id for reason in error.reasons)
    return ()


def _shape(bench: GuestBench) -> dict[str, Any]:
    """All that both worlds have alike, without what names and clocks make different."""
    view = bench.engine.view(DOMAIN)
    assert not view.pending
    assert not view.damaged
    return {
        "state": view.domain.state,
        "current": view.state.current,
        "hidden": len(view.state.hidden),
        "ours": sorted(entry.role for entry in view.state.ours),
        "disks": [
            [
                (image.layer.format, image.virtual_size_bytes, [(each.id, each.tag) for each in image.snapshots])
                for image in disk.chain or ()
            ]
            for disk in view.disks
        ],
        # By name: what was made within one second has no other order.
        "records": sorted(
            (
                each.name,
                str(each.parent),
                each.state,
                each.consistency,
                each.live,
                sorted(each.kinds),
                bool(each.memory),
            )
            for each in view.snapshots.values()
        ),
        "memories": sorted(view.memories),
    }


TestSameLife = pytest.mark.usefixtures("qemu_system", "qemu_img", "qemu_io")(pytest.mark.real(SameLife.TestCase))
TestSameLife.settings = settings(
    max_examples=4,
    stateful_step_count=10,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a real guest is too slow to shrink with
    deadline=None,
)
