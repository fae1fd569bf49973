"""SIGKILL at every step, and during what xl does for us; then `recover`: the guest runs, as before or as after.

Which of the two is known beforehand: what was not decided is undone, but where a guest works on what it would lose.
"""

from pathlib import Path

import pytest

from tests.real.xenhost import dying, killing
from tests.real.xenhost.guests import HVM, PV, PVH, Guest
from tests.real.xenhost.lab import Before, XenLab
from tests.real.xenhost.strikes import KILLED, state, struck
from tests.real.xenhost.ways import EACH_GUEST

TOTAL = {
    ("create", "internal"): 3,
    ("create", "external"): 9,
    ("create", "live"): 3,
    ("create", "live-external"): 9,
    ("revert", "internal"): 8,
    ("revert", "external"): 9,
    ("delete", "internal"): 5,
    ("delete", "external"): 11,
    ("delete", "pivot"): 6,
}
"""The steps of each verb with two disks. Of the operations that a delete consists of, those of the longest; `pivot` is
one of what the guest writes right above, which is taken to another image for it."""
UNDONE_TO = {
    ("create", "internal"): 3,
    ("create", "external"): 3,
    ("create", "live"): 3,
    ("create", "live-external"): 3,
    ("revert", "internal"): 5,
    ("revert", "external"): 5,
    ("delete", "internal"): 1,
    ("delete", "external"): 1,
    ("delete", "pivot"): 1,
}
"""The last step before which a death leads back. A guest writes into its new overlays, so a create of external ones
cannot be undone from the moment on that they are taken; all else is decided by the step that writes that down."""
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
SAMPLES = (
    (PVH, "create", "live", "2"),
    (PVH, "create", "live-external", "4"),
    (HVM, "create", "live", "3"),
    (HVM, "create", "external", "4"),
    (PVH, "revert", "external", "4"),
    (PVH, "revert", "external", "7"),
    (HVM, "revert", "internal", "4"),
    (HVM, "revert", "internal", "7"),
    (HVM, "delete", "pivot", "4"),
)
"""What is died at with other guests than PV: beside what differs by guest, the steps are the same."""


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
    every = [
        (PV, verb, kind, step)
        for what, kind in WITHIN
        if what == verb
        for step in (*map(str, range(1, TOTAL[what, kind] + 1)), WITHIN[what, kind])
    ]
    samples = [sample for sample in SAMPLES if sample[1] == verb]
    return pytest.mark.parametrize(("guest", "kind", "step", "before"), [*map(place, every), *map(place, samples)])


def place(where: tuple[Guest, str, str, str]) -> object:
    guest, verb, kind, step = where
    named = "" if guest is PV else f"{guest.type}-"
    return pytest.param(guest, kind, step, taken_before(verb, kind), id=f"{named}{kind}-{step}")


def die(lab: XenLab, step: str, verb: str, kind: str) -> bool:
    """Carry out a verb on snapshot `one` that dies at a step; False where it came to its end before."""
    lab.dom0.put("/tmp/dying.py", Path(dying.__file__).read_bytes())
    answer = lab.begin_program("/tmp/dying.py", step, verb, lab.guest.name, "one", *kind.split("-"))()
    assert answer.status in {0, KILLED}, answer
    if verb != "delete":  # which is several operations, and not all have as many
        assert set(answer.out.split()) == {str(TOTAL[verb, kind])}
    return answer.status == KILLED


def recovered(lab: XenLab, record_property) -> str:
    """After `recover` the guest runs, its daemon watches it, and another finds nothing to do. Which way it went."""
    ways = [each["outcome"] for each in lab.json("recover", lab.guest.name)["recovered"]]
    way = ways[0] if ways else "nothing"
    record_property("recovered", way)
    assert lab.json("recover", lab.guest.name)["recovered"] == []
    assert lab.running()
    assert len(lab.watchers()) == 1
    lab.face.ask("ping")
    return way


@every_step("create")
def test_a_create_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str, record_property) -> None:
    lab.face.mark("one")
    lab.face.ask("work xvda xvdb")
    assert die(lab, step, "create", kind)
    undone = int(step) <= UNDONE_TO["create", kind]
    assert recovered(lab, record_property) == ("undone" if undone else "done")
    lab.face.works_well()
    lab.face.holds("one", "one")
    assert lab.snapshots() == ([] if undone else ["one"])
    if not undone:
        lab.face.mark("two")
        lab.xensnap("revert", lab.guest.name, "one")
        lab.face.holds("one", "one")
    lab.images_are_whole()


@every_step("revert")
def test_a_revert_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str, record_property) -> None:
    assert die(lab, step, "revert", kind)
    undone = int(step) <= UNDONE_TO["revert", kind]
    assert recovered(lab, record_property) == ("undone" if undone else "done")
    lab.face.holds(*(("now", "now") if undone else ("one", "one")))
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


@every_step("delete")
def test_a_delete_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str, record_property) -> None:
    """It is several operations, and a death in a later one, which merges, leaves the snapshot gone either way."""
    before = lab.snapshots()
    died = die(lab, step, "delete", kind)
    way = recovered(lab, record_property)
    # A moment after the last step has begun the delete may be over, and then the process, too.
    assert (died and way != "nothing") or step == WITHIN["delete", kind]
    lab.face.holds("now", "now")
    left = [name for name in before if name != "one" or int(step) <= UNDONE_TO["delete", kind]]
    assert lab.snapshots() == left
    for name in left:
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


def put_back(lab: XenLab, whom: str, record_property) -> None:
    """Where xl alone was killed we have put all back ourselves; where we were, `recover` does."""
    assert recovered(lab, record_property) == ("nothing" if whom == "xl" else "undone")


@WHOM
@EACH_GUEST
def test_killed_while_xl_saves(lab: XenLab, whom: str, record_property) -> None:
    lab.face.mark("one")
    answer, at = struck(lab, "save", whom, "create", lab.guest.name, "--name", "one")
    assert (answer.status == KILLED) is (whom != "xl"), answer
    assert at["bytes"] >= killing.BEGUN_BYTES
    assert state(at)[3:5] == "ss"
    put_back(lab, whom, record_property)
    lab.face.holds("one", "one")
    assert lab.snapshots() == []
    lab.images_are_whole()


@WHOM
@pytest.mark.parametrize("guest", [pytest.param(each, id=each.type) for each in (PVH, HVM)])
def test_killed_while_xl_migrates(lab: XenLab, whom: str, record_property) -> None:
    """The guest lives, and as nobody knows whether Xen still logs what it writes, it is not streamed once more."""
    lab.face.mark("one")
    answer, at = struck(lab, "migrate", whom, "create", lab.guest.name, "--name", "one", "--live")
    assert (answer.status == KILLED) is (whom != "xl"), answer
    assert at["bytes"] >= killing.BEGUN_BYTES
    assert state(at)[3] == "-"
    put_back(lab, whom, record_property)
    assert lab.refused("create", lab.guest.name, "--name", "two", "--live")["id"] == "no-live-save"
    lab.face.holds("one", "one")
    assert lab.snapshots() == []
    lab.images_are_whole()


@WHOM
def test_killed_while_xl_restores(lab: XenLab, whom: str, record_property) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    lab.face.mark("two")
    answer, at = struck(lab, "restore", whom, "revert", lab.guest.name, "one")
    assert (answer.status == KILLED) is (whom != "xl"), answer
    assert len(at["list"]) == 1
    put_back(lab, whom, record_property)
    lab.face.holds("two", "two")
    lab.images_are_whole()
