"""The demonstration: its proofs hold, it leaves nothing behind, and it can fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from xensnap.cli.demo_world import Compared, DemoWorld

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "demo.svg"


@pytest.mark.parametrize("seed", range(12))
def test_every_proof_holds_wherever_it_crashes(shell, seed) -> None:
    told = shell.json("demo", "--seed", str(seed))
    assert told["passed"]
    assert all(proof["holds"] for proof in told["proofs"])
    assert sum(proof["blocks"] for proof in told["proofs"]) > 10_000


def test_it_ends_with_the_proof(shell) -> None:
    text = shell.ok("demo", "--plain", "--seed", "3")
    assert text.splitlines()[-1].startswith("Proved: disks and memory came back")
    assert "you are here" in text
    assert "\x1b" not in text


def test_it_needs_no_set_up_leaves_nothing_behind_and_is_quick(tmp_path) -> None:
    place = tmp_path / "empty"
    place.mkdir()
    before = os.times()
    words = [sys.executable, "-m", "xensnap.cli", "demo"]
    environment = {"PATH": "", "HOME": str(place), "LANG": "C.UTF-8"}
    done = subprocess.run(words, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 10
    assert not list(place.iterdir())


@pytest.mark.parametrize("bad", [Compared(5, 6), Compared(0, 0)])
def test_a_proof_that_fails_fails_the_demonstration(shell, monkeypatch, bad) -> None:
    monkeypatch.setattr(DemoWorld, "compared", lambda *_: bad)
    result = shell.run("demo", "--plain", "--seed", "1")
    assert result.exit_code == 1
    assert "NOT PROVED (--seed 1)" in result.stdout


def test_a_block_that_did_not_come_back_is_seen() -> None:
    world = DemoWorld(1)
    world.write(10)
    before = world.content()
    assert world.compared(before).all_equal
    world.host.write("guest1", "xvdb", 512 * 9, 512)
    compared = world.compared(before)
    assert compared.total - compared.equal == 1


def test_the_picture_is_one_that_holds_no_address_to_fetch_from(shell) -> None:
    text = shell.ok("demo", "--seed", "1", "--svg", "demo.svg")
    assert "\x1b" not in text
    picture = (shell.directory / "demo.svg").read_text(encoding="utf-8")
    assert "@font-face" not in picture
    assert "Proved" in picture
    assert "Proved" in PICTURE.read_text(encoding="utf-8")
