"""Death at every effect of a repair: the same repair again, which recovers first, ends like an undisturbed one."""

import pytest

from simulator import SimulatedHost
from simulator.checkers.leaks import unclean
from tests.crash.harness import ENGINE_DEATHS, GUEST, HOST_DEATHS, TRIED, every_crash, truth
from tests.doctor.damages import CASES, REPAIRED, damage
from xensnap.engine.doctor import Finding
from xensnap.engine.engine import Engine

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
