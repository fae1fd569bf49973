"""The power is cut under a QEMU whose guest runs, in the middle of an operation on it, and then `recover`.

The operation is carried out once, and strace tells everything that the engine, its tools and QEMU do to files. What a
power cut leaves is made from that for any moment, by what was synced by then: the files keep their inodes and lose what
was not durable, all of it or some. The guest writes through, so what it has told of is durable: it is looked at byte by
byte. In ordinary runs a few moments of some operations are tried; with `XENSNAP_DEEP_S` many of all.
"""

import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.real import power_cuts, traced
from tests.real.power_cuts import Moment, Recorded, differing
from tests.real.qemu import operated
from tests.real.qemu.conftest import Lab
from xensnap.backends.qemu.host import QemuHost
from xensnap.conformance.places.boot_guest import REPORTS_UNTIL_NOTICED, SECTOR_BYTES, reports, sector_of
from xensnap.engine import DeleteRequest, Engine, RevertRequest
from xensnap.hypervisor import Then

DEEP = bool(os.environ.get("XENSNAP_DEEP_S"))
MOMENTS = 100 if DEEP else 6
"""So many are tried of each operation, beside its beginning and its end."""

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


@dataclass
class Told:
    """What the guest has told, from one moment to the next."""

    last: int = 0
    before: int = 0
    """It was so far at the most, before it was ended and came back."""

    def hear(self, tree: traced.Tree) -> None:
        """Look at its serial line."""
        for path, file in tree.names.items():
            if path.name == "serial.log" and (said := reports(file.content.decode("ascii", "replace"))):
                self.last = said[-1][0]
                self.before = max(self.before, self.last)


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
        assert differing(disk, bytes(whole)) == [], numbers
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
        self._told = Told()

    def judge(self, moment: Moment, *, whole: bool) -> int:
        """Recover, and say on which side it came out: 0 as before, 1 as after; `whole`: and use all snapshots up."""
        self._told.hear(moment.tree)
        self._recorded.make(moment)
        lab = Lab(self._recorded.root)
        try:
            side = self._side(lab)
            if whole:
                self._use_up(lab)
        finally:
            lab.close()
        self._recorded.take_back()
        return side

    def _side(self, lab: Lab) -> int:
        engine = Engine(lab.host)
        engine.recover("guest")
        assert engine.recover("guest") is None
        domain = lab.seen(engine.view("guest").domain)
        if domain.domid is not None:
            assert self._reverts, "nothing but a snapshot brings back what a power cut has ended"
            lab.heard(domain, reports=REPORTS_UNTIL_NOTICED)
            lab.close()
        self._flushed(shown(lab.host))
        return self._ends.index(set(engine.list("guest").contents.snapshots))

    def _use_up(self, lab: Lab) -> None:
        """Revert to each snapshot, its disks alone and with its memory, and delete them all."""
        engine = Engine(lab.host)
        names = sorted(engine.list("guest").contents.snapshots)
        for name in names:
            engine.revert("guest", RevertRequest(name, disks_only=True, then=Then.STOPPED))
            found = shown(lab.host)
            rounds(found)
            assert [*map(differing, self._hold.setdefault(name, found), found)] == [[], []], name
        for name in names:
            engine.revert("guest", RevertRequest(name))
            domain = lab.seen(engine.view("guest").domain)
            if engine.list("guest").contents.snapshots[name].memory:
                lab.heard(domain, reports=REPORTS_UNTIL_NOTICED)
        lab.close()
        for name in names:
            engine.delete("guest", DeleteRequest(name))
        assert {path.name for path in lab.directory.glob("*.qcow2*")} == IMAGES

    def _flushed(self, now: Disks) -> None:
        """Everything that the guest was told is durable is there, and hardly anything else."""
        first, second = rounds(now)
        if self._reverts:
            (back, _) = rounds(self._hold["one"]) if "one" in self._hold else (0, 0)
            assert second >= self._told.before or back <= first, (first, second, self._told)
        else:
            assert self._told.last <= second <= first <= self._told.last + SPEAKS_EVERY + 1, (first, second, self._told)


@pytest.mark.parametrize("words", [*CASES, *(MORE if DEEP else [])], ids="-".join)
def test_after_a_power_cut_under_a_running_guest_nothing_is_lost(tmp_path, monkeypatch, words) -> None:
    for name in ("strace", "qemu-img", "qemu-system-x86_64"):
        require_tool(name)
    recorded = Recorded(tmp_path, "tests.real.qemu.operated", *words)
    power_cuts.keep_what_goes(recorded.kept, monkeypatch.setattr)
    power_cuts.after_the_power_cut(monkeypatch.setattr)
    operated.be_patient(monkeypatch.setattr)
    judge = Judge(recorded, words[0], leaf="leaf" in words)
    first, *between, last = recorded.changes
    picked = random.Random(0).sample(between, MOMENTS)
    sides: list[int] = []
    for moment in recorded.moments({first, *picked, last}):
        with moment.named():
            sides.append(judge.judge(moment, whole=not len(sides) % 4))
    assert sides[0] == 0
    assert sides[-1] == 1 or words[0] == "revert"
