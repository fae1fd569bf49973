"""What a merge has copied is found in the file before the merge is let go; and what it has not, is missed.

Images are drawn: kinds, sizes, cluster sizes, what is written, zeroed and discarded before and meanwhile. A QEMU of its
own merges them until it waits. Then the files tell what its death would leave, once the header above leads past what
was merged: the disk as it was, or what was copied has not arrived, and must be missed. Flushed, it has.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
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
COMPRESSED = st.tuples(st.just("write -q -c -P 5"), st.tuples(st.sampled_from([0, 128, 1024]), st.just(128)))
LOWER = st.tuples(SIZES, st.sampled_from([*PLAIN, EXTENDED]), WRITTEN | st.lists(COMPRESSED, max_size=2))
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


UP = ("block-stream", {"device": "top", "base-node": "lower"})
DOWN = ("block-commit", {"device": "top", "top-node": "upper", "base-node": "lower"})


def over(*words: str) -> dict[str, tuple[int, str, list[Any]]]:
    """Images of which one has data over what this makes in the one below."""
    place = (0, 128)
    images: dict[str, tuple[int, str, list[Any]]] = dict.fromkeys(NAMES, (1 << 20, PLAIN[0], []))
    made = [(word, place) for word in words]
    return images | {"lower": (1 << 20, PLAIN[0], made), "upper": (1 << 20, PLAIN[0], [("write -q -P 3", place)])}


OVER_DATA = over("write -q -P 5")
OVER_THE_END: dict[str, tuple[int, str, list[Any]]] = dict.fromkeys(NAMES, (2 << 20, PLAIN[0], [])) | {
    "lower": (2 << 20, PLAIN[0], [("write -q -P 5", (3000, 128))]),
    "upper": (1 << 20, PLAIN[0], []),
}


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


def reads(directory: Path, *, header: str = "", onto: str = "", formats: Mapping[str, str] | None = None) -> bytes:
    """What the disk shows to who knows its files only; where the header of one image leads elsewhere, once it does.

    Of copies, since a commit lets nobody read what it passes.
    """
    copies = directory / "copies"
    copies.mkdir(exist_ok=True)
    for name in NAMES:
        shutil.copy(directory / name, copies)
    if header:
        backing = ["-b", onto, *(["-F", (formats or {})[onto]] if onto else [])]
        subprocess.run(["qemu-img", "rebase", "-u", "-f", "qcow2", *backing, header], check=True, cwd=copies)
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "top", "read"], check=True, cwd=copies)
    return (copies / "read").read_bytes()


def ended(command: str, arguments: Mapping[str, str]) -> dict[str, str]:
    """Which header leads where once a merge has ended."""
    if command == "block-stream":
        return {"header": arguments["device"], "onto": arguments.get("base-node", "")}
    return {"header": NAMES[NAMES.index(arguments["top-node"]) + 1], "onto": arguments["base-node"]}


def arrived(qemu: Qemu) -> bool:
    """Whether all that was to be copied is in the file."""
    images = QemuImg(LocalRunner([]), LocalMachine())
    copying = run(copied.flushed(qemu, "j", LocalFiles(sleep)))
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
@example(images=OVER_DATA, raw=False, merge=UP, meanwhile=[], flushes=False)
@example(images=OVER_THE_END, raw=False, merge=UP, meanwhile=[], flushes=False)
@example(images=OVER_DATA, raw=False, merge=DOWN, meanwhile=[], flushes=False)
@example(images=over("write -q -z"), raw=False, merge=DOWN, meanwhile=[], flushes=False)
@example(images=over("write -q -c -P 5"), raw=False, merge=DOWN, meanwhile=[], flushes=False)
@example(images=over("write -q -P 5", "snapshot"), raw=False, merge=DOWN, meanwhile=[], flushes=False)
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
        before = reads(directory)
        qemu = Qemu(directory, formats, flushes=flushes)
        try:
            jobs = {"job-id": "j", "auto-finalize": False, "auto-dismiss": False}
            qemu.said(command, **arguments, **jobs)
            job = qemu.until("pending", "concluded")
            if job["status"] == "concluded":  # it cannot make a v2 image with snapshots larger, say
                assert job["error"]
                return
            if flushes:
                qemu.written(meanwhile)
                qemu.said("human-monitor-command", **{"command-line": "qemu-io top flush"})
                before = reads(directory)
            if arrived(qemu):
                assert reads(directory, **ended(command, arguments), formats=formats) == before
                qemu.said("job-finalize", id="j")
            else:
                event("missed")
                assert not flushes
                qemu.said("job-cancel", id="j")
            qemu.until("concluded")
        finally:
            qemu.killed()
        assert reads(directory) == before
