"""What a merge has copied is found in the file before the merge is let go; and what it has not, is missed.

Images are drawn: kinds, sizes, cluster sizes, what is written, zeroed and discarded before and meanwhile. A QEMU of its
own merges them, and dies then; that the disk reads the same from its files alone says that it was let go in time. In
half of the examples nothing is flushed: then it is either noticed, or nothing was left to be flushed.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deep import DEEP_S
from xensnap.backends.local import copied
from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.machine import LocalMachine, sleep
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.local.waiting import run
from xensnap.errors import Failed

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io", "qemu_system")]

EXAMPLES = 200 if DEEP_S else 12
SETTINGS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
SECTOR = 512
NAMES = ("base", "lower", "upper", "top")

SIZES = st.sampled_from([1 << 20, (1 << 20) + SECTOR, 3 << 19, 2 << 20])
PLAIN = ["cluster_size=65536", "cluster_size=4096", "cluster_size=512", "compat=0.10"]
EXTENDED = "extended_l2=on,cluster_size=65536"
PLACES = st.tuples(st.integers(0, 4095), st.sampled_from([1, 8, 128, 1000, 2048]))
WORDS = st.tuples(st.sampled_from(["write -q -P 3", "write -q -z", "write -q -z -u", "discard -q"]), PLACES)
CONTENT = st.lists(WORDS, max_size=5)
SNAPSHOT = st.tuples(st.just("snapshot"), PLACES)
WRITTEN = st.lists(WORDS | WORDS | WORDS | SNAPSHOT, max_size=5)
LOWER = st.tuples(SIZES, st.sampled_from([*PLAIN, EXTENDED]), WRITTEN)
UPPER = st.tuples(SIZES, st.sampled_from(PLAIN), WRITTEN)  # QEMU may die of a stream into the others (qemu.md 189)
MERGE = st.sampled_from(
    [
        ("block-stream", {"device": "top", "base-node": "base"}),
        ("block-stream", {"device": "top", "base-node": "lower"}),
        ("block-stream", {"device": "top"}),
        ("block-stream", {"device": "upper", "base-node": "base"}),
        ("block-stream", {"device": "upper"}),
        ("block-commit", {"device": "top", "top-node": "upper", "base-node": "lower"}),
        ("block-commit", {"device": "top", "top-node": "upper", "base-node": "base"}),
    ]
)


class Qemu:
    """A QEMU without a machine, its images open under their names, and a monitor for those who ask it.

    Where it `flushes` nothing it does not hear what the human monitor is told by them.
    """

    def __init__(self, directory: Path, formats: Mapping[str, str], *, flushes: bool) -> None:
        self.flushes = flushes
        self._run = subprocess.Popen(
            ["qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-qmp", "stdio"],
            cwd=directory,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.said("qmp_capabilities")
        below: dict[str, Any] = {}
        for name in NAMES:
            file = {"driver": "file", "filename": str(directory / name)}
            how = {"driver": formats[name], "node-name": name, "file": file, "discard": "unmap", **below}
            self.said("blockdev-add", **how, **{"read-only": name != "top"})
            below = {"backing": name}

    def said(self, command: str, **arguments: Any) -> Any:
        assert self._run.stdin
        assert self._run.stdout
        self._run.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._run.stdin.flush()
        for line in self._run.stdout:
            if line.startswith('{"return"'):
                return json.loads(line)["return"]
            assert not line.startswith('{"error"'), (command, arguments, line)
        raise AssertionError(f"QEMU has ended at {command}")

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        if command == "human-monitor-command" and not self.flushes:
            return ""
        return self.said(command, **(arguments or {}))

    def written(self, content: list[Any]) -> None:
        """A guest goes on; the human monitor says on another stream what came of it."""
        for words, place in content:
            self.said("human-monitor-command", **{"command-line": f'qemu-io top "{io(words, place)}"'})

    def until(self, *statuses: str) -> Any:
        while True:
            (job,) = self.said("query-jobs")
            if job["status"] in statuses:
                return job

    async def close(self) -> None:
        self.killed()

    def killed(self) -> None:
        self._run.kill()
        self._run.communicate()


def io(words: str, place: tuple[int, int]) -> str:
    return f"{words} {place[0] * SECTOR} {place[1] * SECTOR}"


def make(directory: Path, images: Mapping[str, tuple[int, str, list[Any]]], formats: Mapping[str, str]) -> None:
    below: list[str] = []
    for name in NAMES:
        size, options, content = images[name]
        how = ["-o", options] if formats[name] == "qcow2" else []
        done = ["qemu-img", "create", "-q", "-f", formats[name], *how, *below, name, str(size)]
        subprocess.run(done, check=True, cwd=directory)
        for number, (words, place) in enumerate(content):
            step = ["qemu-io", "-f", formats[name], "-d", "unmap", "-c", io(words, place), name]
            if words == "snapshot":
                step = ["qemu-img", "snapshot", "-c", str(number), name]
            # What lies beyond the end of the disk is refused, as are snapshots of a raw one.
            subprocess.run(step, check=False, cwd=directory, capture_output=True)
        below = ["-b", name, "-F", formats[name]]


def reads(directory: Path) -> bytes:
    """What the disk shows to who knows its files only; of copies, since a commit lets nobody read what it passes."""
    copies = directory / "copies"
    copies.mkdir(exist_ok=True)
    for name in NAMES:
        shutil.copy(directory / name, copies)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "top", "read"], check=True, cwd=copies)
    return (copies / "read").read_bytes()


def arrived(qemu: Qemu) -> bool:
    """Whether all is in the file by now; where it is flushed, it is."""
    images = QemuImg(LocalRunner([]), LocalMachine())
    copying = run(copied.flushed(qemu, "j", LocalFiles(sleep)))
    if qemu.flushes:
        run(copied.require_arrived(copying, images))
        return True
    try:
        run(copied.require_arrived(copying, images))
    except Failed as error:
        if error.id != "job-failed":
            raise
        return False
    return True


@given(
    images=st.fixed_dictionaries({"base": LOWER, "lower": LOWER, "upper": UPPER, "top": UPPER}),
    raw=st.booleans(),
    merge=MERGE,
    meanwhile=CONTENT,
    flushes=st.booleans(),
)
@SETTINGS
def test_what_a_merge_has_copied_is_found_in_the_file_or_missed(images, raw, merge, meanwhile, flushes) -> None:
    command, arguments = merge
    if command == "block-commit" or flushes:  # what is smaller than others below it waits until the guest is off
        sizes = sorted(size for size, *_ in images.values())
        images = {name: (size, *images[name][1:]) for name, size in zip(NAMES, sizes, strict=True)}
    formats = dict.fromkeys(NAMES, "qcow2") | ({"base": "raw"} if raw else {})
    with tempfile.TemporaryDirectory(prefix="copied") as scratch:
        directory = Path(scratch)
        make(directory, images, formats)
        qemu = Qemu(directory, formats, flushes=flushes)
        try:
            jobs = {"job-id": "j", "auto-finalize": False, "auto-dismiss": False}
            qemu.said(command, **arguments, **jobs)
            job = qemu.until("pending", "concluded")
            qemu.written(meanwhile)
            qemu.said("human-monitor-command", **{"command-line": "qemu-io top flush"})
            before = reads(directory)
            if job["status"] == "pending":
                qemu.said("job-finalize" if arrived(qemu) else "job-cancel", id="j")
                qemu.until("concluded")
        finally:
            qemu.killed()  # what is in its memory only is lost
        assert reads(directory) == before
