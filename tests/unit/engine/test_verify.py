"""What `verify` calls intact can be reverted to, whatever has been damaged, and nothing that a check counts is kept."""

import pytest

from simulator.faults.damage import Leak
from tests.crash.harness import GUEST
from tests.doctor.damages import CASES, REMEMBERED, TOLD, Case, damage
from xensnap.engine.engine import Engine
from xensnap.engine.request import RevertRequest
from xensnap.engine.verify import findings
from xensnap.errors import NotFound, Refused

LOST = {"image-missing", "image-changed", "memory-missing", "memory-changed"}
"""Reasons against a revert that lie in what a snapshot holds."""

LOSSES = [name for name, case in CASES.items() if case.finding.startswith(("chain-", "image-", "memory-", "tag-"))]

_ONE_DOOR = pytest.mark.one_door("a domain that is off is there what its store remembers of it")


@pytest.mark.parametrize("name", [pytest.param(name, marks=_ONE_DOOR if name in REMEMBERED else ()) for name in LOSSES])
def test_nothing_is_intact_that_a_revert_would_refuse(name: str) -> None:
    engine = Engine(damage(CASES[name]))
    view = engine.view(GUEST)
    looked = engine.verify(view)
    for snapshot in view.snapshots.values():
        try:
            engine.plan(GUEST, RevertRequest(snapshot.name))
        except (Refused, NotFound) as error:
            lost = {reason.id for reason in error.reasons} & LOST
            assert not lost or any(each.fatal for each in findings(view, looked, snapshot)), (snapshot.name, lost)


def test_stale_flags_are_told_before_a_guest_writes_into_a_snapshot() -> None:
    engine = Engine(damage(Case("flags-stale", TOLD, lambda scene: [Leak(scene.qcow2, 0, stale=2)])))
    view = engine.view(GUEST)
    told = findings(view, engine.verify(view), view.snapshots["root"])
    assert ["2 entries" in each.told for each in told if not each.fatal] == [True]
