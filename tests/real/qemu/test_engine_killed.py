"""SIGKILL of xensnap at every journal boundary of operations on a guest that runs, then `recover` by another process.

Afterwards the guest runs, its memory and its disks agree (it says so itself), every snapshot of the list can be
reverted to, and nothing of ours is left that nobody needs.
"""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.model import Kind, RunState

ROOT = Path(__file__).parents[3]
CASES = {
    "create-internal": ("create", "new", "internal"),
    "create-external": ("create", "new", "external"),
    "create-disk-only": ("create", "new", "external", "disk-only"),
    "revert": ("revert", "first"),
    "delete": ("delete", "first"),
}


def run(lab, step: str, words: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tests.real.qemu.killed", str(lab.directory), step, *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("sign", ["", "+"], ids=["at", "into"])
@pytest.mark.parametrize("case", CASES)
def test_killed_at_each_step_the_guest_is_as_before_or_as_after(lab, case, sign) -> None:
    words = CASES[case]
    kind = Kind.EXTERNAL if "external" in words else Kind.INTERNAL
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("first", kind=kind))
    step, died = 0, True
    while died:
        step += 1
        done = run(lab, f"{sign}{step}", words)
        died = done.returncode == -signal.SIGKILL
        assert died or done.returncode == 0, done.stderr
        engine.recover("guest")
        assert engine.recover("guest") is None
        assert lab.seen(domain).state is RunState.RUNNING, f"step {step}"
        lab.heard(domain)
        sound(lab, engine)
        names = set(engine.list("guest").contents.snapshots)
        assert names <= {"first", "new"}
        if "new" in names:
            engine.delete("guest", DeleteRequest("new"))
        if "first" not in names:
            engine.create("guest", CreateRequest("first", kind=kind))
    assert step > 3
    engine.revert("guest", RevertRequest("first"))
    lab.heard(domain)


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
    memories = {Path(snapshot.memory).name for snapshot in view.snapshots.values() if snapshot.memory}
    assert {path.name for path in store.iterdir() if ".save" in path.name} == memories
