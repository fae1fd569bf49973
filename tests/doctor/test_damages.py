"""Every way of damage is found; a repair restores what must hold, or leaves everything as it is and says so."""

import pytest

from simulator import SimulatedHost
from simulator.checkers.leaks import unclean
from simulator.disk.chain import OpenError
from tests.crash.harness import GUEST, held_by
from tests.doctor.damages import CASES, MET, REMEMBERED, REPAIRED, damage, gone_back, off, on
from xensnap.engine import treatment
from xensnap.engine.doctor import Severity
from xensnap.engine.engine import Engine, plan_for
from xensnap.engine.request import DeleteRequest, Fresh, RevertRequest
from xensnap.errors import XensnapError


@pytest.mark.parametrize("kinds", ["i", "e", "ie", "iie", "eei"])
def test_a_healthy_world_has_no_finding(kinds: str) -> None:
    for world in (off, on, gone_back):
        assert Engine(world(kinds)).diagnose(GUEST, check=True).found == (), world.__name__


def test_there_are_more_than_forty_ways_of_damage() -> None:
    assert len(CASES) > 40


_ONE_DOOR = pytest.mark.one_door("a domain that is off is there what its store remembers of it")


@pytest.mark.parametrize("name", [pytest.param(name, marks=_ONE_DOOR if name in REMEMBERED else ()) for name in CASES])
def test_damage_is_found_and_mended_or_told(name: str) -> None:
    case = CASES[name]
    host = damage(case)
    before = {name: held(host, name) for name in snapshots(host)}
    found = Engine(host).diagnose(GUEST, check=True).found
    assert case.finding in {each.id for each in found}, found
    assert all(each.cause and (each.remedy or each.repair) for each in found)
    diagnosis = Engine(host).repair(GUEST, check=True)
    assert not diagnosis.failed, diagnosis.failed
    left = [each for each in diagnosis.found if each.severity is not Severity.NOTE]
    if case.outcome == REPAIRED:
        assert case.finding in {each.id for each in diagnosis.repaired}
        assert not left, left
        whole(host)
    else:
        assert case.finding in {each.id for each in diagnosis.found}
    for known, content in before.items():
        assert held(host, known) == content or content is None, f"the repair has changed {known!r}"
    MET["found and mended" if case.outcome == REPAIRED else "found and told"] += 1


def test_a_repair_that_is_done_has_nothing_to_do() -> None:
    host = damage(CASES["state-garbled"])
    Engine(host).repair(GUEST)
    again = Engine(host).repair(GUEST)
    assert (again.repaired, again.failed) == ((), ())


def test_what_was_repaired_is_told_also_where_there_was_more_than_can_be_done_in_one_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(treatment, "ROUNDS_MAX", 1)
    host = damage(CASES["flag-cleared"])
    diagnosis = Engine(host).repair(GUEST)
    assert [each.id for each in diagnosis.repaired] == ["flag-missing"]
    assert [each.id for each in diagnosis.found] == ["flag-missing"]


def snapshots(host: SimulatedHost) -> list[str]:
    return list(Engine(host).list(GUEST).contents.snapshots)


def held(host: SimulatedHost, name: str) -> object:
    """What a snapshot would give back; None where it gives nothing."""
    snapshot = Engine(host).list(GUEST).contents.snapshots.get(name)
    try:
        return held_by(host, {name: snapshot}) if snapshot else None
    except (OpenError, OSError, XensnapError):
        return None


def whole(host: SimulatedHost) -> None:
    """Every snapshot can be reverted to and deleted, and no image is unclean."""
    view = Engine(host).view(GUEST)
    for name in view.snapshots:
        for request in (RevertRequest(name), DeleteRequest(name)):
            plan_for(view, request, Fresh("0" * 36, 0))
    assert not list(unclean(host.world.fs))
