"""What the how-to pages show as Python works as it stands."""

import re
import time
from pathlib import Path

import pytest

from xensnap.conformance import run_cases
from xensnap.conformance.case import _CASES
from xensnap.conformance.events import CaseEnded, State
from xensnap.conformance.places.simulated import SimulatedPlace

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"


def shown(page: str) -> dict[str, object]:
    """The names that the page's Python defines."""
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", (HOW_TO / page).read_text(encoding="utf-8"), re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


def test_the_case_of_the_page_passes() -> None:
    shown("add-a-case.md")
    case = _CASES.pop("core/a-revert-can-be-repeated")
    (ended,) = [e for e in run_cases([case], SimulatedPlace, clock=time.monotonic) if isinstance(e, CaseEnded)]
    assert ended.state is State.PASS, ended.words


@pytest.mark.parametrize("name", ["test_our_host_conforms"])
def test_the_one_call_of_the_page_passes(name) -> None:
    test = shown("write-a-backend.md")[name]
    assert callable(test)
    test()
