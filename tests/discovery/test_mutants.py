"""Every mutant of the engine is found by the judgements that every change of the engine has to pass.

A mutant that nothing finds is a hole in the tests.
"""

import pytest

from tests.discovery.danger_mutants import DANGER_MUTANTS
from tests.discovery.judgements import Failed, Judgement
from tests.discovery.mutants import MUTANTS, Mutant
from tests.discovery.pivot_mutants import PIVOT_MUTANTS
from tests.discovery.running_mutants import RUNNING_MUTANTS

ALL = (*MUTANTS, *RUNNING_MUTANTS, *PIVOT_MUTANTS, *DANGER_MUTANTS)


@pytest.mark.parametrize("mutant", [pytest.param(mutant, id=mutant.name.replace(" ", "-")) for mutant in ALL])
def test_the_mutant_is_found(mutant: Mutant, record_property) -> None:
    trial = mutant.judgement()
    record_property("mutant", (mutant.name, mutant.rule))
    with mutant.loose(), pytest.raises(Failed) as found:
        trial()
    record_property("found", (str(found.value.effort), str(found.value)))


@pytest.mark.parametrize("judgement", dict.fromkeys(mutant.judgement for mutant in ALL))
def test_the_engine_as_it_is_passes(judgement: Judgement) -> None:
    assert judgement()().count
