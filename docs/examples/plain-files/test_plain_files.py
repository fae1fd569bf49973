"""The plain host passes what it declares, is not tried with the rest, and refuses it."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

XENSNAP = [str(Path(sys.executable).with_name("xensnap")), "conformance"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    words = ["run", "--host", "trying:make_place", "--stride", "11", "--jsonl", str(directory / "run.jsonl")]
    known = str(Path(__file__).with_name("known-broken"))
    reports = ["--markdown", str(directory / "matrix.md"), "--capsules", str(directory / "capsules")]
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [*XENSNAP, *words, "--known-broken", known, *reports], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.fixture(scope="module")
def states(run):
    events = map(json.loads, (run / "run.jsonl").read_text().splitlines())
    return {event["case"]: event["state"] for event in events if event["event"] == "case-ended"}


def test_what_it_declares_it_does(states):
    assert states["core/disks-come-back"] == "pass"
    assert states["crash/a-revert-that-dies-is-undone-or-done"] == "pass"
    assert Counter(states.values())["pass"] >= 25


def test_what_it_does_not_declare_is_not_tried_but_refused(states):
    assert states["external/disks-come-back-from-frozen-images"] == "unsupported"
    assert states["external/external-snapshots-are-refused"] == "pass"


def test_the_matrix_is_honest(run):
    matrix = (run / "matrix.md").read_text()
    assert "Declares: internal." in matrix
    assert "| C6 | internal snapshot in a qcow2 image | MUST | ✓ pass |" in matrix
    assert "| C2 | memory and disks of one moment | MUST | unsupported |" in matrix
    assert "✗" not in matrix
