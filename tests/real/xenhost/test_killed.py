"""SIGKILL at every step, and during what xl does for us; then `recover`: the guest runs, as before or as after."""

import signal
from pathlib import Path

import pytest

from tests.real.xenhost import dying
from tests.real.xenhost.guests import HVM, PVH
from tests.real.xenhost.lab import ENVIRONMENT, STORE, VERB_S, XenLab

KILLED = -signal.SIGKILL
TOTAL = {
    ("create", "internal"): 3,
    ("create", "external"): 7,
    ("revert", "internal"): 8,
    ("revert", "external"): 8,
    ("delete", "internal"): 4,
    ("delete", "external"): 5,
}
"""The steps of each verb with two disks. Those that work for a while are died in, too: `+`."""
WITHIN = {("create", "internal"): "+1", ("create", "external"): "+3", ("revert", "internal"): "+1"}


def every_step(verb: str) -> pytest.MarkDecorator:
    places = [
        pytest.param(kind, step, id=f"{kind}-{step}")
        for kind in ("internal", "external")
        for step in (*map(str, range(1, TOTAL[verb, kind] + 1)), WITHIN.get((verb, kind), "+4"))
    ]
    return pytest.mark.parametrize(("kind", "step"), places)


XL_AT_WORK = f"until [ -n \"$(find {STORE} -name '*.save' -size +10M 2> /dev/null)\" ]; do :; done"


def die(lab: XenLab, step: str, *words: str) -> bool:
    """Carry out a verb that dies at a step; False where it came to its end before."""
    lab.dom0.put("/tmp/dying.py", Path(dying.__file__).read_bytes())
    python = "/srv/code/venv/bin/python"
    verb, *rest = words
    argv = (python, "/tmp/dying.py", step, verb, lab.guest.name, *rest)
    answer = lab.dom0.try_run(*argv, timeout_s=VERB_S, env=ENVIRONMENT)
    assert answer.status in {0, KILLED}, answer
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
    assert die(lab, step, "create", "one", kind) or step.startswith("+")
    recovered(lab)
    lab.face.works_well()
    lab.face.holds("one", "one")
    taken = lab.snapshots()
    assert taken in ([], ["one"])
    if taken:
        lab.face.mark("two")
        lab.xensnap("revert", lab.guest.name, "one")
        lab.face.holds("one", "one")
    lab.images_are_whole()


@every_step("revert")
def test_a_revert_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one", "--type", kind)
    lab.face.mark("two")
    assert die(lab, step, "revert", "one") or step.startswith("+")
    recovered(lab)
    found = lab.face.kept
    assert found in {"one", "two"}
    lab.face.holds(found, found)
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    lab.images_are_whole()


@every_step("delete")
def test_a_delete_that_is_killed_is_undone_or_finished(lab: XenLab, kind: str, step: str) -> None:
    for name in ("one", "two"):
        lab.face.mark(name)
        lab.xensnap("create", lab.guest.name, "--name", name, "--type", kind)
    lab.face.mark("now")
    assert die(lab, step, "delete", "one") or step.startswith("+")
    recovered(lab)
    lab.face.holds("now", "now")
    for name in lab.snapshots():
        lab.xensnap("revert", lab.guest.name, name)
        lab.face.holds(name, name)
    lab.images_are_whole()


@pytest.mark.parametrize(("verb", "kind"), [pytest.param(*place, id="-".join(place)) for place in TOTAL])
def test_no_verb_has_more_steps_than_are_died_at(lab: XenLab, verb: str, kind: str) -> None:
    if verb != "create":
        lab.xensnap("create", lab.guest.name, "--name", "one", "--type", kind)
    assert not die(lab, str(TOTAL[verb, kind] + 1), verb, "one", kind)


@pytest.mark.parametrize("whom", ["us", "xl", "both"])
def test_killed_while_xl_saves(lab: XenLab, whom: str) -> None:
    lab.face.mark("one")
    under_way = lab.begin_xensnap("create", lab.guest.name, "--name", "one")
    lab.dom0.shell(f"{XL_AT_WORK}; {kill(whom, 'save')}", timeout_s=VERB_S)
    under_way()
    recovered(lab)
    lab.face.holds("one", "one")
    assert lab.snapshots() in ([], ["one"])
    lab.images_are_whole()


@pytest.mark.parametrize("guest", [pytest.param(each, id=each.type) for each in (PVH, HVM)])
@pytest.mark.parametrize("whom", ["us", "xl"])
def test_killed_while_xl_migrates(lab: XenLab, whom: str) -> None:
    lab.face.mark("one")
    under_way = lab.begin_xensnap("create", lab.guest.name, "--name", "one", "--live")
    lab.dom0.shell(f"{XL_AT_WORK}; {kill(whom, 'migrate')}", timeout_s=VERB_S)
    under_way()
    recovered(lab)
    lab.face.holds("one", "one")
    assert lab.snapshots() in ([], ["one"])
    lab.images_are_whole()


@pytest.mark.parametrize("whom", ["us", "xl", "both"])
def test_killed_while_xl_restores(lab: XenLab, whom: str) -> None:
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    lab.face.mark("two")
    under_way = lab.begin_xensnap("revert", lab.guest.name, "one")
    lab.dom0.shell(
        f"until pgrep -f 'xl.* restore' > /dev/null; do sleep 0.1; done; {kill(whom, 'restore')}", timeout_s=VERB_S
    )
    under_way()
    recovered(lab)
    found = lab.face.kept
    assert found in {"one", "two"}
    lab.face.holds(found, found)
    lab.images_are_whole()


def kill(whom: str, what: str) -> str:
    """A line for the shell. The pattern of ours does not match the line itself."""
    ours, theirs = "pkill -KILL -f '[x]ensnap.cli (create|revert)'", f"pkill -KILL -f '^[^ ]*[x]l( -[^ ]*)* {what} '"
    return {"us": ours, "xl": theirs, "both": f"{theirs}; {ours}"}[whom]
