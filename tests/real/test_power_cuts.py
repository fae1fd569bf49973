"""The power is cut in the middle of an operation on real files: what was not synced is lost, and then `recover`.

In ordinary runs some of the moments are tried; with `XENSNAP_DEEP_S` each of them, in every way of losing.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.real.lab import Lab, tool
from tests.real.test_killed import judge

DRIVER = Path(__file__).with_name("power_cuts.py")
DEEP = bool(os.environ.get("XENSNAP_DEEP_S"))
EVERY = 1 if DEEP else 4
USED_UP = 3
LEFT = ("nothing", "contents", "names")
CASES = [(verb, kind) for verb in ("create", "revert", "delete") for kind in ("internal", "external")]


@pytest.mark.parametrize(
    ("verb", "kind", "left"),
    [(verb, kind, left) for n, (verb, kind) in enumerate(CASES) for m, left in enumerate(LEFT) if DEEP or m == n % 3],
)
def test_after_a_power_cut_it_is_as_before_or_as_after(lab, tmp_path, verb, kind, left) -> None:
    place = tmp_path / "cuts"
    place.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(DRIVER.parents[2])}
    told = tool(sys.executable, str(DRIVER), str(place), verb, kind, str(EVERY), left, env=environment).stdout
    numbers = told.split()
    assert len(numbers) > 3
    sides = [judge(Lab(place / each), verb, whole=not index % USED_UP) for index, each in enumerate(numbers)]
    assert (sides[0], sides[-1]) == (0, 1)
