"""SIGKILL at every step, and during what xl does for us; then `recover`: the guest runs, as before or as after."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.real.xenhost import dying, killing
from tests.real.xenhost.guests import HVM, PVH
from tests.real.xenhost.lab import VERB_S, Before, XenLab
from tests.real.xenhost.ways import EACH_GUEST

KILLED = -signal.SIGKILL
TOTAL = {
    ("create", "internal"): 3,
    ("create", "external"): 9,
    ("revert", "internal"): 8,
    ("revert", "external"): 9,
    ("delete", "internal"): 5,
    ("delete", "external"): 11,
    ("delete", "pivot"): 6,
}
"""The steps of each verb with two disks. Of the operations that a delete consists of, those of the longest; `pivot` is
one of what the guest writes right above, which is taken to another image for it."""
WITHIN = {
    ("create", "internal"): "+1",
    ("create", "external"): "+3",
    ("revert", "internal"): "+1",
    ("revert", "external"): "+4",
    ("delete", "internal"): "+5",
    ("delete", "external"): "+3",
    ("delete", "pivot"): "+2",
}
"""A step of each that works for a while: it is died in, too."""


def taken(lab: XenLab, place: tuple[str, str]) -> None:
    """The snapshot that will be reverted to or go; on top of what goes one more, but where the guest shall pivot."""
    verb, kind = place
    for name in ("one", "two") if verb == "delete" and kind != "pivot" else ("one",):
        lab.face.mark(name)
        how = "internal" if kind == "internal" else "external"
        lab.xensnap("create", lab.guest.name, "--name", name, "--type", how)
    lab.face.mark("now")


def taken_before(verb: str, kind: str) -> Before | None:
    return None if verb == "create" else Before(f"{verb}-{kind}", taken, (verb, kind))


def every_step(verb: str) -> pytest.MarkDecorator:
    places = [
        pytest.param(kind, step, taken_before(verb, kind), id=f"{kind}-{step}")
        for (what, kind), total in TOTAL.items()
        if what == verb
        for step in (*map(str, range(1, total + 1)), WITHIN[verb, kind])
    ]
    return pytest.mark.parametrize(("kind", "step", "before"), places)


def die(lab: XenLab, step: str, verb: str, kind: str) -> bool:
    """Carry out a verb on snapshot `one` that dies at a step; False where it came to its end before."""
    lab.dom0.put("/tmp/dying.py", Path(dying.__file__).read_bytes())
    answer = lab.begin_program("/tmp/dying.py", step, verb, lab.guest.name, "one", kind)()
    assert answer.status in {0, KILLED}, answer
    if verb != "delete":  # which is several operations, and not all have as many
        assert set(answer.out.split()) == {str(TOTAL[verb, kind])}
    return answer.status == KILLED


def recovered(lab: XenLab) -> None:
    """After `recover` the guest runs, its daemon watches it, and a second one finds nothing to do."""
    lab.xensnap("recover", lab.guest.name)
    assert lab.running()
    assert len(lab.watchers()) == 1
    lab.face.ask("ping")


@every_step("create")
def test_a_create_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str) -> None:
    lab.face.mark("one")
    lab.face.ask("work xvda xvdb")
    assert die(lab, step, "create", kind) or step.startswith("+")
    recovered(lab)
    lab.face.works_well()
    lab.face.holds("one", "one")
    found = lab.snapshots()
    assert found in ([], ["one"])
    if found:
        lab.face.mark("two")
        lab.xensnap("revert", lab.guest.name, "one")
        lab.face.holds("one", "one")
    lab.images_are_whole()


@every_step("revert")
def test_a_revert_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str) -> None:
    assert die(lab, step, "revert", kind) or step.startswith("+")
    recovered(lab)
    found = lab.face.kept
    assert found in {"one", "now"}
    lab.face.holds(found, found)
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


@every_step("delete")
def test_a_delete_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str) -> None:
    assert die(lab, step, "delete", kind) or step.startswith("+")
    recovered(lab)
    lab.face.holds("now", "now")
    for name in lab.snapshots():
        lab.xensnap("revert", lab.guest.name, name)
        lab.face.holds(name, name)
    lab.images_are_whole()


@pytest.mark.parametrize(
    ("kind", "before"),
    [pytest.param(kind, taken_before(verb, kind), id=kind) for verb, kind in TOTAL if verb == "delete"],
)
def test_no_delete_has_more_steps_than_are_died_at(lab: XenLab, kind: str) -> None:
    assert not die(lab, str(TOTAL["delete", kind] + 1), "delete", kind)


WHOM = pytest.mark.parametrize("whom", ["us", "xl", "both"])


def kill_within(lab: XenLab, what: str, whom: str, *words: str) -> dict[str, Any]:
    """Begin a verb of ours, and kill us, xl or both while xl works on it; what there was at that moment."""
    lab.dom0.put("/tmp/killing.py", Path(killing.__file__).read_bytes())
    killer = lab.dom0.start("python3", "-E", "-S", "/tmp/killing.py", what, whom, timeout_s=VERB_S)
    answer = lab.begin_xensnap(*words)()
    at: dict[str, Any] = json.loads(killer().must().out)
    assert (answer.status == KILLED) is (whom != "xl"), answer
    return at


def state(at: dict[str, Any]) -> str:
    """The six letters of the only domain."""
    (line,) = at["list"]
    letters: str = line.split()[4]
    return letters


@WHOM
@EACH_GUEST
def test_killed_while_xl_saves(lab: XenLab, whom: str) -> None:
    lab.face.mark("one")
    at = kill_within(lab, "save", whom, "create", lab.guest.name, "--name", "one")
    assert at["bytes"] >= killing.BEGUN_BYTES
    assert state(at)[3:5] == "ss"
    recovered(lab)
    lab.face.holds("one", "one")
    assert lab.snapshots() in ([], ["one"])
    lab.images_are_whole()


@WHOM
@pytest.mark.parametrize("guest", [pytest.param(each, id=each.type) for each in (PVH, HVM)])
def test_killed_while_xl_migrates(lab: XenLab, whom: str) -> None:
    """The guest lives, and as nobody knows whether Xen still logs what it writes, it is not streamed once more."""
    lab.face.mark("one")
    at = kill_within(lab, "migrate", whom, "create", lab.guest.name, "--name", "one", "--live")
    assert at["bytes"] >= killing.BEGUN_BYTES
    assert state(at)[3] == "-"
    recovered(lab)
    assert lab.refused("create", lab.guest.name, "--name", "two", "--live")["id"] == "no-live-save"
    lab.face.holds("one", "one")
    assert lab.snapshots() in ([], ["one"])
    lab.images_are_whole()


@WHOM
def test_killed_while_xl_restores(lab: XenLab, whom: str) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    lab.face.mark("two")
    at = kill_within(lab, "restore", whom, "revert", lab.guest.name, "one")
    assert len(at["list"]) == 1
    recovered(lab)
    found = lab.face.kept
    assert found in {"one", "two"}
    lab.face.holds(found, found)
    lab.images_are_whole()
