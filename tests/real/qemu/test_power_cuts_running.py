"""The power is cut under a QEMU whose guest runs, in the middle of an operation on it, and then `recover`.

The operation is carried out once, and strace tells everything that the engine, its tools and QEMU do to files. What a
power cut leaves is made from that for any moment, by what was synced by then: the files keep their inodes and lose what
was not durable, all of it or some. The guest writes through, so what it has told of is durable: it is looked at byte by
byte. In ordinary runs a few moments of some operations are tried; with `XENSNAP_DEEP_S` many of all.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.conftest import require_tool
from tests.real.qemu import operated, traced
from tests.real.qemu.conftest import Lab
from xensnap.backends.local.machine import LocalMachine
from xensnap.backends.qemu.host import QemuHost
from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED, SECTOR_BYTES, reports, sector_of
from xensnap.engine import DeleteRequest, Engine, RevertRequest
from xensnap.hypervisor import Identity, Then

DEEP = bool(os.environ.get("XENSNAP_DEEP_S"))
MOMENTS = 100 if DEEP else 6
"""So many are tried of each operation, beside its beginning and its end."""

PATIENCE_S = 1200
HOW = ("nothing", "contents", "names", "some")
ROUNDS = 16
SPEAKS_EVERY = 4
LEAKS_ONLY = 3
ENDS = {"create": ({"one"}, {"one", "two"}), "revert": ({"one", "two"},) * 2, "delete": ({"one", "two"}, {"two"})}
CASES = [("create", "external", "disk-only"), ("revert", "internal")]
MORE = [
    ("create", "internal"),
    ("create", "external"),
    ("revert", "external"),
    ("delete", "internal"),
    ("delete", "external"),
    ("delete", "external", "leaf"),
]
IMAGES = {"guest-xvda.qcow2", "guest-xvdb.qcow2"}
Disks = tuple[bytes, ...]


@dataclass(frozen=True)
class Moment:
    """What a power cut leaves at one moment, and what the guest had told by then: at last, and before it was ended."""

    where: str
    left: traced.Cut
    told: int
    told_before: int


class Recorded:
    """An operation on a guest that ran, and every moment of it."""

    def __init__(self, place: Path, words: tuple[str, ...]) -> None:
        self.root, self.kept, log = place / "host", place / "kept", place / "trace"
        self.root.mkdir()
        self.kept.mkdir()
        driver = (sys.executable, "-m", "tests.real.qemu.operated", str(self.root), str(self.kept), *words)
        subprocess.run(traced.argv(log, *driver), check=True, timeout=PATIENCE_S, cwd=Path(__file__).parents[3])
        self._calls = list(traced.read(log, self.root))
        log.unlink()
        tree = traced.Tree(self.root)
        changes = [tree.follow(call) for call in self._calls]
        self.begins = next(at for at, call in enumerate(self._calls) if call.name == "sync")
        self.changes = [at for at, changed in enumerate(changes) if changed and at >= self.begins]
        agrees(tree)
        known = {path: path.stat().st_ino for path, file in tree.names.items() if file is not traced.DIRECTORY}
        self._inodes = tree.inodes | {tree.names[path].number: inode for path, inode in known.items()}
        self.take_back()

    def moments(self, wanted: set[int]) -> Iterator[Moment]:
        """What the power cut leaves after each of these calls, and what the guest had told by then."""
        tree, told, before = traced.Tree(self.root), 0, 0
        for at, call in enumerate(self._calls):
            tree.follow(call)
            if at not in wanted:
                continue
            said = [n for path, file in tree.names.items() if path.name == "serial.log" for n, _ in heard(file)]
            if said:
                before, told = (before, said[-1]) if said[-1] >= told else (told, said[-1])
            how = HOW[at % len(HOW)]
            yield Moment(f"call {at} ({call.name}), {how}", tree.left(how, at), told, max(before, told))

    def make(self, moment: Moment) -> None:
        """Make the directory what was left."""
        for path in sorted(moment.left, key=lambda path: len(path.parts)):
            if (found := moment.left[path]) is None:
                path.mkdir(mode=0o700)
                continue
            kept = self.kept / str(self._inodes.get(found[0], "none"))
            if kept.exists():
                kept.rename(path)
            path.write_bytes(found[1])
            path.chmod(0o600)

    def take_back(self) -> None:
        """Keep the files of the operation under their inodes, and drop everything else."""
        inodes = set(self._inodes.values())
        for path in self.root.rglob("*"):
            if path.is_file() and path.stat().st_ino in inodes:
                path.rename(self.kept / str(path.stat().st_ino))
        for path in self.kept.iterdir():
            if path.stat().st_ino not in inodes:
                path.unlink()
        shutil.rmtree(self.root)
        self.root.mkdir()


def heard(serial: traced.File) -> list[tuple[int, int]]:
    return reports(serial.content.decode("ascii", "replace"))


def agrees(tree: traced.Tree) -> None:
    """The trace has told everything: files and contents are what they are."""
    there = {
        path: None if path.is_dir() else path.read_bytes() for path in tree.root.rglob("*") if not path.is_socket()
    }
    assert tree.there() == there


def shown(host: QemuHost) -> Disks:
    """What the disks of the domain, which is off, show."""
    domain = host.run(host.toolstack.inspect("guest"))
    assert domain.domid is None
    return tuple(content(Path(disk.path)) for disk in domain.disks)


def content(path: Path) -> bytes:
    target = path.with_name("content.tmp")
    check = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", path], check=False, capture_output=True)
    assert check.returncode in {0, LEAKS_ONLY}, check
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", path, target], check=True)
    found = target.read_bytes()
    target.unlink()
    return found


def rounds(disks: Disks) -> list[int]:
    """The last round that the guest wrote to each disk; nothing but this and the 15 rounds before it may be there."""
    last = []
    for disk in disks:
        numbers = [int.from_bytes(disk[sector_of(n) * SECTOR_BYTES :][:4], "little") for n in range(ROUNDS)]
        n = max(numbers)
        whole = bytearray(len(disk))
        for each in range(max(1, n - ROUNDS + 1), n + 1):
            at = sector_of(each) * SECTOR_BYTES
            whole[at : at + SECTOR_BYTES] = each.to_bytes(4, "little") * (SECTOR_BYTES // 4)
        assert disk == whole, numbers
        last.append(n)
    assert last[0] - last[1] in {0, 1}, last
    return last


class Judge:
    """Knows what each snapshot holds, which no power cut may change."""

    def __init__(self, recorded: Recorded, verb: str, *, leaf: bool) -> None:
        self._recorded = recorded
        self._ends = ({"one", "two"}, {"one"}) if leaf else ENDS[verb]
        self._reverts = verb == "revert"
        self._hold: dict[str, Disks] = {}

    def judge(self, moment: Moment, *, whole: bool) -> int:
        """Recover, and say on which side it came out: 0 as before, 1 as after; `whole`: and use all snapshots up."""
        self._recorded.make(moment)
        lab = Lab(self._recorded.root)
        try:
            side = self._side(lab, moment)
            if whole:
                self._use_up(lab)
        finally:
            lab.close()
        self._recorded.take_back()
        return side

    def _side(self, lab: Lab, moment: Moment) -> int:
        engine = Engine(lab.host)
        engine.recover("guest")
        assert engine.recover("guest") is None
        domain = lab.seen(engine.view("guest").domain)
        if domain.domid is not None:
            assert self._reverts, "nothing but a snapshot brings back what a power cut has ended"
            lab.heard(domain, reports=REPORTS_UNTIL_NOTICED)
            lab.close()
        self._flushed(moment, shown(lab.host))
        return self._ends.index(set(engine.list("guest").contents.snapshots))

    def _use_up(self, lab: Lab) -> None:
        """Revert to each snapshot, its disks alone and with its memory, and delete them all."""
        engine = Engine(lab.host)
        names = sorted(engine.list("guest").contents.snapshots)
        for name in names:
            engine.revert("guest", RevertRequest(name, disks_only=True, then=Then.STOPPED))
            found = shown(lab.host)
            rounds(found)
            assert self._hold.setdefault(name, found) == found, name
        for name in names:
            engine.revert("guest", RevertRequest(name))
            domain = lab.seen(engine.view("guest").domain)
            if engine.list("guest").contents.snapshots[name].memory:
                lab.heard(domain, reports=REPORTS_UNTIL_NOTICED)
        lab.close()
        for name in names:
            engine.delete("guest", DeleteRequest(name))
        assert {path.name for path in lab.directory.glob("*.qcow2*")} == IMAGES

    def _flushed(self, moment: Moment, now: Disks) -> None:
        """Everything that the guest was told is durable is there, and hardly anything else."""
        first, second = rounds(now)
        if self._reverts:
            (back, _) = rounds(self._hold["one"]) if "one" in self._hold else (0, 0)
            assert second >= moment.told_before or back <= first, (first, second, moment.told, moment.told_before)
        else:
            assert moment.told <= second <= first <= moment.told + SPEAKS_EVERY + 1, (first, second, moment.told)


@pytest.mark.parametrize("words", [*CASES, *(MORE if DEEP else [])], ids="-".join)
def test_after_a_power_cut_under_a_running_guest_nothing_is_lost(tmp_path, monkeypatch, words) -> None:
    for name in ("strace", "qemu-img", "qemu-system-x86_64"):
        require_tool(name)
    recorded = Recorded(tmp_path, words)
    operated.keep_what_goes(recorded.kept, monkeypatch.setattr)
    operated.be_patient(monkeypatch.setattr)
    monkeypatch.setattr(LocalMachine, "whoami", another_boot(LocalMachine.whoami))
    judge = Judge(recorded, words[0], leaf="leaf" in words)
    changes = recorded.changes
    picked = random.Random(0).sample(changes[1:-1], MOMENTS)
    sides = []
    for number, moment in enumerate(recorded.moments({changes[0], *picked, changes[-1]})):
        try:
            sides.append(judge.judge(moment, whole=not number % 4 or moment.left is None))
        except Exception as error:
            error.add_note(moment.where)
            raise
    assert sides[0] == 0
    assert sides[-1] == 1 or words[0] == "revert"


def another_boot(whoami):
    async def wrapped(self: LocalMachine) -> Identity:
        return replace(await whoami(self), boot_id="after-the-power-cut")

    return wrapped
