"""Worlds that are healthy, and each way in which one is damaged: which finding must tell it, and what comes of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from simulator import SimulatedHost
from simulator.faults import damage as d
from tests.crash.harness import CLUSTER, GUEST, guest, scribble
from xensnap.engine.engine import Engine
from xensnap.engine.journal import Note, encode
from xensnap.engine.request import CreateRequest, DeleteRequest, ForgetRequest, RevertRequest
from xensnap.engine.view import View
from xensnap.model import DescribedBy, DiskSnapshot, Format, Kind, Layer, Snapshot

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"
OTHER = "6d95becc-ce6a-499b-a7e3-2a602c6aad0f"
REPAIRED = "repaired"
TOLD = "told"
REMEMBERED = {"whole-store-lost", "starts-from-a-base", "starts-from-a-base-with-two-branches", "another-uuid"}
"""Cases in which the very store is damaged that a real Xen host remembers a domain by which is off."""


MET: Counter[str] = Counter()
"""What has come of each damage of the cases that was done."""


def off(
    kinds: str = "ie",
    described_by: DescribedBy = DescribedBy.US,
    *,
    host_kind: type[SimulatedHost] = SimulatedHost,
) -> SimulatedHost:
    """root - middle - leaf, and a branch beside leaf; one snapshot was deleted, and left a hidden base."""
    host = guest(kinds, described_by=described_by, host_kind=host_kind)
    engine = Engine(host)
    for place, name in enumerate(("root", "gone", "middle", "leaf")):
        scribble(host, place)
        engine.create(GUEST, CreateRequest(name))
    scribble(host, 3)
    engine.revert(GUEST, RevertRequest("middle"))
    scribble(host, 0)
    engine.create(GUEST, CreateRequest("branch"))
    scribble(host, 1)
    engine.delete(GUEST, DeleteRequest("gone"))
    return host


def theirs(kinds: str, **by: Any) -> SimulatedHost:
    """As `off`, of a domain that its operator starts from a file of his own."""
    return off(kinds, described_by=DescribedBy.OPERATOR, **by)


def taken_once(kinds: str, **by: Any) -> SimulatedHost:
    """A domain with a single snapshot."""
    host = guest(kinds, **by)
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("root"))
    return host


def thrown(kinds: str, **by: Any) -> SimulatedHost:
    """As `off`, with a snapshot in the trash."""
    host = off(kinds, **by)
    Engine(host).perform(GUEST, ForgetRequest("leaf"))
    return host


def gone_back(kinds: str, **by: Any) -> SimulatedHost:
    """As `taken_once`, and what came after was given up by a revert, which `undo` goes back to."""
    host = taken_once(kinds, **by)
    scribble(host, 1)
    Engine(host).revert(GUEST, RevertRequest("root"))
    return host


def on(kinds: str = "ie", **by: Any) -> SimulatedHost:
    """A guest that runs, with a checkpoint."""
    host = guest(kinds, **by)
    scribble(host, 0)
    Engine(host).create(GUEST, CreateRequest("root"))
    host.start(UUID)
    for vdev in [disk.vdev for disk in Engine(host).view(GUEST).domain.disks]:
        host.guest_writes(GUEST, vdev, 0, CLUSTER, flush=True)
    Engine(host).create(GUEST, CreateRequest("checkpoint"))
    return host


@dataclass(frozen=True)
class Scene:
    """A world to be damaged, and where things are in it."""

    host: SimulatedHost
    view: View

    def store(self, name: str) -> str:
        return f"{self.view.root}/{UUID}/{name}"

    def record(self, name: str) -> str:
        return self.store(f"snapshotdata-d.{name}.libxl-json")

    def thrown(self, name: str) -> str:
        return self.store(f"trashed-d.{name}.libxl-json")

    def snapshot(self, name: str) -> Snapshot:
        return self.view.snapshots[name]

    def disk(self, name: str, kind: Kind) -> DiskSnapshot:
        return next(disk for disk in self.snapshot(name).disks if disk.kind is kind)

    def image(self, name: str) -> str:
        return self.disk(name, Kind.EXTERNAL).image.path

    def sidecar(self, name: str) -> str:
        return f"{self.image(name)}.xensnap.json"

    def active(self, kind: Kind) -> str:
        vdev = self.disk("root", kind).vdev
        disk = self.view.domain.disk(vdev)
        assert disk is not None
        return disk.path

    def begun_last(self) -> int:
        """Where in the journal the last operation begins."""
        text = self.host.world.fs.inode(self.store("journal")).stored
        assert isinstance(text, bytes)
        return text.rindex(b"\n", 0, text.rindex(b'"type":"begin"')) + 1

    @property
    def qcow2(self) -> str:
        """The image with the internal snapshots."""
        return self.active(Kind.INTERNAL)


@dataclass(frozen=True)
class Case:
    """One way of damage; `world` makes what is damaged, with `host_kind` by another door."""

    finding: str
    outcome: str
    damages: Callable[[Scene], list[d.Damage]]
    world: Callable[..., SimulatedHost] = off


OVERLAY = "/images/xvdb.xvdb.0123456789ab.qcow2"
BASE = Kind.EXTERNAL

CASES: dict[str, Case] = {
    # the state
    "state-garbled": Case("state-damaged", REPAIRED, lambda s: [d.Garble(s.store("domain.libxl-json"))]),
    "state-cut": Case("state-damaged", REPAIRED, lambda s: [d.Cut(s.store("domain.libxl-json"))]),
    "state-empty": Case("state-damaged", REPAIRED, lambda s: [d.Cut(s.store("domain.libxl-json"), 0)]),
    "state-of-a-stranger": Case(
        "state-damaged",
        REPAIRED,
        lambda s: [d.Edit(s.store("domain.libxl-json"), ("domain_uuid",), "0" * 8 + UUID[8:])],
    ),
    "state-from-the-future": Case(
        "state-damaged", REPAIRED, lambda s: [d.Edit(s.store("domain.libxl-json"), ("schema",), 9)]
    ),
    "state-gone": Case("state-missing", REPAIRED, lambda s: [d.Vanish(s.store("domain.libxl-json"))]),
    "state-and-journal-gone": Case(
        "state-missing",
        REPAIRED,
        lambda s: [d.Vanish(s.store("domain.libxl-json")), d.Vanish(s.store("journal"))],
    ),
    "state-readable-by-all": Case("open-to-others", REPAIRED, lambda s: [d.Chmod(s.store("domain.libxl-json"), 0o644)]),
    "state-with-a-second-name": Case(
        "hard-linked", REPAIRED, lambda s: [d.Link(s.store("domain.libxl-json"), "/images/state")]
    ),
    "renamed": Case(
        "domain-renamed", REPAIRED, lambda s: [d.Edit(s.store("domain.libxl-json"), ("domain_name",), "old")]
    ),
    "current-that-never-was": Case(
        "current-missing", REPAIRED, lambda s: [d.Edit(s.store("domain.libxl-json"), ("current",), "never")]
    ),
    # the journal
    "journal-without-its-beginning": Case(
        "journal-damaged", REPAIRED, lambda s: [d.Garble(s.store("journal")), d.Grow(s.store("journal"), note())]
    ),
    "journal-without-the-last-operation": Case(
        "journal-incomplete", REPAIRED, lambda s: [d.Cut(s.store("journal"), s.begun_last())]
    ),
    "journal-with-a-second-name": Case("hard-linked", TOLD, lambda s: [d.Link(s.store("journal"), "/images/journal")]),
    # the lock
    "lock-gone": Case("lock-gone", REPAIRED, lambda s: [d.Vanish(s.store("lock"))]),
    # records
    "record-garbled-with-copy": Case("record-damaged", REPAIRED, lambda s: [d.Garble(s.record("middle"))]),
    "record-cut-with-copy": Case("record-damaged", REPAIRED, lambda s: [d.Cut(s.record("root"))]),
    "record-of-another-domain": Case(
        "record-damaged", REPAIRED, lambda s: [d.Edit(s.record("leaf"), ("domain_uuid",), "0" * 36)]
    ),
    "record-of-another-type": Case(
        "record-damaged", REPAIRED, lambda s: [d.Edit(s.record("leaf"), ("creation_time",), "yesterday")]
    ),
    "record-and-copy-garbled": Case(
        "record-damaged", REPAIRED, lambda s: [d.Garble(s.record("middle")), d.Garble(s.sidecar("middle"))]
    ),
    "record-copy-and-journal-garbled": Case(
        "record-damaged",
        TOLD,
        lambda s: [d.Garble(s.record("middle")), d.Garble(s.sidecar("middle")), d.Garble(s.store("journal"))],
    ),
    "record-garbled-without-copy": Case(
        "record-damaged", REPAIRED, lambda s: [d.Garble(s.record("middle"))], partial(off, "i")
    ),
    "record-lost-without-copy": Case(
        "record-lost", REPAIRED, lambda s: [d.Vanish(s.record("middle"))], partial(off, "i")
    ),
    "record-lost-with-its-tag": Case(
        "record-lost",
        TOLD,
        lambda s: [d.Vanish(s.record("middle")), d.DropTag(s.qcow2, "middle")],
        partial(off, "i"),
    ),
    "whole-store-lost": Case(
        "record-lost",
        REPAIRED,
        lambda s: [d.Vanish(s.store(name)) for name in s.host.world.fs.names(s.store("."))],
        partial(off, "e"),
    ),
    "record-lost": Case("record-lost", REPAIRED, lambda s: [d.Vanish(s.record("middle"))]),
    "record-under-the-name-of-a-document": Case(
        "record-older-name",
        REPAIRED,
        lambda s: [d.Copy(s.record("leaf"), s.store("snapshotdata-leaf.libxl-json")), d.Vanish(s.record("leaf"))],
    ),
    "record-under-the-name-of-the-cover": Case(
        "record-older-name", REPAIRED, lambda s: [d.Copy(s.record("leaf"), s.store("snapshotdata-leaf.xl"))]
    ),
    "record-copied": Case(
        "record-twice",
        TOLD,
        lambda s: [d.Copy(s.record("leaf"), s.record("twin")), d.Edit(s.record("twin"), ("name",), "twin")],
    ),
    "record-copied-under-a-wrong-name": Case(
        "record-damaged", TOLD, lambda s: [d.Copy(s.record("leaf"), s.record("twin"))]
    ),
    "record-with-a-second-name": Case("hard-linked", REPAIRED, lambda s: [d.Link(s.record("leaf"), "/images/leaf")]),
    "record-writable-by-all": Case("open-to-others", REPAIRED, lambda s: [d.Chmod(s.record("leaf"), 0o666)]),
    "record-is-a-link": Case(
        "record-damaged",
        REPAIRED,
        lambda s: [
            d.Move(s.record("leaf"), "/images/leaf.json"),
            d.Plant(s.record("leaf"), target="/images/leaf.json"),
        ],
    ),
    "parent-that-never-was": Case(
        "parent-missing", REPAIRED, lambda s: [d.Edit(s.record("leaf"), ("parent",), "never")]
    ),
    "parents-in-a-circle": Case("parent-circle", REPAIRED, lambda s: [d.Edit(s.record("root"), ("parent",), "leaf")]),
    "own-parent": Case("parent-circle", REPAIRED, lambda s: [d.Edit(s.record("root"), ("parent",), "root")]),
    # copies
    "copy-gone": Case("copy-missing", REPAIRED, lambda s: [d.Vanish(s.sidecar("root"))]),
    "copy-garbled": Case("copy-differs", REPAIRED, lambda s: [d.Garble(s.sidecar("root"))]),
    "copy-of-another": Case("copy-differs", REPAIRED, lambda s: [d.Copy(s.sidecar("leaf"), s.sidecar("root"))]),
    "copy-of-what-is-gone": Case(
        "copy-of-nobody",
        REPAIRED,
        lambda s: [
            d.Copy(s.sidecar("leaf"), "/images/x.qcow2.xensnap.json"),
            d.Edit("/images/x.qcow2.xensnap.json", ("name",), "gone"),
            d.Edit("/images/x.qcow2.xensnap.json", ("disks", 1, "fingerprint", "inode"), 9999),
        ],
    ),
    "copy-half-written": Case("leftover", REPAIRED, lambda s: [d.Plant("/images/.x.qcow2.xensnap.json.new", b"{")]),
    # images that were frozen
    "image-gone": Case("image-missing", TOLD, lambda s: [d.Vanish(s.image("middle"))]),
    "image-moved": Case("image-missing", REPAIRED, lambda s: [d.Move(s.image("middle"), "/images/old-middle.qcow2")]),
    "root-image-gone": Case("image-missing", TOLD, lambda s: [d.Vanish(s.image("root"))]),
    "image-garbled": Case("image-unreadable", TOLD, lambda s: [d.Garble(s.image("middle"))]),
    "image-cut": Case("image-unreadable", TOLD, lambda s: [d.Cut(s.image("leaf"), 4)]),
    "image-replaced-by-its-copy": Case("image-changed", TOLD, lambda s: [d.Copy(s.image("leaf"), s.image("leaf"))]),
    "image-rebased": Case(
        "image-changed", TOLD, lambda s: [d.Back(s.image("leaf"), s.image("root").rpartition("/")[2], "raw")]
    ),
    "image-rebased-onto-nothing": Case("image-missing", TOLD, lambda s: [d.Back(s.image("leaf"), "nothing.qcow2")]),
    "image-rebased-onto-itself": Case(
        "chain-broken", TOLD, lambda s: [d.Back(s.active(BASE), s.active(BASE).rpartition("/")[2])]
    ),
    "active-gone": Case("image-missing", TOLD, lambda s: [d.Vanish(s.active(BASE))]),
    "active-moved": Case("image-missing", REPAIRED, lambda s: [d.Move(s.active(BASE), "/images/somewhere.qcow2")]),
    "active-garbled": Case("image-unreadable", TOLD, lambda s: [d.Garble(s.active(BASE))]),
    "format-not-given": Case(
        "format-not-given",
        REPAIRED,
        lambda s: [d.Back(s.active(BASE), s.image("root").rpartition("/")[2], "")],
        partial(taken_once, "ie"),
    ),
    "leaking": Case("leaked-clusters", REPAIRED, lambda s: [d.Leak(s.qcow2)]),
    "leaking-base": Case("leaked-clusters", REPAIRED, lambda s: [d.Leak(s.image("leaf"))]),
    "flags-stale": Case("flags-stale", REPAIRED, lambda s: [d.Leak(s.qcow2, stale=4)]),
    "flags-stale-without-leaks": Case("flags-stale", REPAIRED, lambda s: [d.Leak(s.qcow2, 0, stale=1)]),
    "flags-stale-and-errors": Case("image-corrupt", TOLD, lambda s: [d.Leak(s.qcow2, 0, 5, 4)]),
    "errors-in-tables": Case("image-corrupt", TOLD, lambda s: [d.Leak(s.qcow2, 0, 5)]),
    # tags
    "tag-gone": Case("tag-missing", TOLD, lambda s: [d.DropTag(s.qcow2, "middle")]),
    "tag-made-anew": Case("tag-replaced", TOLD, lambda s: [d.DropTag(s.qcow2, "middle"), d.AddTag(s.qcow2, "middle")]),
    "tag-twice": Case("tag-twice", TOLD, lambda s: [d.AddTag(s.qcow2, "middle")]),
    "tag-of-a-stranger": Case("tag-unknown", TOLD, lambda s: [d.AddTag(s.qcow2, "before-upgrade")]),
    "tag-of-a-dead-revert": Case("leftover", REPAIRED, lambda s: [d.AddTag(s.qcow2, "xensnap-safety-0123456789ab")]),
    # overlays and the ledger
    "overlay-empty": Case("leftover", REPAIRED, lambda s: [d.Copy(empty(s), OVERLAY)]),
    "overlay-with-data": Case("overlay-unknown", REPAIRED, lambda s: [d.Copy(s.active(BASE), OVERLAY)]),
    "ledger-lost-the-active": Case(
        "overlay-unclaimed",
        REPAIRED,
        lambda s: [
            d.Edit(
                s.store("domain.libxl-json"),
                ("ours",),
                [each for each in ours(s) if each["path"] != s.active(BASE)],
            )
        ],
    ),
    "ledger-of-what-is-gone": Case(
        "file-gone",
        REPAIRED,
        lambda s: [
            d.Edit(
                s.store("domain.libxl-json"),
                ("ours",),
                [*ours(s), {"path": "/images/never.qcow2", "role": "overlay", "inode": 77}],
            )
        ],
    ),
    "ledger-of-another-file-of-the-same-number": Case("file-replaced", REPAIRED, lambda s: [d.Remake(s.active(BASE))]),
    "ledger-of-another-file": Case("file-replaced", REPAIRED, lambda s: [d.Copy(s.active(BASE), s.active(BASE))]),
    "hidden-base-that-never-was": Case(
        "base-gone",
        REPAIRED,
        lambda s: [
            d.Edit(
                s.store("domain.libxl-json"),
                ("hidden",),
                [{"vdev": "xvdb", "path": "/images/never.qcow2", "format": "qcow2"}],
            )
        ],
    ),
    "starts-from-a-base": Case(
        "starts-from-base", REPAIRED, lambda s: [d.StartFrom(UUID, "xvdb", s.disk("branch", BASE).image)]
    ),
    "starts-from-a-base-with-two-branches": Case(
        "starts-from-base", TOLD, lambda s: [d.StartFrom(UUID, "xvdb", s.disk("middle", BASE).image)]
    ),
    # what lies about in the store
    "memory-of-nobody": Case("leftover", REPAIRED, lambda s: [d.Plant(s.store("nobody.save"), b"memory")]),
    "memory-half-saved": Case("leftover", REPAIRED, lambda s: [d.Plant(s.store("new.save.part"), b"mem")]),
    "way-back-of-a-dead-revert": Case(
        "leftover", REPAIRED, lambda s: [d.Plant(s.store("safety-0123456789ab.save"), b"memory")]
    ),
    "record-half-written": Case(
        "leftover", REPAIRED, lambda s: [d.Plant(s.store(".snapshotdata-d.x.libxl-json.new"), b"{")]
    ),
    "a-strangers-file": Case("unknown-file", TOLD, lambda s: [d.Plant(s.store("README"), b"hello")]),
    "a-link-in-the-store": Case("not-a-file", TOLD, lambda s: [d.Plant(s.store("x.save"), target="/etc/shadow")]),
    # what others have in their reach
    "store-of-another": Case("store-not-trusted", TOLD, lambda s: [d.Chown(s.store("")[:-1])]),
    "store-open-to-a-group": Case("store-not-trusted", TOLD, lambda s: [d.Chmod(s.store("")[:-1], 0o770)]),
    "all-stores-open": Case("store-not-trusted", TOLD, lambda s: [d.Chmod(s.view.root, 0o777)]),
    "record-of-another": Case("store-not-trusted", TOLD, lambda s: [d.Chown(s.record("leaf"))]),
    "state-of-another": Case("store-not-trusted", TOLD, lambda s: [d.Chown(s.store("domain.libxl-json"))]),
    "journal-of-another": Case("store-not-trusted", TOLD, lambda s: [d.Chown(s.store("journal"))]),
    "record-written-by-others-who-can-enter": Case(
        "store-not-trusted",
        TOLD,
        lambda s: [d.Chmod(s.store("")[:-1], 0o711), d.Chmod(s.record("leaf"), 0o666)],
    ),
    "memory-of-another": Case("store-not-trusted", TOLD, lambda s: [d.Chown(s.store("checkpoint.save"))], on),
    "link-of-another-in-the-store": Case(
        "store-not-trusted",
        TOLD,
        lambda s: [d.Plant(s.store("y.save"), target="/etc/shadow"), d.Chown(s.store("y.save"))],
    ),
    "images-in-a-directory-for-all": Case("directory-open", TOLD, lambda s: [d.Chmod("/images", 0o777)]),
    "overlay-of-another": Case("image-in-reach", TOLD, lambda s: [d.Chown(s.active(BASE))]),
    "overlay-written-by-others": Case(
        "image-in-reach", TOLD, lambda s: [d.Chmod("/images", 0o755), d.Chmod(s.active(BASE), 0o666)]
    ),
    "copy-owned-by-another": Case("copy-differs", REPAIRED, lambda s: [d.Chown(s.sidecar("middle"))]),
    "copy-of-what-is-gone-of-another": Case(
        "copy-not-trusted",
        TOLD,
        lambda s: [
            d.Copy(s.sidecar("leaf"), "/images/x.qcow2.xensnap.json"),
            d.Edit("/images/x.qcow2.xensnap.json", ("name",), "gone"),
            d.Chown("/images/x.qcow2.xensnap.json"),
        ],
    ),
    # the trash
    "thrown-away-garbled": Case("record-damaged", TOLD, lambda s: [d.Garble(s.thrown("leaf"))], partial(thrown, "ie")),
    "thrown-away-lost": Case("record-lost", REPAIRED, lambda s: [d.Vanish(s.thrown("leaf"))], partial(thrown, "ie")),
    "thrown-away-of-another": Case(
        "store-not-trusted", TOLD, lambda s: [d.Chown(s.thrown("leaf"))], partial(thrown, "ie")
    ),
    "thrown-away-readable-by-all": Case(
        "open-to-others", TOLD, lambda s: [d.Chmod(s.thrown("leaf"), 0o644)], partial(thrown, "ie")
    ),
    "given-up-garbled": Case(
        "record-damaged", TOLD, lambda s: [d.Garble(s.thrown(*s.view.trashed))], partial(gone_back, "ie")
    ),
    "given-up-lost": Case(
        "tag-unknown", TOLD, lambda s: [d.Vanish(s.thrown(*s.view.trashed))], partial(gone_back, "ie")
    ),
    # guests that run
    "memory-gone": Case("memory-missing", TOLD, lambda s: [d.Vanish(s.store("checkpoint.save"))], on),
    "memory-empty": Case("memory-missing", TOLD, lambda s: [d.Cut(s.store("checkpoint.save"), 0)], on),
    "memory-with-a-second-name": Case(
        "hard-linked", TOLD, lambda s: [d.Link(s.store("checkpoint.save"), "/images/memory")], on
    ),
    "memory-cut": Case("memory-changed", TOLD, lambda s: [d.Cut(s.store("checkpoint.save"), 40)], on),
    "memory-grown": Case("memory-changed", TOLD, lambda s: [d.Grow(s.store("checkpoint.save"))], on),
    "memory-readable-by-all": Case("open-to-others", TOLD, lambda s: [d.Chmod(s.store("checkpoint.save"), 0o644)], on),
    "guest-left-suspended": Case("guest-suspended", REPAIRED, lambda s: [d.Suspend(UUID)], on),
    "nobody-watches": Case("watcher-lost", REPAIRED, lambda s: [d.LoseWatcher(UUID)], on),
    "another-uuid": Case("uuid-changed", REPAIRED, lambda s: [d.NewUuid(UUID, OTHER)], partial(off, "e")),
    "flag-cleared": Case(
        "flag-missing",
        REPAIRED,
        lambda s: [d.Unflag(s.image("root")), d.Unflag(s.image("branch"))],
        partial(theirs, "e"),
    ),
    "qemu-dead": Case("qemu-silent", TOLD, lambda s: [d.LoseQemu(UUID)], on),
    "header-written-under-a-guest": Case(
        "header-written", TOLD, lambda s: [d.Back(s.active(BASE), s.image("root").rpartition("/")[2], "raw")], on
    ),
    "starts-elsewhere-next-time": Case(
        "starts-from-base", TOLD, lambda s: [d.StartFrom(UUID, "xvdb", s.disk("checkpoint", BASE).image)], on
    ),
}


def note() -> bytes:
    """A line of the journal that an operation has left whose beginning is lost."""
    return b"\n" + encode(Note("0" * 36, "done: something"))


def empty(scene: Scene) -> str:
    """An overlay on the youngest frozen image that holds nothing."""
    base = scene.image("branch")
    layer = scene.host.create_image(
        "/images/empty", "qcow2", 4 * CLUSTER, backing=Layer(base.rpartition("/")[2], Format.QCOW2)
    )
    return layer.path


def ours(scene: Scene) -> list[dict[str, object]]:
    return [{"path": each.path, "role": each.role, "inode": each.inode} for each in scene.view.state.ours]


def scene(host: SimulatedHost) -> Scene:
    return Scene(host, Engine(host).view(GUEST))


def damage(case: Case, *, host_kind: type[SimulatedHost] = SimulatedHost) -> SimulatedHost:
    """The case's world, damaged."""
    at = scene(case.world(host_kind=host_kind))
    damages = case.damages(at)
    world = at.host.world
    for each in damages:
        world = d.damaged(world, each)
    return host_kind(world)
