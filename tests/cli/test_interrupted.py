"""Real signals to a real process, in each phase and twice: the exit code says so, and what is left, recovery ends."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import UUID, Shell

LIMIT_S = 30
SIGNALS = [signal.SIGINT, signal.SIGTERM]


class Working:
    """Commands in processes of their own, whose qemu-img does what one of these words says and then does not end."""

    def __init__(self, shell: Shell, place: Path, qemu_img: str, *words: str) -> None:
        place.mkdir()
        tool = place / "qemu-img"
        cases = "\n".join(f'case "$*" in *{w}*) echo >> {place}/done{w}; exec sleep 60;; esac' for w in words)
        tool.write_text(f'#!/bin/sh\n{qemu_img} "$@" || exit\n{cases}\n')
        tool.chmod(0o755)
        self.place = place
        self.environment = os.environ | {"XENSNAP_HOST": shell.host, "PATH": f"{place}:{os.environ['PATH']}"}

    @contextlib.contextmanager
    def run(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        argv = [sys.executable, "-m", "xensnap.cli", *words]
        with subprocess.Popen(argv, env=self.environment, stderr=subprocess.PIPE, text=True) as running:
            try:
                yield running
            finally:
                running.kill()

    def has_done(self, word: str) -> bool:
        return (self.place / f"done{word}").exists()


def until(happened: Callable[[], bool], running: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + LIMIT_S
    while not happened():
        assert time.monotonic() < deadline, "it takes too long"
        assert running.poll() is None, running.stderr and running.stderr.read()
        time.sleep(0.01)


def tags(shell: Shell, qemu_img: str) -> list[str]:
    image = Path(shell.host.partition(":")[2]) / "a.qcow2"
    done = subprocess.run([qemu_img, "info", "--output=json", image], capture_output=True, text=True, check=True)
    return [each["name"] for each in json.loads(done.stdout).get("snapshots", [])]


def waits(pid: int) -> bool:
    """Whether a process sleeps in its event loop by now: this one needs none before it asks for the lock."""
    with contextlib.suppress(OSError):
        loops = any(str(fd.readlink()) == "anon_inode:[eventpoll]" for fd in Path(f"/proc/{pid}/fd").iterdir())
        return loops and "State:\tS" in Path(f"/proc/{pid}/status").read_text()
    return False


LOADING = """
import os, signal, sys
class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupts())
from xensnap.cli.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["click", "xensnap.cli.session", "xensnap.errors"])
def test_ctrl_c_while_the_command_loads_is_told_in_words(module) -> None:
    done = subprocess.run([sys.executable, "-c", LOADING, module], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "xensnap: interrupted; nothing was changed\n")


@pytest.mark.parametrize("second", SIGNALS)
@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_signal_is_a_crash_which_recovery_ends(qemu, qemu_img, tmp_path, first, second) -> None:
    working = Working(qemu, tmp_path / "slow", qemu_img, "-c", "-d")
    with working.run("create", "guest1", "-n", "one") as running:
        until(lambda: working.has_done("-c"), running)
        running.send_signal(first)
        until(lambda: working.has_done("-d"), running)
        running.send_signal(second)
        _, told = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130, told
    assert "interrupted, and the operation was left where it was: interrupted again" in told
    assert "Run `xensnap recover guest1`." in told
    assert "Traceback" not in told, told
    assert qemu.json("list", "guest1")["pending"] is not None
    assert "undone" in qemu.ok("recover", "guest1")
    assert (tags(qemu, qemu_img), qemu.json("list", "guest1")["snapshots"]) == ([], [])
    assert qemu.json("doctor", "guest1", "--check")["domains"][0]["findings"] == []


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_while_it_waits_for_another_leaves_nothing(qemu, qemu_img, tmp_path, number) -> None:
    qemu.ok("create", "guest1", "-n", "one")
    store = Path(qemu.host.partition(":")[2]) / "snapshots" / UUID
    before = {path.name: path.read_bytes() for path in store.iterdir()}
    working = Working(qemu, tmp_path / "slow", qemu_img)
    with (store / "lock").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with working.run("create", "guest1", "-n", "two", "--wait", "600") as running:
            until(lambda: waits(running.pid), running)
            running.send_signal(number)
            _, told = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130, told
    assert told == "xensnap: interrupted; nothing was changed\n"
    assert {path.name: path.read_bytes() for path in store.iterdir()} == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_after_the_decision_lets_it_be_finished(qemu, qemu_img, tmp_path, number) -> None:
    qemu.ok("create", "guest1", "-n", "one")
    working = Working(qemu, tmp_path / "slow", qemu_img, "-d")
    with working.run("delete", "guest1", "one") as running:
        until(lambda: working.has_done("-d"), running)
        running.send_signal(number)
        _, told = running.communicate(timeout=LIMIT_S)
    assert running.returncode == 130, told
    assert "it was decided already, and has been finished" in told
    assert (tags(qemu, qemu_img), qemu.ok("list", "guest1", "--name-only")) == ([], "")
    assert qemu.json("list", "guest1")["pending"] is None
