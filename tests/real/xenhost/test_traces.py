"""The recorded traces are still what the real tools say, word for word. `XENSNAP_RECORD=1` writes them anew."""

import os
from pathlib import Path

import pytest

from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.scenarios import OTHER_GUESTS, SCENARIOS, Scenario, play, written
from tests.real.xenhost.words import WORDS

TRACES = Path(__file__).parents[2] / "parity" / "traces" / "xen"


@pytest.mark.parametrize(
    ("scenario", "guest"),
    [pytest.param(each, each.guest, id=each.name) for each in (*SCENARIOS, *OTHER_GUESTS, *WORDS)],
)
def test_the_real_tools_say_what_the_trace_has(lab: XenLab, scenario: Scenario) -> None:
    path = TRACES / f"{scenario.name}.jsonl"
    found = written(play(lab, scenario))
    if os.environ.get("XENSNAP_RECORD"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, encoding="utf-8")
    assert found.splitlines() == path.read_text(encoding="utf-8").splitlines()
