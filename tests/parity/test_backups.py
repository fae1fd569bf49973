"""Backups of a real QEMU 7.2 and of a simulated one: the same commands, and the same bytes in every target."""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.disk.chain import visible
from simulator.disk.content import SECTOR, bytes_of, filled
from simulator.disk.image import Qcow2
from simulator.tools.img.run import run as run_simulated
from tests.parity.monitors import IMAGES, File, ordered
from tests.parity.rounds import FEW, again, up_to_not_modelled
from tests.parity.test_monitor import FILES, TAGS, WRITTEN, Pair, command, q, say_the_same
from tests.parity.tools import run
from xensnap.model import Format, Layer

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_system", "qemu_io")]

Step = tuple[str, dict[str, Any]]

TARGETS = [
    *FILES,
    File("t1.qcow2", node="t1"),
    File("t2.qcow2", node="t2"),
    File("half.qcow2", node="half", size=512 * 1024),
    File("odd.qcow2", node="odd", size=(1 << 20) + 512),
    File("odd2.qcow2", node="odd2", size=(1 << 20) + 512),
]
WRITTEN_TO = ["t1.qcow2", "t2.qcow2", "odd2.qcow2", "bareraw.img", "new1", "new2", "new3"]

SOURCES = st.sampled_from(["d0", "d0", "d0", "d1", "d1", "n0", "ro", "br", "a", "odd", "nope"])
NODES = st.sampled_from(["t1", "t1", "t2", "t2", "br", "odd2", "half", "ro", "d0", "nope"])
NEW_FILES = st.sampled_from([f"{IMAGES}/{name}" for name in ("new1", "new2", "new3", "free.qcow2", "nodir/x")])
OLD_FILES = st.sampled_from([f"{IMAGES}/{name}" for name in ("new1", "free.qcow2", "t1.qcow2", "top.qcow2", "gone")])
SYNC = st.sampled_from(["full", "full", "top"])
MORE = {
    "job_id": st.sampled_from(["j", "j", "k", "1x"]),
    "auto_dismiss": st.booleans(),
    "speed": st.sampled_from([0, 1 << 30, -1]),
    "filter_node_name": st.sampled_from(["f", "n0", "bad name"]),
}
TO_NODE = {"device": SOURCES, "target": NODES, "sync": SYNC}
TO_FILE = {"device": SOURCES, "target": NEW_FILES, "sync": SYNC}
BACKUP = command("blockdev-backup", TO_NODE, **MORE)
PLAIN = command("blockdev-backup", {**TO_NODE, "job_id": st.just("j")})
TO_NEW = command("drive-backup", TO_FILE, job_id=st.just("j"), format=st.sampled_from(["qcow2", "raw", "nosuch"]))
TO_OLD = command("drive-backup", {**TO_FILE, "target": OLD_FILES, "mode": st.just("existing"), "job_id": st.just("j")})
WRITE = command(
    WRITTEN,
    {
        "device": st.sampled_from(["d0", "d1"]),
        "offset": st.integers(0, 31).map(lambda place: place << 15),
        "length": st.sampled_from([512, 1 << 15]),
    },
)
ASKED = st.sampled_from(
    [q("query-jobs"), q("query-block-jobs"), q("query-block"), q("query-named-block-nodes", flat=True)]
)
ENDED = st.sampled_from([q("job-cancel", id="j"), q("block-job-cancel", device="j")])
OVERWRITTEN = st.tuples(
    command("blockdev-backup", {**TO_NODE, "job_id": st.just("j"), "sync": st.just("none")}),
    WRITE,
    WRITE,
    ASKED,
    WRITE,
    ENDED,
)
"""What a guest overwrites, from one moment to another."""
HELD = st.tuples(
    command("blockdev-backup", {**TO_NODE, "job_id": st.just("j"), "auto_finalize": st.just(False)})
    | command("drive-backup", {**TO_FILE, "job_id": st.just("j"), "auto_finalize": st.just(False)}),
    ASKED,
    WRITE,
    st.just(q("job-finalize", id="j")) | ENDED,
)
ONE = {"job_id": st.just("j"), "device": st.just("d0"), "sync": SYNC}
OTHER = {"job_id": st.sampled_from(["k", "k", "j"]), "device": st.just("d1"), "sync": SYNC}
ACTIONS = st.tuples(
    command("blockdev-backup", {**ONE, "target": NODES}) | command("drive-backup", {**ONE, "target": NEW_FILES}),
    command("blockdev-backup", {**OTHER, "target": NODES}) | command("drive-backup", {**OTHER, "target": NEW_FILES}),
    command("blockdev-snapshot-internal-sync", {"device": st.just("d2"), "name": TAGS}) | st.just(("abort", {})),
)
TOGETHER = st.tuples(ACTIONS, st.integers(1, 3)).map(
    lambda drawn: ("transaction", {"actions": [{"type": name, "data": data} for name, data in drawn[0][: drawn[1]]]})
)
OTHERS = st.one_of(
    command("blockdev-snapshot-sync", {"device": st.just("d1"), "snapshot_file": st.just(f"{IMAGES}/over")}),
    command("blockdev-snapshot-internal-sync", {"device": st.just("d0"), "name": TAGS}),
    command("query-blockstats", query_nodes=st.booleans()),
    command("job-dismiss", {"id": st.sampled_from(["j", "k"])}),
    ASKED,
)
ALONE = st.one_of(WRITE, WRITE, BACKUP, PLAIN, PLAIN, TO_NEW, TO_OLD, TOGETHER, TOGETHER, OTHERS)
STEPS = st.one_of(ALONE.map(lambda step: (step,)), ALONE.map(lambda step: (step,)), OVERWRITTEN, HELD)


