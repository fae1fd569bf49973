"""A revert threw away what the disk held, and there was no way back.

Nobody reads a warning at two in the morning; the day's work was on that disk.
Source: vatesfr/xen-orchestra#1445, QubesOS/qubes-issues#10152.
"""

from tests.scenarios.stage import GUEST, Naive, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest


def story():
    host = guest("ie")
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("yesterday"))
    scribble(host, 0)
    return host, host.visible(GUEST)


def test_a_script_has_no_way_back() -> None:
    host, today = story()
    assert Naive(host).apply("/images/xvda.qcow2", "1") == ""
    assert host.visible(GUEST)["xvda"] != today["xvda"]


def test_the_engine_keeps_it_and_undo_brings_it_back() -> None:
    host, today = story()
    engine = Engine(host)
    engine.perform(GUEST, RevertRequest("yesterday"))
    assert host.visible(GUEST) != today
    engine.undo(GUEST)
    assert host.visible(GUEST) == today


def test_the_engine_keeps_it_under_a_name_if_it_is_told_so() -> None:
    host, today = story()
    engine = Engine(host)
    engine.perform(GUEST, RevertRequest("yesterday", save_current="today"))
    assert host.visible(GUEST) != today
    engine.undo(GUEST)
    assert host.visible(GUEST) == today
