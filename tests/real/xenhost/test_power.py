"""The host loses its power: what was said to be done is there, and what was under way is as before, but the memory.

Memory is lost with the power, unless a revert had saved it away already.
"""

import json

import pytest

from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.strikes import begin
from tests.real.xenhost.ways import EXTERNAL, INTERNAL, Way

EACH_WAY = pytest.mark.parametrize("way", [pytest.param(way, id=way.name) for way in (INTERNAL, EXTERNAL)])


def cut_within(lab: XenLab, what: str, *words: str) -> None:
    """The power goes while xl works on it for a verb of ours."""
    strike = begin(lab, what, "power")
    lab.begin_xensnap(*words)
    assert json.loads(strike().must().out)["list"]
    lab.lose_power()
    assert lab.domains() == {}


@EACH_WAY
def test_a_snapshot_that_was_told_of_outlives_the_power(lab: XenLab, way: Way) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", *way.options)
    lab.lose_power()
    assert lab.domains() == {}
    assert lab.json("recover", lab.guest.name)["recovered"] == []
    lab.xensnap("revert", lab.guest.name, "one")
    assert lab.running()
    lab.face.holds("one", "one")
    lab.images_are_whole()


@pytest.mark.parametrize(
    ("what", "way", "memory"), [("save", EXTERNAL, ""), ("restore", INTERNAL, "two")], ids=["create", "revert"]
)
def test_what_was_under_way_when_the_power_went_is_undone(lab: XenLab, what: str, way: Way, memory: str) -> None:
    name = lab.guest.name
    lab.face.mark("one")
    lab.xensnap("create", name, "--name", "one", *way.options)
    lab.face.mark("two")
    cut_within(lab, what, *(("create", name, "--name", "two") if what == "save" else ("revert", name, "one")))
    (recovered,) = lab.json("recover", name)["recovered"]
    assert recovered["outcome"] == "undone"
    assert lab.snapshots() == ["one"]
    if memory:
        assert lab.running()
    else:
        assert lab.domains() == {}
        lab.xensnap("domain", "start", name)
    lab.face.holds(memory, "two")
    lab.xensnap("revert", name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()
