"""Simulated images and real ones, taken through the same random lives by the simulated and the real qemu-img."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from simulator.disk.image import EXTENDED_LEAST
from simulator.tools.qemu_img import Commit, Rebase, Resize, SnapshotApply, SnapshotCreate, SnapshotDelete
from tests.parity.benches import SIMULATED, Pair
from tests.parity.rounds import FEW, again
from xensnap.model import Format

KIB = 1024
CLUSTERS = st.sampled_from([512, 4 * KIB, 64 * KIB, 2048 * KIB])
COMPAT = st.sampled_from(["0.10", "1.1", "1.1"])
EXTENDED = st.sampled_from([False, False, True])
# Tags that qemu-img treats in ways of its own: doubled, empty, like an id, longer than the table keeps.
TAGS = st.sampled_from(["s", "s", "", "2", "x" * 300, "-x", "a b/ü"])
SIZES = st.sampled_from([64 * KIB, 192 * KIB + 512, 1024 * KIB, 2048 * KIB + 1536])
PICK = st.integers(0, 1000)

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io")]


class QemuImg(RuleBasedStateMachine):
    """Up to five images in one directory, each perhaps standing on another."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory(prefix="parity")
        self.pair = Pair(Path(self.scratch.name))
        self.touched: set[str] = set()

    def teardown(self) -> None:
        for name in self.pair.formats:
            self.pair.agree(name)
            self.pair.whole(name)
        self.scratch.cleanup()

    def pick(self, number: int, format: Format | None = None) -> str | None:
        names = [name for name, each in self.pair.formats.items() if format in {None, each}]
        return names[number % len(names)] if names else None

    def below(self, name: str) -> list[str]:
        """The names of what an image stands on, nearest first."""
        chain = self.pair.host.run(self.pair.host.images.chain(self.pair.layer(name)))
        return [image.layer.path.removeprefix(f"{SIMULATED}/") for image in chain.images[1:]]

    def make(self, name: str, size: int, cluster: int, compat: str, extended: bool, backing: str = "") -> None:
        extended_l2 = extended and cluster >= EXTENDED_LEAST and compat == "1.1"
        self.pair.create(name, Format.QCOW2, size, cluster, compat, backing, extended_l2=extended_l2)

    @initialize(raw=st.booleans(), size=SIZES, cluster=CLUSTERS, compat=COMPAT, extended=EXTENDED)
    def first(self, raw: bool, size: int, cluster: int, compat: str, extended: bool) -> None:
        if raw:
            self.pair.create("i0", Format.RAW, size)
        else:
            self.make("i0", size, cluster, compat, extended)

    @precondition(lambda self: len(self.pair.formats) < 5)
    @rule(on=PICK, size=SIZES, cluster=CLUSTERS, compat=COMPAT, extended=EXTENDED, alone=st.booleans())
    def create(self, on: int, size: int, cluster: int, compat: str, extended: bool, alone: bool) -> None:
        name = f"i{len(self.pair.formats)}"
        self.make(name, size, cluster, compat, extended, "" if alone else self.pick(on) or "")
        self.touched.add(name)

    @rule(on=PICK, start=st.integers(0, 4200), sectors=st.sampled_from([1, 3, 8, 64, 200, 1024]))
    def write(self, on: int, start: int, sectors: int) -> None:
        name = self.pick(on)
        assert name
        size = self.pair.host.visible_layer(self.pair.layer(name))[0] // 512
        start %= size
        self.pair.write(name, start * 512, min(sectors, size - start) * 512)
        self.touched.add(name)

    @rule(on=PICK, tag=TAGS)
    def snapshot_create(self, on: int, tag: str) -> None:
        if name := self.pick(on, Format.QCOW2):
            self.pair.both(SnapshotCreate(self.pair.layer(name), tag))
            self.touched.add(name)

    @rule(on=PICK, which=PICK)
    def snapshot_apply(self, on: int, which: int) -> None:
        if name := self.pick(on, Format.QCOW2):
            layer = self.pair.layer(name)
            entries = self.pair.host.run(self.pair.host.images.inspect(layer)).snapshots
            if entries:
                self.pair.both(SnapshotApply(layer, entries[which % len(entries)].id))
                self.touched.add(name)

    @rule(on=PICK, which=PICK)
    def snapshot_delete(self, on: int, which: int) -> None:
        if name := self.pick(on, Format.QCOW2):
            layer = self.pair.layer(name)
            image = self.pair.host.run(self.pair.host.images.inspect(layer))
            if image.snapshots:
                tag = image.snapshots[which % len(image.snapshots)].tag
                # The oldest of several with one tag is the one that `-d` takes.
                self.pair.both(SnapshotDelete(layer, tag, image.tagged(tag)[0].id))
                self.touched.add(name)

    @rule(on=PICK, into=PICK)
    def commit(self, on: int, into: int) -> None:
        if (name := self.pick(on, Format.QCOW2)) and (lower := self.below(name)):
            target = lower[into % len(lower)]
            self.pair.both(Commit(self.pair.layer(name), self.pair.layer(target)))
            self.touched |= {name, target}

    @rule(on=PICK, onto=PICK, copy=st.booleans(), none=st.booleans())
    def rebase(self, on: int, onto: int, copy: bool, none: bool) -> None:
        if name := self.pick(on, Format.QCOW2):
            target = "" if none else self.pick(onto) or ""
            if target and name in {target, *self.below(target)}:
                return  # a loop; what each tool makes of one is told in the unit tests
            form = self.pair.formats[target].value if target else ""
            self.pair.both(Rebase(self.pair.layer(name), target, form, copy))
            self.touched.add(name)

    @rule(on=PICK, size=SIZES)
    def resize(self, on: int, size: int) -> None:
        name = self.pick(on)
        assert name
        self.pair.both(Resize(self.pair.layer(name), size))
        self.touched.add(name)

    @invariant()
    def agree(self) -> None:
        for name in self.touched:
            self.pair.agree(name)
        self.touched.clear()


LIVES = settings(FEW, max_examples=60, stateful_step_count=20)


def test_both_live_the_same_life() -> None:
    again(lambda: run_state_machine_as_test(QemuImg, settings=LIVES))
