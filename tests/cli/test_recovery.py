"""Interrupted operations: shown by the verbs that look, ended by `recover`, and what Ctrl-C comes to."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulator.faults.damage import NewUuid
from tests.cli.conftest import UUID, damage_by_hand
from tests.doctor.damages import OTHER
from xensnap.cli import progress
from xensnap.engine.execute import Progress


def test_a_simulated_death_leaves_something_that_recover_ends(sim) -> None:
    before = sim.json("sim", "read", "guest1", "xvda")["runs"]
    sim.ok("create", "guest1", "-n", "first")
    told = json.loads(sim.ok("sim", "crash", "--json", "--at", "50", "create", "guest1", "-n", "second"))
    assert told["number"] >= 42
    for verb in (["list", "guest1"], ["tree", "guest1"], ["info", "guest1"], ["current", "guest1"], ["list"]):
        result = sim.run(*verb)
        assert result.exit_code == 0
        assert "recovery is due" in result.stderr
    assert sim.json("list", "guest1")["pending"] == "create snapshot 'second' of guest1"
    assert sim.error("create", "guest1", "--dry-run")["id"] == "recovery-due"
    (recovered,) = sim.json("recover")["recovered"]
    assert "not been decided" in recovered.pop("why")
    assert recovered == {"domain": "guest1", "summary": "create snapshot 'second' of guest1", "outcome": "undone"}
    assert sim.json("list", "guest1")["pending"] is None
    assert sim.json("sim", "read", "guest1", "xvda")["runs"] == before


def test_the_next_operation_ends_the_one_before_it(sim) -> None:
    sim.ok("sim", "crash", "--at", "50", "create", "guest1", "-n", "one")
    result = sim.run("create", "guest1", "-n", "two")
    assert result.exit_code == 0
    assert "interrupted operation" in result.stderr


def test_recover_can_insist_on_either_end(sim) -> None:
    sim.ok("sim", "crash", "--at", "50", "create", "guest1", "-n", "one")
    assert sim.json("recover", "guest1", "--resume")["recovered"][0]["outcome"] == "done"
    assert sim.ok("list", "guest1", "--name-only") == "one\n"
    sim.ok("sim", "crash", "--at", "55", "create", "guest1", "-n", "two")
    assert sim.json("recover", "--all", "--abort")["recovered"][0]["outcome"] == "undone"
    assert sim.ok("list", "guest1", "--name-only") == "one\n"


def test_what_is_decided_cannot_be_undone(sim) -> None:
    sim.ok("create", "guest1", "-n", "one")
    sim.ok("sim", "crash", "--at", "50", "delete", "guest1", "one")
    told = sim.error("recover", "guest1", "--abort")
    assert (told["id"], told["exit_code"]) == ("decided-already", 6)
    failed = sim.run("recover", "--abort")
    assert failed.exit_code == 6
    assert "past its point of no return" in failed.stderr
    assert sim.json("recover")["recovered"][0]["outcome"] == "done"


def test_what_waits_for_a_domain_that_the_host_knows_no_more_is_told_by_all_who_are_asked(sim) -> None:
    sim.ok("create", "guest1", "-n", "one")
    sim.ok("sim", "crash", "--at", "50", "delete", "guest1", "one")
    damage_by_hand(sim, NewUuid(UUID, OTHER))
    failed = sim.run("recover", "--json")
    (told,) = json.loads(failed.stdout)["failed"]
    assert (failed.exit_code, told["domain"], told["id"]) == (3, UUID, "interrupted-of-nobody")
    found = json.loads(sim.run("doctor", "--json").stdout)["domains"][-1]
    assert (found["domain"], [each["id"] for each in found["findings"]]) == (UUID, ["interrupted-of-nobody"])
    assert found["findings"][0]["remedy"] == told["remedy"]
    changing = (["recover", UUID], ["domain", "start", UUID], ["doctor", UUID], ["create", UUID])
    for words in (*changing, ["create", UUID, "--dry-run"], ["list", UUID], ["tree", UUID], ["info", UUID, "one"]):
        assert sim.error(*words)["id"] == "interrupted-of-nobody"
    damage_by_hand(sim, NewUuid(OTHER, UUID))
    assert sim.json("recover")["recovered"][0]["outcome"] == "done"


def test_with_nothing_to_recover_it_says_so(both) -> None:
    assert both.ok("recover") == "nothing to recover\n"
    assert both.json("recover", "guest1")["recovered"] == []


def interrupted_at(monkeypatch, step: int) -> None:
    """Ctrl-C, as if pressed once, just when this step is told."""
    pressed: list[bool] = []

    def told(now: Progress, _rate: float | None = None) -> str:
        if now.number == step and not pressed:
            pressed.append(True)
            raise KeyboardInterrupt
        return str(now.number)

    monkeypatch.setattr(progress, "line", told)


@pytest.mark.parametrize("step", range(1, 6))
def test_ctrl_c_in_a_create_undoes_it(both, monkeypatch, step) -> None:
    interrupted_at(monkeypatch, step)
    result = both.run("create", "guest1", "-n", "one", "-v")
    assert result.exit_code == 130
    assert result.stderr.splitlines()[-1] == "xensnap: interrupted; create snapshot 'one' of guest1: it was undone"
    assert both.json("list", "guest1")["snapshots"] == []
    assert both.json("list", "guest1")["pending"] is None


def test_ctrl_c_after_the_decision_finishes(both, monkeypatch) -> None:
    both.ok("create", "guest1", "-n", "one")
    with monkeypatch.context() as patch:
        interrupted_at(patch, 2)
        told = both.run("delete", "guest1", "one", "-v")
    assert told.exit_code == 130
    assert "has been finished" in told.stderr
    assert both.ok("list", "guest1", "--name-only") == ""


def test_ctrl_c_as_xl_has_it(sim, monkeypatch) -> None:
    interrupted_at(monkeypatch, 1)
    assert sim.run("--xl-exit", "create", "guest1", "-v").exit_code == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_real_ctrl_c_in_the_middle_of_a_real_qemu_img(qemu, qemu_img, tmp_path, number) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    tool = slow / "qemu-img"
    tool.write_text(f'#!/bin/sh\nsleep 1\nexec {qemu_img} "$@"\n')
    tool.chmod(0o755)
    environment = os.environ | {"XENSNAP_HOST": qemu.host, "PATH": f"{slow}:{os.environ['PATH']}"}
    words = [sys.executable, "-m", "xensnap.cli", "-v", "create", "guest1", "-n", "one"]
    with subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        assert running.stderr.readline().startswith("[1/5]")
        time.sleep(0.3)
        running.send_signal(number)
        _, told = running.communicate(timeout=30)
    assert running.returncode == 130, told
    assert "xensnap: interrupted; create snapshot 'one' of guest1: it was undone" in told.splitlines()
    assert qemu.json("info", "guest1")["snapshots"] == []
    subprocess.run([qemu_img, "check", "-q", Path(qemu.host.partition(":")[2]) / "a.qcow2"], check=True)


def test_what_emptying_the_trash_has_ended_first_is_told(sim) -> None:
    for name in ("one", "two"):
        sim.ok("create", "guest1", "-n", name)
    sim.ok("forget", "guest1", "one")
    sim.ok("sim", "crash", "--at", "50", "delete", "guest1", "two")
    told = sim.json("trash", "empty", "guest1", "--all")
    assert (told["recovered"]["outcome"], told["snapshots"]) == ("done", [])
