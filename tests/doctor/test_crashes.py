"""Death at every effect of a repair: the same repair again, which recovers first, ends like an undisturbed one."""

from contextlib import suppress
from errno import EIO

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.checkers.leaks import unclean
from simulator.core.effects import Cut
from tests.crash.harness import ENGINE_DEATHS, GUEST, HOST_DEATHS, TRIED, every_crash, every_effect, truth
from tests.doctor.damages import CASES, REPAIRED, damage
from xensnap.engine.doctor import Finding
from xensnap.engine.engine import Engine
from xensnap.errors import XensnapError

DEATHS = (ENGINE_DEATHS[0], HOST_DEATHS[2])

REPAIRS = [name for name, case in CASES.items() if case.outcome == REPAIRED]


def ids(found: tuple[Finding, ...]) -> list[str]:
    return [each.id for each in found]


@pytest.mark.parametrize("name", REPAIRS)
def test_die_while_repairing(name: str) -> None:
    host = damage(CASES[name])
    ended = host.fork()
    left = ids(Engine(ended).repair(GUEST, check=True).found)
    for point in every_crash(host, lambda engine: engine.repair(GUEST, check=True)):
        for death, dying in DEATHS:
            where = f"{point!r}, {death}"
            TRIED[f"repair: {death.partition(',')[0]}"] += 1
            after = SimulatedHost(dying(point.world))
            engine = Engine(after)
            diagnosis = engine.repair(GUEST, check=True)
            assert not diagnosis.failed, (diagnosis.failed, where)
            assert ids(diagnosis.found) == left, (diagnosis.found, where)
            assert truth(after) == truth(ended), where
            assert not list(unclean(after.world.fs)), where


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("name", ["record-lost", "record-lost-without-copy", "record-under-the-name-of-a-document"])
def test_what_could_not_be_mended_at_once_is_given_up_by_no_other_repair(name: str, cut: Cut) -> None:
    host = damage(CASES[name])
    ended = host.fork()
    Engine(ended).repair(GUEST, check=True)
    for number in every_effect(host, lambda engine: engine.repair(GUEST, check=True)):
        failing = host.fork()
        failing.fail_at(number, cut, EIO)
        TRIED["repair: fault"] += 1
        with suppress(XensnapError):
            Engine(failing).repair(GUEST, check=True)
        after = SimulatedHost(after_engine_crash(failing.world))
        assert not Engine(after).repair(GUEST, check=True).failed, f"effect {number}"
        assert truth(after) == truth(ended), f"effect {number}"
