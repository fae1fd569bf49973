"""An image that is not ours, ended below a real guest: copied down into by its QEMU, which then goes over to it.

The guest counts in memory and on its disks all the while, and says itself when the two do not agree.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.real.qemu.conftest import PATIENCE_S
from tests.real.qemu.test_engine_killed import ALL_SECTORS, ROOT, argv, jobs, run, sound
from xensnap.backends.local.qmp import LocalMonitor
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest, block_jobs
from xensnap.engine.execute import Outcome
from xensnap.errors import ExitCode, Failed
from xensnap.model import Domain, Kind, RunState

DISKS = ("xvda", "xvdb")
BYTES_PER_S = 4096
"""Less than the guest writes."""


@pytest.fixture
def overlaid(lab) -> tuple[Domain, Engine]:
    """A guest that runs on overlays, with one snapshot: when that goes, nobody but the disks needs their old images."""
    domain = lab.start()
    engine = Engine(lab.host)
    engine.create("guest", CreateRequest("first", kind=Kind.EXTERNAL))
    lab.heard(domain, reports=ALL_SECTORS)
    return domain, engine


def on_its_own_images(lab, domain: Domain, engine: Engine) -> None:
    """The guest runs on what its operator gave it, now and after its next start, and nothing else is there."""
    names = [f"guest-{vdev}.qcow2" for vdev in DISKS]
    assert [lab.chain(domain, vdev) for vdev in DISKS] == [[name] for name in names]
    assert [Path(disk.path).name for disk in engine.view("guest").domain.disks] == names
    assert sorted(path.name for path in lab.directory.glob("*.qcow2")) == names
    assert engine.view("guest").state.hidden == ()
    assert jobs(lab, domain) == []
    sound(lab, engine)
    n = lab.heard(domain)
    lab.run(lab.toolstack.destroy(domain))
    for disk in engine.view("guest").domain.disks:
        lab.check(disk.layer)
        assert lab.on_disk(disk.layer, n) >= n - 16
    engine.start("guest")
    lab.heard(domain)


def slowly(monkeypatch: pytest.MonkeyPatch, bytes_per_s: int) -> None:
    execute = LocalMonitor.execute

    async def throttled(self: LocalMonitor, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        if command == "block-commit":
            arguments = {**(arguments or {}), "speed": bytes_per_s}
        return await execute(self, command, arguments)

    monkeypatch.setattr(LocalMonitor, "execute", throttled)


def test_the_guest_goes_on_in_its_own_images_and_the_overlays_are_gone(lab, overlaid) -> None:
    domain, engine = overlaid
    assert engine.delete("guest", DeleteRequest("first")).warnings == ()
    on_its_own_images(lab, domain, engine)


def test_the_older_of_two_goes_and_the_other_holds_the_image_that_its_own_was_copied_into(lab, overlaid) -> None:
    domain, engine = overlaid
    engine.create("guest", CreateRequest("second", kind=Kind.EXTERNAL))
    n = lab.heard(domain, reports=ALL_SECTORS)
    assert engine.delete("guest", DeleteRequest("first")).warnings == ()
    assert [len(lab.chain(domain, vdev)) for vdev in DISKS] == [2, 2]
    held = [Path(disk.image.path).name for disk in engine.list("guest").contents.snapshots["second"].disks]
    assert held == [f"guest-{vdev}.qcow2" for vdev in DISKS]
    assert lab.heard(domain) > n
    sound(lab, engine)
    engine.revert("guest", RevertRequest("second"))
    lab.heard(domain)
    assert lab.said(domain)[0][0] < n
    (let_go,) = engine.delete("guest", DeleteRequest("second")).warnings
    assert "what the revert to 'second' gave up" in let_go
    on_its_own_images(lab, domain, engine)


def test_a_paused_guest_goes_over_too_and_stays_paused(lab, overlaid) -> None:
    domain, engine = overlaid
    engine.pause("guest")
    assert engine.delete("guest", DeleteRequest("first")).warnings == ()
    assert engine.view("guest").domain.state is RunState.PAUSED
    engine.unpause("guest")
    lab.heard(domain)
    on_its_own_images(lab, domain, engine)


def test_a_guest_that_writes_faster_than_it_is_copied_stays_where_it_is(lab, overlaid, monkeypatch) -> None:
    domain, engine = overlaid
    with monkeypatch.context() as patched:
        slowly(patched, BYTES_PER_S)
        patched.setattr(block_jobs, "PATIENCE_S", 0.5)
        told = engine.delete("guest", DeleteRequest("first")).warnings
    assert len(told) == len(DISKS)
    assert all("writes faster" in text and "job-stalled" in text for text in told)
    assert jobs(lab, domain) == []
    assert [len(lab.chain(domain, vdev)) for vdev in DISKS] == [2, 2]
    lab.heard(domain, reports=ALL_SECTORS)
    sound(lab, engine)
    assert len(engine.compact("guest").merged) == len(DISKS)
    on_its_own_images(lab, domain, engine)


def left_with_a_commit(lab, domain: Domain, *, ready: bool) -> None:
    """Kill a deletion while its commit is at work in QEMU, or when it has caught up with the guest."""
    process = subprocess.Popen(argv(lab, "0", ("delete", "first", "slow-jobs")), cwd=ROOT)
    try:
        until(lambda: jobs(lab, domain))
        (job,) = jobs(lab, domain)
        assert job["status"] == "running"
    finally:
        process.kill()
        process.wait()
    if ready:
        lab.execute(domain, "block-job-set-speed", device=job["id"], speed=0)
        until(lambda: jobs(lab, domain)[0]["status"] == "ready")


def until(true: Any) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("ready", [False, True], ids=["at-work", "ready"])
def test_a_commit_that_lives_on_is_cancelled_and_the_guest_stays_on_its_overlay(lab, overlaid, ready) -> None:
    domain, engine = overlaid
    left_with_a_commit(lab, domain, ready=ready)
    lab.heard(domain)
    recovered = engine.recover("guest")
    assert recovered is not None
    assert recovered.outcome is Outcome.UNDONE
    assert jobs(lab, domain) == []
    assert [len(lab.chain(domain, vdev)) for vdev in DISKS] == [2, 2]
    lab.heard(domain, reports=ALL_SECTORS)
    sound(lab, engine)
    assert len(engine.compact("guest").merged) == len(DISKS)
    on_its_own_images(lab, domain, engine)


def test_a_commit_that_is_ready_is_followed_to_its_end_where_that_is_asked_for(lab, overlaid) -> None:
    domain, engine = overlaid
    left_with_a_commit(lab, domain, ready=True)
    recovered = engine.recover("guest", abort=False)
    assert recovered is not None
    assert recovered.outcome is Outcome.DONE
    assert lab.seen(domain).state is RunState.RUNNING
    assert sorted(len(lab.chain(domain, vdev)) for vdev in DISKS) == [1, 2]
    engine.compact("guest")
    on_its_own_images(lab, domain, engine)


def test_one_that_died_when_it_had_told_the_job_to_pivot_is_finished(lab, overlaid) -> None:
    domain, engine = overlaid
    done = run(lab, "0", ("delete", "first", "ready-to-die"))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert lab.seen(domain).state is RunState.PAUSED
    recovered = engine.recover("guest")
    assert recovered is not None
    assert lab.seen(domain).state is RunState.RUNNING
    # It may have been cancelled before it did what it was told.
    expected = [1, 2] if recovered.outcome is Outcome.DONE else [2, 2]
    assert sorted(len(lab.chain(domain, vdev)) for vdev in DISKS) == expected
    engine.compact("guest")
    on_its_own_images(lab, domain, engine)


def test_ctrl_c_ends_a_commit_and_the_guest_goes_on_where_it_was(lab, overlaid) -> None:
    domain, engine = overlaid
    code = "from tests.real.qemu.killed import slow_down; from xensnap.cli.main import main; slow_down(); main()"
    words = ["delete", "guest", "first", "--host", f"qemu:{lab.directory}"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )  # fmt: skip
    try:
        until(lambda: jobs(lab, domain))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert jobs(lab, domain) == []
    lab.heard(domain)
    engine.recover("guest")
    engine.compact("guest")
    on_its_own_images(lab, domain, engine)


@pytest.mark.parametrize("ready", [False, True], ids=["at-work", "ready"])
def test_a_commit_whose_guest_ended_with_it_leaves_the_disks_as_they_were(lab, overlaid, ready) -> None:
    domain, engine = overlaid
    left_with_a_commit(lab, domain, ready=ready)
    n = lab.heard(domain)
    process = lab.run(lab.processes.find(domain.uuid))
    os.kill(process.pid, signal.SIGKILL)
    assert lab.run(lab.processes.ended(process, timeout_s=PATIENCE_S))
    with pytest.raises(Failed, match="the guest is gone") as told:
        engine.recover("guest", abort=False)
    assert told.value.exit_code is ExitCode.SOMETHING_LEFT
    assert told.value.remedy.endswith("run `xensnap recover`.")
    assert engine.list("guest").pending
    engine.recover("guest")
    sound(lab, engine)
    for disk in engine.view("guest").domain.disks:
        assert lab.on_disk(disk.layer, n) >= n - 16
    engine.start("guest")
    lab.heard(domain)
    engine.compact("guest")
    on_its_own_images(lab, domain, engine)
