"""SIGKILL of xensnap in operations on a guest that runs, then `recover` by another process.

At every journal boundary and into every step; at moments that no step knows of, in the middle of a save, a restore, a
transaction or a tool; and while a block job is at work in QEMU, which goes on without us.

Afterwards the guest runs, its memory and its disks agree (it says so itself), every snapshot of the list can be
reverted to, and nothing of ours is left that nobody needs.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROFILE
from tests.real.qemu.conftest import PATIENCE_S, ROOT, kill_when
from tests.real.qemu.killed import ENDED_FIRST
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.execute import Outcome
from xensnap.engine.request import ForgetRequest, RestoreRequest
from xensnap.hypervisor import Then
from xensnap.model import Domain, Kind, RunState

CASES = {
    "create-internal": ("create", "new", "internal"),
    "create-external": ("create", "new", "external"),
    "create-disk-only": ("create", "new", "external", "disk-only"),
    "create-live": ("create", "new", "internal", "live"),
    "revert": ("revert", "first"),
    "revert-external": ("revert", "first", "external"),
    "delete": ("delete", "first"),
    "delete-external": ("delete", "first", "external"),
    "delete-below": ("delete", "first", "external", "below"),
}
IN_THE_TRASH = {
    "undo": ("undo", "first"),
    "forget": ("forget", "first"),
    "empty": ("empty", "first"),
    "empty-external": ("empty", "first", "external"),
}
ALL_SECTORS = 6
"""After so many reports the guest has written to all its sectors, so that no job is done with its first piece."""
STEPPED = (
    "create-internal", "create-external", "create-disk-only", "revert", "delete", "delete-external", "undo", "forget"
)  # fmt: skip
STEPS = [
    pytest.param(case, sign, id=f"{case}-{'into' if sign else 'at'}")
    for case in STEPPED
    for sign in ("", "+")
    if PROFILE == "deep" or (case, sign) != ("delete-external", "+")  # the one with most steps
    if not sign or case not in IN_THE_TRASH
]
DRAWN = [case for case in (*CASES, *IN_THE_TRASH) if case not in STEPPED]
"""Of these some steps are drawn, and all are tried in the deep profile."""
STEPS_DRAWN = 2
MOMENTS = 4
"""How many moments within an operation are tried, spread evenly over the time that it takes."""


def argv(lab, moment: str, words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "tests.real.qemu.killed", str(lab.directory), moment, *words]


def run(lab, moment: str, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(lab, moment, words), cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )  # fmt: skip


def first(lab, words: tuple[str, ...]) -> tuple[Domain, Engine]:
    """A guest that runs, with one snapshot, or with another one on it where what is `below` is deleted."""
    domain = lab.start()
    engine = Engine(lab.host)
    made_ready(engine, set(), words)
    return domain, engine


def whole_again(lab, domain: Domain, engine: Engine, where: str) -> set[str]:
    """Recover and judge; the snapshots that there are."""
    engine.recover("guest")
    assert engine.recover("guest") is None, where
    assert lab.seen(domain).state is RunState.RUNNING, where
    lab.heard(domain)
    sound(lab, engine)
    return set(engine.list("guest").contents.snapshots)


def made_ready(engine: Engine, names: set[str], words: tuple[str, ...]) -> None:
    """As it was before the operation."""
    for name in names - {"first", "new"}:
        assert words[0] == "undo"
        engine.delete("guest", DeleteRequest(name))  # what a revert had given up, and an undo has brought back
    if "first" in engine.view("guest").trashed:
        engine.perform("guest", RestoreRequest("first"))
        names = {*names, "first"}
    kind = Kind.EXTERNAL if "external" in words else Kind.INTERNAL
    below = "below" in words
    if "new" in names and ("first" not in names or not below):
        engine.delete("guest", DeleteRequest("new"))
    if "first" not in names:
        engine.create("guest", CreateRequest("first", kind=kind))
    if below and names != {"first", "new"}:
        engine.create("guest", CreateRequest("new", kind=kind))
    if words[0] == "undo":
        engine.revert("guest", RevertRequest("first"))
    if words[0] == "empty":
        engine.perform("guest", ForgetRequest("first"))


@pytest.mark.parametrize(("case", "sign"), STEPS)
def test_killed_at_each_step_the_guest_is_as_before_or_as_after(lab, case, sign) -> None:
    words = (CASES | IN_THE_TRASH)[case]
    domain, engine = first(lab, words)
    step, reached = 0, True
    while reached:
        step += 1
        done = run(lab, f"{sign}{step}", words)
        reached = done.returncode in (-signal.SIGKILL, ENDED_FIRST)
        assert reached or done.returncode == 0, done.stderr
        made_ready(engine, whole_again(lab, domain, engine, f"step {step}"), words)
    assert step > 3
    engine.revert("guest", RevertRequest("first"))
    lab.heard(domain)


@pytest.mark.parametrize("case", DRAWN)
def test_killed_at_some_steps_the_guest_is_as_before_or_as_after(lab, case) -> None:
    words = (CASES | IN_THE_TRASH)[case]
    domain, engine = first(lab, words)
    _, steps = unharmed(lab, domain, engine, words)
    moments = [f"{sign}{step}" for step in range(1, steps + 1) for sign in ("", "+")]
    for moment in moments if PROFILE == "deep" else random.Random(case).sample(moments, STEPS_DRAWN):
        done = run(lab, moment, words)
        # What tells how far a job is counts as a step, and this time the job may be done at once.
        assert done.returncode in (0, -signal.SIGKILL, ENDED_FIRST), done.stderr
        made_ready(engine, whole_again(lab, domain, engine, f"step {moment}"), words)


def unharmed(lab, domain: Domain, engine: Engine, words: tuple[str, ...]) -> tuple[float, int]:
    """Let the operation end once, and put all back; how many seconds and how many steps it has taken."""
    done = run(lab, "0", words)
    assert done.returncode == 0, done.stderr
    seconds, steps = done.stdout.split()
    made_ready(engine, whole_again(lab, domain, engine, "unharmed"), words)
    return float(seconds), int(steps)


@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_moment_the_guest_is_as_before_or_as_after(lab, case) -> None:
    words = CASES[case]
    domain, engine = first(lab, words)
    takes_s, _ = unharmed(lab, domain, engine, words)
    for number in range(MOMENTS):
        moment_s = takes_s * (number + 0.5) / MOMENTS
        done = run(lab, f"@{moment_s:.4f}", words)
        # The machine may be quicker this time: then it has ended before it could die.
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        made_ready(engine, whole_again(lab, domain, engine, f"after {moment_s:.4f} s"), words)


def jobs(lab, domain: Domain) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = lab.execute(domain, "query-jobs")
    return found


def left_with_a_job(lab, domain: Domain) -> str:
    """Kill a deletion while its merge is at work in QEMU; the id of the job, which lives on."""
    found = kill_when(argv(lab, "0", ("delete", "middle", "slow-jobs")), lambda: jobs(lab, domain))
    (job,) = jobs(lab, domain)
    assert job["id"] == found[0]["id"]
    assert job["status"] == "running"
    return str(job["id"])


@pytest.fixture
def three(lab) -> tuple[Domain, Engine]:
    """A guest with three external snapshots, so that deleting the middle one merges two overlays of ours.

    The guest stands still from the middle one to the last, so that everything has to be copied.
    """
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("root", kind=Kind.EXTERNAL))
    lab.heard(domain, reports=ALL_SECTORS)
    engine.create("guest", CreateRequest("middle", kind=Kind.EXTERNAL, then=Then.PAUSED))
    engine.create("guest", CreateRequest("leaf", kind=Kind.EXTERNAL))
    engine.unpause("guest")
    lab.heard(domain)
    return domain, engine


def merged_at_last(lab, domain: Domain, engine: Engine) -> None:
    """What is left of the merge is done with the next deletion, and the guest is well."""
    engine.delete("guest", DeleteRequest("leaf"))
    lab.heard(domain)
    assert [len(disk.chain.images) for disk in engine.view("guest").disks if disk.chain] == [2, 2]
    assert jobs(lab, domain) == []
    sound(lab, engine)
    engine.revert("guest", RevertRequest("root"))
    lab.heard(domain)


def test_a_job_that_lives_on_is_found_by_its_id_and_cancelled(lab, three) -> None:
    domain, engine = three
    left_with_a_job(lab, domain)
    lab.heard(domain)
    recovered = engine.recover("guest")
    assert recovered is not None
    assert recovered.outcome is Outcome.UNDONE
    assert jobs(lab, domain) == []
    sound(lab, engine)
    merged_at_last(lab, domain, engine)


def test_a_job_that_lives_on_is_followed_to_its_end_where_that_is_asked_for(lab, three) -> None:
    domain, engine = three
    job = left_with_a_job(lab, domain)
    lab.execute(domain, "block-job-set-speed", device=job, speed=0)
    recovered = engine.recover("guest", abort=False)
    assert recovered is not None
    assert recovered.outcome is Outcome.DONE
    assert jobs(lab, domain) == []
    sound(lab, engine)
    merged_at_last(lab, domain, engine)


def test_a_job_that_came_to_its_end_while_nobody_looked_is_let_go(lab, three) -> None:
    domain, engine = three
    job = left_with_a_job(lab, domain)
    lab.execute(domain, "block-job-set-speed", device=job, speed=0)
    deadline = time.monotonic() + PATIENCE_S
    while jobs(lab, domain)[0]["status"] != "pending":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    engine.recover("guest")
    assert jobs(lab, domain) == []
    sound(lab, engine)
    merged_at_last(lab, domain, engine)


def test_ctrl_c_cancels_a_job_and_the_guest_goes_on(lab, three, tmp_path) -> None:
    domain, engine = three
    words = ["delete", "guest", "middle", "--host", f"qemu:{lab.directory}", "-v"]
    code = "from tests.real.qemu.killed import slow_down; from xensnap.cli.main import main; slow_down(); main()"
    told = Path(f"{tmp_path}.told")
    with told.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=stderr
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_S
        # It tells how far it is, and then QEMU makes it wait.
        while not re.search(r": [0-9.]+ \S+ of 1 MiB", told.read_text(), re.MULTILINE):
            assert process.poll() is None, told.read_text()
            assert time.monotonic() < deadline, told.read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=PATIENCE_S) == 130, told.read_text()
    finally:
        process.kill()
        process.wait()
    assert "it was undone" in told.read_text()
    assert jobs(lab, domain) == []
    lab.heard(domain)
    sound(lab, engine)
    merged_at_last(lab, domain, engine)


def test_a_job_whose_guest_ended_with_it_leaves_nothing_undone(lab, three) -> None:
    domain, engine = three
    left_with_a_job(lab, domain)
    process = lab.run(lab.processes.find(domain.uuid))
    os.kill(process.pid, signal.SIGKILL)
    assert lab.run(lab.processes.ended(process, timeout_s=PATIENCE_S))
    engine.recover("guest")
    assert engine.recover("guest") is None
    sound(lab, engine)
    engine.repair("guest", check=True)  # a QEMU that dies while its guest writes may leak clusters of the active layer
    for disk in engine.view("guest").domain.disks:
        lab.check(disk.layer)
    engine.start("guest")
    lab.heard(domain)
    merged_at_last(lab, domain, engine)


def sound(lab, engine: Engine) -> None:
    """No file that nobody needs, and none missing."""
    view = engine.view("guest")
    assert not view.pending
    assert not view.damaged
    ours = {entry.path for entry in view.state.ours}
    there = {str(path) for path in lab.directory.iterdir() if path.is_file()}
    needed = {path for path, image in view.images.items() if image} | ours
    strange = {path for path in there - needed if not path.endswith((".toml", ".img"))}
    assert not strange
    assert ours <= there
    store = Path(view.root) / view.domain.uuid
    held = (*view.snapshots.values(), *(thrown.snapshot for thrown in view.trashed.values()))
    memories = {Path(snapshot.memory).name for snapshot in held if snapshot.memory}
    assert {path.name for path in store.iterdir() if ".save" in path.name} == memories
