"""A retention policy deleted the snapshot that mattered; there was no preview, and no way to protect one.

Source: QubesOS/qubes-issues#7698, openSUSE/snapper#851, vmware/govmomi#1508, OpenNebula/one#6623.
"""

import pytest

from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, ForgetRequest, PinRequest, PruneRequest
from xensnap.engine.retention import Retention
from xensnap.errors import Refused


def story():
    host = guest("i")
    for number, name in enumerate(("golden", "monday", "tuesday")):
        scribble(host, number)
        Engine(host).create(GUEST, CreateRequest(name))
    return host


def test_a_script_keeps_the_newest_whatever_they_are() -> None:
    script = Naive(story())
    for tag, number in script.tags("/images/xvda.qcow2")[:-2]:
        assert script.untag("/images/xvda.qcow2", tag, number) == ""
    assert [tag for tag, _ in script.tags("/images/xvda.qcow2")] == ["monday", "tuesday"], "the golden one is gone"


def test_a_pin_holds_a_plan_tells_and_the_trash_gives_back() -> None:
    engine = Engine(story())
    engine.perform(GUEST, PinRequest("golden", "me"))
    plan = engine.plan(GUEST, PruneRequest(Retention(last=1)))
    assert "monday" in plan.summary
    engine.perform(GUEST, PruneRequest(Retention(last=1)))
    assert set(engine.list(GUEST).contents.snapshots) == {"golden", "tuesday"}
    with pytest.raises(Refused, match="pinned"):
        engine.delete(GUEST, DeleteRequest("golden"))
    engine.perform(GUEST, ForgetRequest("tuesday"))
    engine.undo(GUEST)
    assert set(engine.list(GUEST).contents.snapshots) == {"golden", "tuesday"}
