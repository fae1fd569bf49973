"""Every mutant of the engine is found by the judgements that every change of the engine has to pass.

A mutant that nothing finds is a hole in the tests.
"""

import pytest

from tests.discovery.judgements import Failed, Judgement, fails
from tests.discovery.mutants import Mutant
from tests.discovery.mutants_page import ALL, PAGE, read, written

EACH = pytest.mark.parametrize(
    "mutant", [pytest.param(mutant, id=name.replace(" ", "-")) for name, mutant in ALL.items()]
)
AGAIN = "where the engine has changed: python -m tests.discovery.mutants_page"
PLANS = read(PAGE.read_text(encoding="utf-8"))


@EACH
def test_the_mutant_is_found(mutant: Mutant, record_property) -> None:
    trial = mutant.judgement()
    record_property("mutant", (mutant.name, mutant.rule))
    with mutant.loose(), pytest.raises(Failed) as found:
        trial()
    record_property("found", (str(found.value.effort), str(found.value)))


@pytest.mark.parametrize("judgement", dict.fromkeys(mutant.judgement for mutant in ALL.values()))
def test_the_engine_as_it_is_passes(judgement: Judgement) -> None:
    assert judgement()().count


@EACH
def test_the_plan_on_the_page_fails_with_the_mutant_and_with_nothing_else(mutant: Mutant) -> None:
    plan = PLANS[mutant.name]
    trial = plan.trial()
    with mutant.loose():
        assert fails(trial), AGAIN
    plan.trial()()


def test_the_page_tells_of_the_mutants_that_there_are() -> None:
    assert written(PLANS) == PAGE.read_text(encoding="utf-8"), AGAIN