def one_after_the_other(answers: list[Any]) -> list[Any]:
    """Which of two backups is over first is a race in the real QEMU."""
    return sorted(ordered(answers), key=_whose)


def _whose(message: Any) -> str:
    data = message.get("data", {}) if isinstance(message, dict) else {}
    return str(data.get("id", data.get("device", "")))


def have_the_same_bytes(pair: Pair) -> None:
    """Whatever a backup may have gone to, and both have."""
    fs = pair.simulated.board.fs
    for name in WRITTEN_TO:
        number = fs.find(f"{IMAGES}/{name}")
        assert (number is not None) == (Path(pair.directory) / name).exists(), name
        if number is None:
            continue
        form = Format.QCOW2 if isinstance(fs.inodes[number].stored, Qcow2) else Format.RAW  # type: ignore[union-attr]
        size, runs = visible(fs, Layer(f"{IMAGES}/{name}", form))
        argv = ["qemu-img", "convert", "-f", str(form), "-O", "raw", name, "bytes.tmp"]
        assert run(argv, Path(pair.directory)).returncode == 0, name
        limit = -(-size // SECTOR)
        simulated = bytes_of(filled(runs, 0, limit), 0, limit * SECTOR)
        assert (Path(pair.directory) / "bytes.tmp").read_bytes() == simulated, name


def back_up_the_same(steps: list[Step], directory: Path) -> Pair:
    pair = Pair(directory, TARGETS)
    pair.order = one_after_the_other
    say_the_same(pair, steps)
    if pair.over:
        have_the_same_bytes(pair)
    return pair


@given(st.lists(STEPS, min_size=1, max_size=8))
@FEW
def backups_are_the_same(steps: list[tuple[Step, ...]]) -> None:
    with tempfile.TemporaryDirectory(prefix="backup") as scratch, up_to_not_modelled():
        back_up_the_same([step for unit in steps for step in unit], Path(scratch))


def test_both_make_the_same_backups() -> None:
    again(backups_are_the_same)


def test_a_backup_is_of_the_moment_at_which_it_began(tmp_path: Path) -> None:
    """The guest writes while all but the end of the job is done: none of it is in the target."""
    first, second = (q(WRITTEN, device="d1", offset=place << 16, length=1 << 16) for place in (0, 1))
    held = q("blockdev-backup", device="d1", target="t1", sync="full", job_id="j", auto_finalize=False)
    pair = back_up_the_same([first, held, first, second, q("job-finalize", id="j")], tmp_path)
    fs = pair.simulated.board.fs
    size, runs = visible(fs, Layer(f"{IMAGES}/t1.qcow2", Format.QCOW2))
    assert (size, [(low, high, write) for low, high, write in runs if write]) == (1 << 20, [(0, 128, 1)])


def test_what_stands_above_the_disk_meanwhile_shows_none_of_its_snapshots(tmp_path: Path) -> None:
    asked = [q("query-block"), q("query-named-block-nodes", flat=True), q("query-named-block-nodes", flat=False)]
    held = q("blockdev-backup", device="d0", target="t1", sync="full", job_id="j", auto_finalize=False)
    snapshot = q("blockdev-snapshot-internal-sync", device="d0", name="s1")
    back_up_the_same([snapshot, held, *asked, q("job-finalize", id="j")], tmp_path)


def test_a_raw_target_is_not_locked_while_it_is_copied_to(tmp_path: Path) -> None:
    pair = Pair(tmp_path, TARGETS)
    info = ["info", "-f", "raw"]
    try:
        for name, arguments in (
            q("blockdev-backup", device="d1", target="br", sync="none", job_id="j"),
            q("job-cancel", id="j"),
        ):
            pair.both(name, arguments)
            real = run(["qemu-img", *info, f"{tmp_path}/bareraw.img"], tmp_path)
            simulated = run_simulated(pair.simulated.board.fs, [*info, f"{IMAGES}/bareraw.img"])
            assert (simulated.returncode, simulated.stderr) == (
                real.returncode,
                real.stderr.decode().replace(str(tmp_path), IMAGES),
            )
    finally:
        pair.real.close()


def test_a_device_counts_what_is_written_to_it(tmp_path: Path) -> None:
    """`aio_write` is counted as a guest's writes are, which `write` is not."""
    pair = Pair(tmp_path, TARGETS)
    try:
        for offset, length in ((0, 65536), (3 << 16, 512)):
            for line in (f'qemu-io d1 "aio_write -P 1 {offset} {length}"', 'qemu-io d1 "aio_flush"'):
                asked = {"execute": "human-monitor-command", "arguments": {"command-line": line}}
                pair.real.answers(json.dumps(asked).encode())
            pair.simulated.write("d1", offset, length)
        stats = [_counted(each.answers(b'{"execute":"query-blockstats"}')) for each in (pair.real, pair.simulated)]
    finally:
        pair.real.close()
    assert stats[0] == stats[1]
    assert (stats[0]["wr_operations"], stats[0]["wr_bytes"]) == (2, 65536 + 512)


def _counted(said: list[Any]) -> dict[str, Any]:
    """What is told of the disk d1, without times, and without flushes: a simulated guest makes one after each write."""
    (device,) = (each for each in said[0]["return"] if each["device"] == "d1")
    return {key: value for key, value in device["stats"].items() if not re.search("_time_ns|^flush", key)}
