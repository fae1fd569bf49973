"""Campaigns: what shards come to is one report, whoever carried them out, and a shard that is lost is done again."""

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.conformance.broken import applies_nothing
from xensnap.cli.main import main
from xensnap.conformance import every_case
from xensnap.conformance.campaign import Shard, carry_out, events_of, lost, merged, read, shards_of
from xensnap.conformance.events import State, decode, encode
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.reports.outcomes import gather

CORE = [case.id for case in every_case() if case.profile == "core"]

WORKER_LOST = '''
import os
import signal
from pathlib import Path

from xensnap.conformance.places.simulated import SimulatedPlace

MARKS = Path(__file__).parent / "marks"


def make_place(seed):
    """The first worker that gets here is lost with all that it was doing."""
    try:
        (MARKS / "lost").touch(exist_ok=False)
    except FileExistsError:
        (MARKS / str(os.getpid())).touch()
        return SimulatedPlace(seed)
    os.kill(os.getpid(), signal.SIGKILL)
'''


def test_shards_have_every_case_with_every_seed_once() -> None:
    shards = shards_of(CORE, seeds=[3, 4], parts=5)
    assert len(shards) == 10
    done = [(shard.seed, case) for shard in shards for case in shard.cases]
    assert sorted(done) == sorted((seed, case) for seed in (3, 4) for case in CORE)
    assert len(shards_of(CORE[:2], seeds=[0], parts=9)) == 2


def test_a_shard_comes_to_the_same_each_time_but_for_its_seconds() -> None:
    shard = Shard(3, tuple(CORE[:3]))
    one, two = (carry_out(shard, SimulatedPlace, clock=float) for _ in range(2))
    assert one == two


def test_what_was_bad_with_any_seed_is_told_with_that_seed() -> None:
    good, bad = (read(carry_out(Shard(seed, tuple(CORE)), place, clock=time.monotonic))
                 for seed, place in ((1, SimulatedPlace), (2, applies_nothing)))  # fmt: skip
    whole = merged([good, bad], seconds=1.0)
    by_id = {case.began.case: case.ended for case in whole.cases}
    assert len(by_id) == len(CORE)
    assert by_id["core/disks-come-back"].state is State.FAIL
    assert by_id["core/disks-come-back"].words == "seed 2: after the revert: 40 blocks differ"
    assert by_id["core/names-cannot-leave-the-store"].state is State.PASS
    assert whole.ended.bad == bad.ended.bad
    assert gather([decode(encode(event)) for event in events_of(whole)]) == whole


def test_a_shard_that_nobody_could_carry_out_is_an_error_of_its_cases() -> None:
    whole = merged([lost(Shard(1, tuple(CORE)), "KilledWorker")], seconds=0.0)
    assert {case.ended.state for case in whole.cases} == {State.ERROR}
    assert whole.ended.bad == len(CORE)


def test_without_a_cluster_it_is_done_here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["explore", "core/disks-come-back", "--host", "tests.conformance.broken:applies_nothing", "--seeds", "2"]
    done = CliRunner().invoke(main, [*words, "--jsonl", "all.jsonl"])
    assert (done.exit_code, "seed 0: after the revert: 40 blocks differ" in done.stdout) == (1, True), done.output
    assert len([*(tmp_path / "xensnap-capsules").iterdir()]) == 2
    assert gather(map(decode, (tmp_path / "all.jsonl").read_bytes().splitlines())).ended.bad == 1


@pytest.fixture
def cluster(tmp_path):
    """A scheduler and two workers, each a process of its own, which a nanny begins anew where it is lost."""
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("capability missing: distributed is not installed; the extra 'cluster' has it")
    (tmp_path / "marks").mkdir()
    (tmp_path / "place_of_ours.py").write_text(WORKER_LOST)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "DASK_DISTRIBUTED__DASHBOARD__LINK": ""}
    tell = tmp_path / "scheduler.json"
    common = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    begun = [subprocess.Popen([*dask, "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                               "--scheduler-file", str(tell)], **common)]  # fmt: skip
    until = time.monotonic() + 120
    while not tell.exists() or not tell.stat().st_size:
        assert begun[0].poll() is None, "the scheduler has ended"
        assert time.monotonic() < until, "the scheduler did not begin"
        time.sleep(0.05)
    address = json.loads(tell.read_text())["address"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nworkers", "2", "--nthreads", "1",
              "--no-dashboard", "--local-directory", str(tmp_path)]  # fmt: skip
    begun.append(subprocess.Popen(worker, **common))
    yield address
    for process in reversed(begun):
        process.terminate()
        process.wait()


def test_a_shard_that_is_lost_with_its_worker_is_done_again_and_all_is_one_report(cluster, tmp_path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = ["explore", *CORE[:6], "--host", "place_of_ours:make_place", "--seeds", "2", "--shards", "3"]
    argv = [sys.executable, "-m", "xensnap.cli", *words, "--scheduler", cluster, "--jsonl", "all.jsonl"]
    done = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    run = gather(map(decode, Path(tmp_path, "all.jsonl").read_bytes().splitlines()))
    assert [case.began.case for case in run.cases] == CORE[:6]
    assert run.ended.counts == {"pass": 6}
    marks = {path.name for path in (tmp_path / "marks").iterdir()}
    assert "lost" in marks
    assert len(marks) >= 2


def test_a_scheduler_that_is_not_there_is_told(monkeypatch, tmp_path) -> None:
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("capability missing: distributed is not installed; the extra 'cluster' has it")
    monkeypatch.setattr("xensnap.cli.explore.JOIN_S", 0.2)
    told = CliRunner().invoke(main, ["explore", CORE[0], "--host", "sim", "--scheduler", "tcp://127.0.0.1:1"])
    assert (told.exit_code, "no Dask scheduler at tcp://127.0.0.1:1" in told.stderr) == (1, True), told.output
