"""What random QMP commands have left: every file that both have changed, once both QEMUs have ended.

Compared are what each disk shows, the table of internal snapshots, the chain and what `check` finds.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.qemu import graph
from simulator.qemu.board import by_device
from tests.parity.monitors import IMAGES, WRITTEN_FROM, SimulatedQemu
from tests.parity.rounds import FEW, again, up_to_not_modelled
from tests.parity.shells import Shells
from tests.parity.test_monitor import (
    ABORT,
    COMMANDS,
    COMMITTED,
    DATA,
    EXTERNAL_BY_DEVICE,
    FILES,
    INTERNAL,
    JOINED,
    WRITTEN,
    Pair,
    command,
    template,
)

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_system")]

Step = tuple[str, dict[str, Any]]

DEVICES = ("d0", "d1", "d2", "r0")
WRITE = command(
    WRITTEN,
    {
        "device": st.sampled_from(["d0", "d0", *DEVICES]),
        "offset": st.integers(0, 15).map(lambda place: place << 16),
        "length": st.sampled_from([512, 1 << 16]),
    },
)
SHOWN = "shown.tmp"
"""The file that a disk is copied to."""
TAKEN_BACK = st.tuples(EXTERNAL_BY_DEVICE, INTERNAL | EXTERNAL_BY_DEVICE, ABORT).map(
    lambda actions: ("transaction", {"actions": [{"type": name, "data": data} for name, data in actions]})
)
ALONE = st.one_of(WRITE, WRITE, WRITE, JOINED, JOINED, COMMANDS, DATA, TAKEN_BACK)
STEPS = st.one_of(ALONE.map(lambda step: (step,)), ALONE.map(lambda step: (step,)), COMMITTED)


class Left:
    """What is left of both when their QEMUs have ended."""

    def __init__(self, pair: Pair) -> None:
        self.directory = Path(pair.directory)
        self.shells = Shells.alone()
        self.shells.directory = self.directory
        board = pair.simulated.board
        self.shells.fs = board.fs.closed(board.qemu.pid)

    def agrees(self) -> None:
        """Every file that either has changed is the same for who looks at it."""
        there = {path.name for path in self.directory.iterdir()} - {WRITTEN_FROM}
        assert set(self.shells.fs.names(IMAGES)) == there
        for name in sorted(there):
            if self._changed(name):
                self.shells.both(["info", "--output=json", name])
                self.shells.both(["check", "--output=json", name])
                self.shells.same_bytes(name)

    def _changed(self, name: str) -> bool:
        """Whether a file is not as it was in the beginning, here or there."""
        began = template(tuple(FILES)) / name
        if not began.exists() or began.read_bytes() != (self.directory / name).read_bytes():
            return True
        return self.shells.fs.inode(f"{IMAGES}/{name}").stored != BEGAN.fs.inode(f"{IMAGES}/{name}").stored


BEGAN = SimulatedQemu(FILES).board
"""The simulated files before anything is done to them."""


def writes_apart(pair: Pair, arguments: dict[str, Any]) -> bool:
    """Whether no job copies meanwhile, which is a race in the real QEMU, and the disk is that large."""
    qemu = pair.simulated.board.qemu
    drive = by_device(qemu, arguments["device"])
    assert drive is not None
    size, _ = graph.visible(pair.simulated.board.fs, drive)
    return not qemu.jobs and arguments["offset"] + arguments["length"] <= size


def read_by_a_guest(pair: Pair, device: str) -> bytes | None:
    """What a disk of the real QEMU shows while it runs, copied out by a job; None where another job is in its way."""
    target = Path(pair.directory) / SHOWN
    copy = {"job-id": "shown", "device": device, "target": str(target), "sync": "full", "format": "raw"}
    told = pair.real.answers(json.dumps({"execute": "drive-backup", "arguments": copy}).encode())
    if any(isinstance(message, dict) and "error" in message for message in told):
        return None
    shown = target.read_bytes()
    target.unlink()
    return shown


def leave_the_same(pair: Pair, steps: list[Step]) -> None:
    """Both are told all of the steps, and then end."""
    for name, arguments in steps:
        if name != WRITTEN or writes_apart(pair, arguments):
            pair.both(name, arguments)
        if pair.over:
            return  # The real one has died: what it had not written yet is lost.
    for device in DEVICES:
        assert read_by_a_guest(pair, device) in (None, pair.simulated.visible(device)), device
    for each in (pair.real, pair.simulated):
        assert each.answers(b'{"execute":"quit"}')[-1] == "EOF"
    Left(pair).agrees()


@given(st.lists(STEPS, min_size=4, max_size=14))
@FEW
def files_are_left_the_same(steps: list[tuple[Step, ...]]) -> None:
    with tempfile.TemporaryDirectory(prefix="files") as scratch, up_to_not_modelled():
        pair = Pair(Path(scratch))
        try:
            leave_the_same(pair, [step for each in steps for step in each])
        finally:
            pair.real.close()


def test_both_leave_the_same_files() -> None:
    again(files_are_left_the_same)


def test_a_disk_has_whole_sectors(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    try:
        leave_the_same(pair, [("block_resize", {"size": 1000, "node-name": "nr"})])
    finally:
        pair.real.close()


def onto(device: str, name: str, **more: Any) -> dict[str, Any]:
    """An overlay of a device, in a file that may be there already."""
    data = {"device": device, "snapshot-file": f"{IMAGES}/{name}", **more}
    return {"type": "blockdev-snapshot-sync", "data": data}


def inside(device: str) -> dict[str, Any]:
    return {"type": "blockdev-snapshot-internal-sync", "data": {"device": device, "name": "s1"}}


def copied(device: str, name: str, form: str = "qcow2") -> dict[str, Any]:
    data = {"device": device, "target": f"{IMAGES}/{name}", "sync": "full", "format": form}
    return {"type": "drive-backup", "data": data}


GIVEN_UP: dict[str, Any] = {"type": "abort", "data": {}}
KILLING = {"type": "block-dirty-bitmap-enable", "data": {"node": "n0", "name": "gone"}}
TRANSACTIONS = {
    "an overlay over an image": [onto("d0", "small.qcow2"), GIVEN_UP],
    "two, one of them over an image of that size": [onto("d0", "small.qcow2"), onto("d1", "free.qcow2"), GIVEN_UP],
    "one after an internal snapshot": [inside("d1"), onto("d0", "small.qcow2"), GIVEN_UP],
    "one whose node may not be called so": [onto("d0", "small.qcow2", **{"snapshot-node-name": "bad name"})],
    "a second one over the first": [onto("d0", "small.qcow2"), onto("d1", "small.qcow2")],
    "one over an image that is opened as it is": [onto("d0", "small.qcow2", mode="existing"), GIVEN_UP],
    "a backup over an image": [copied("d0", "small.qcow2"), GIVEN_UP],
    "a backup that has no header": [copied("d1", "small.qcow2", "raw"), GIVEN_UP],
    "a backup before what fails": [copied("d0", "small.qcow2"), onto("d1", "nodir/x")],
    "death after an overlay and what is inside of it": [onto("d0", "small.qcow2"), inside("d0"), GIVEN_UP],
    "death after two overlays": [onto("d0", "new1"), onto("d0", "small.qcow2"), GIVEN_UP],
    "death, and other disks": [inside("d1"), onto("d0", "new1"), inside("d0"), inside("d2"), GIVEN_UP],
    "death before anything is taken back": [inside("d1"), onto("d0", "small.qcow2"), KILLING],
}
"""Lists of which nothing is done, and after which a file is another all the same."""


@pytest.mark.parametrize("actions", TRANSACTIONS.values(), ids=TRANSACTIONS)
def test_what_is_taken_back_leaves_the_same_files(actions: list[dict[str, Any]], tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    try:
        pair.both("transaction", {"actions": actions})
        for each in (pair.real, pair.simulated) if not pair.over else ():
            each.answers(b'{"execute":"quit"}')
        Left(pair).agrees()
    finally:
        pair.real.close()
