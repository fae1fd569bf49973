"""The power is cut in the middle of an operation on real files: what was not synced is lost, and then `recover`.

In ordinary runs a few of the moments are tried; with `XENSNAP_DEEP_S` each of them, in two ways of losing.
"""

import os
import random

import pytest

from tests.conftest import require_tool
from tests.real import power_cuts
from tests.real.lab import Lab
from tests.real.power_cuts import Recorded
from tests.real.test_killed import judge

DEEP = bool(os.environ.get("XENSNAP_DEEP_S"))
MOMENTS = 8
"""So many are tried of each operation in ordinary runs, beside its beginning and its end."""

USED_UP = 9


@pytest.mark.parametrize("kind", ["internal", "external"])
@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_after_a_power_cut_it_is_as_before_or_as_after(lab, tmp_path, monkeypatch, verb, kind) -> None:
    require_tool("strace")
    recorded = Recorded(tmp_path, "tests.real.power_cuts", verb, kind)
    power_cuts.keep_what_goes(recorded.kept, monkeypatch.setattr)
    power_cuts.after_the_power_cut(monkeypatch.setattr)
    first, *between, last = recorded.changes
    picked = between if DEEP else random.Random(0).sample(between, MOMENTS)
    sides: list[int] = []
    for moment in recorded.moments({first, *picked, last}, twice=DEEP):
        recorded.make(moment)
        with moment.named():
            sides.append(judge(Lab(recorded.root), verb, whole=not len(sides) % USED_UP))
        recorded.take_back()
    assert (sides[0], sides[-1]) == (0, 1)
