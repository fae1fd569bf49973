"""Ctrl-C in the middle of every system call of a command on its images and its store: it ends done or undone, in words.

strace sends it: Python hears it right when the call has come back from the kernel, as if the key had been pressed then.
"""

import itertools
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.real.lab import Lab, command

STRIDE = 1 if os.environ.get("XENSNAP_DEEP_S") else 37
"""In ordinary runs it comes in each 37th of these calls."""

LIMIT_S = 120
INTERRUPTED = 130
VERBS = {
    "create": ("create", "guest", "-n", "three"),
    "revert": ("revert", "guest", "one"),
    "delete": ("delete", "guest", "one"),
    "rename": ("rename", "guest", "one", "uno"),
    "pin": ("pin", "guest", "one"),
}
_CALL = re.compile(r"^(\w+)\(", re.MULTILINE)


def traced(lab: Lab, words: tuple[str, ...], log: Path, *how: str) -> "subprocess.CompletedProcess[str]":
    """Run a command under a strace that looks at its calls on what there is by now, and does this besides."""
    looked_at = [word for path in (lab.directory, *sorted(lab.directory.rglob("*"))) for word in ("-P", str(path))]
    tracer = ["strace", "-qqq", "-o", str(log), "-e", "signal=none", *looked_at, *how]
    environment = os.environ | {"XENSNAP_HOST": lab.host}
    argv = [*tracer, *command(*words)]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S)


def calls(log: Path) -> list[tuple[str, int]]:
    """Every call of a log: its name, and how many of that name there have been with it."""
    seen: Counter[str] = Counter()
    found = []
    for name in _CALL.findall(log.read_text(encoding="utf-8", errors="replace")):
        seen[name] += 1
        found.append((name, seen[name]))
    return found


def guests(place: Path, kind: str) -> Iterator[Lab]:
    """One laboratory after the other: a guest that is off, with two snapshots of two disks."""
    for number in itertools.count():
        (place / f"{number}").mkdir()
        lab = Lab(place / f"{number}", scratch=place)
        for name in ("a.qcow2", "b.qcow2"):
            lab.image(name)
        lab.describe("guest", ("a.qcow2", "qcow2"), ("b.qcow2", "qcow2"))
        for content, name in enumerate(("one", "two", ""), 2):
            for vdev in ("xvda", "xvdb"):
                lab.guest_writes(content, vdev=vdev)
            if name:
                lab.ok("create", "guest", "-n", name, "--type", kind)
        yield lab


def state(lab: Lab) -> tuple[object, ...]:
    listed = lab.json("list", "guest")
    assert listed["pending"] is None
    return {(each["name"], bool(each["pin"])) for each in listed["snapshots"]}, lab.shown()


@pytest.mark.parametrize("kind", ["internal", "external"])
@pytest.mark.parametrize("verb", VERBS)
def test_an_interrupted_command_is_done_or_undone(tmp_path, verb, kind) -> None:
    require_tool("strace")
    log, words = tmp_path / "log", (*VERBS[verb], *(["--type", kind] if verb == "create" else []))
    fresh = guests(tmp_path, kind)
    lab = next(fresh)
    before = state(lab)
    assert traced(lab, words, log).returncode == 0
    after = state(lab)
    told: Counter[int] = Counter()
    lab = next(fresh)
    for name, number in calls(log)[::STRIDE]:
        ran = traced(lab, words, log, "-e", f"inject={name}:signal=INT:when={number}")
        where = (name, number, ran.returncode, ran.stderr)
        told[ran.returncode] += 1
        assert ran.returncode in {0, INTERRUPTED}, where
        assert not re.search("Traceback|Warning", ran.stdout + ran.stderr), where
        found = state(lab)
        assert found == after or (ran.returncode == INTERRUPTED and found == before), where
        assert lab.json("doctor", "guest", "--check")["domains"][0]["findings"] == [], where
        if found == after:
            lab = next(fresh)
    assert told[INTERRUPTED], told
