"""A power cut brings to light every place of the engine that does not make durable what it should.

The list of places is the source of the engine itself: whoever adds one says where its lie is noticed, or why not.
"""

import pytest

from tests.crash.syncs import CASES, LET_LIE, SPARE, Case, noticed, passed, places
from tests.crash.table import ROWS
from tests.deep import EXHAUSTIVE

FEW = ("clone", "unpin")
"""Operations on which ordinary runs try all places that they pass through; the profile `deep` takes all."""

PLACES = {str(place): place for place in places().values()}


def test_each_place_has_where_it_is_noticed_or_why_it_is_not() -> None:
    assert len(PLACES) == len(places())
    assert not CASES.keys() & SPARE.keys()
    assert CASES.keys() | SPARE.keys() == PLACES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_lie_is_noticed(name: str) -> None:
    case = CASES[name]
    assert noticed(case, *(PLACES[each] for each in (name, *case.beside)))
    LET_LIE["noticed"] += 1


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.beside])
def test_what_lies_beside_another_is_not_noticed_alone(name: str) -> None:
    case = CASES[name]
    for each in (name, *case.beside):
        assert not noticed(case, PLACES[each]), each


@pytest.mark.parametrize("name", SPARE)
def test_what_is_spare_is_passed_through_and_not_noticed(name: str) -> None:
    assert SPARE[name].why
    assert not noticed(SPARE[name].case, PLACES[name])
    LET_LIE["not noticed, since nothing can come of it"] += 1


@pytest.mark.parametrize("row", ROWS if EXHAUSTIVE else FEW)
def test_in_every_operation_each_lie_is_noticed_where_it_should_be(row: str) -> None:
    for name in passed(row):
        case = CASES[name] if name in CASES else SPARE[name].case
        found = noticed(Case(row, tools_sync=case.tools_sync), PLACES[name])
        if name in SPARE or case.beside:
            assert not found, name
        elif case.row == row and case.after is None:
            assert found, name
