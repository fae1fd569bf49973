"""Engines that do what real QEMU and qemu-img punish without a word: the simulator has to make it visible.

Each is an engine without one of its guards; see `mutants`. What is lost is looked for in the images, not in what
anybody says.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec

from simulator import SimulatedHost
from simulator.checkers.leaks import unclean
from simulator.disk.snapshots import Table
from simulator.faults import damage
from simulator.tools.qemu_img import SnapshotCreate
from tests.crash import harness
from tests.crash.harness import GUEST, Operation
from tests.discovery.judgements import Judgement, Trial, _fresh, trying, walk
from tests.discovery.mutants import Instead, Mutant, answers, answers_later, left_out, of_changed
from tests.discovery.running_mutants import deaths as on_running
from tests.unit.engine.test_live_plans import running
from xensnap.backends.local import block_layer
from xensnap.backends.local.gate import Gate
from xensnap.doors import DoorHost
from xensnap.engine import collect, create, opened, point_steps
from xensnap.engine.context import Context
from xensnap.engine.engine import Engine
from xensnap.engine.live_steps import TakePoints
from xensnap.engine.overlay_steps import MakeOverlay
from xensnap.engine.point_steps import ApplyPoint
from xensnap.engine.request import CreateRequest, DeleteRequest, DiskChoice
from xensnap.errors import XensnapError
from xensnap.hypervisor import TakeInternal, TakeOverlay
from xensnap.model import Format, Kind, Layer, RunState

replace = msgspec.structs.replace

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"
IMAGE = "/images/a.qcow2"
PREPARED = "/images/prepared.qcow2"

DISK_ONLY = CreateRequest("s", disk_only=True)
EXTERNAL = CreateRequest("s", kind=Kind.EXTERNAL, disk_only=True)
REUSING = CreateRequest("s", disk_only=True, disks={"xvda": DiskChoice(Kind.EXTERNAL, PREPARED)}, reuse_external=True)


ACTS: dict[str, Operation] = {
    "create": lambda engine: engine.create(GUEST, DISK_ONLY),
    "create external": lambda engine: engine.create(GUEST, EXTERNAL),
    "create on the prepared overlay": lambda engine: engine.create(GUEST, REUSING),
    "delete only": lambda engine: engine.delete(GUEST, DeleteRequest("only")),
    "delete s": lambda engine: engine.delete(GUEST, DeleteRequest("s")),
    "delete second": lambda engine: engine.delete(GUEST, DeleteRequest("second")),
    "delete t": lambda engine: engine.delete(GUEST, DeleteRequest("t")),
}


@dataclass(frozen=True)
class Spares:
    """One operation on a world of this module, and what must be true of that in the end, by their names."""

    made: str
    act: str
    sound: str

    def trial(self) -> Callable[[], object]:
        """See Plan."""
        return spared(globals()[self.made], self.act, globals()[self.sound])()


@cache
def spared(made: Callable[[], tuple[SimulatedHost, Any]], act: str, sound: Callable[..., None]) -> Judgement:
    """Whether an error or an operation has left everything as it must be."""
    plan = Spares(made.__name__, act, sound.__name__)

    def prepare() -> Trial:
        host, known = made()

        def in_danger() -> None:
            after = host.fork()
            with contextlib.suppress(XensnapError):
                ACTS[act](Engine(after))
            sound(after, known)

        return trying("operations", harness.TRIED, in_danger, lambda _: plan, count=1)

    return prepare


def _records_are_true(host: SimulatedHost, _known: object) -> None:
    """The guest writes on, and every snapshot is where its record says; no image has anything wrong."""
    host.guest_writes(GUEST, "xvda", flush=True)
    for snapshot in Engine(host).list(GUEST).contents.snapshots.values():
        for disk in snapshot.disks:
            found = host.visible_snapshot(disk.image, disk.fingerprint.snapshot_id)
            assert found is not None, f"{snapshot.name} is not in {disk.image.path}"
    assert not [*unclean(host.world.fs)]


def _open_twice() -> tuple[SimulatedHost, None]:
    host = running("hvm", drivers=False)
    host.guest_writes(GUEST, "xvda", flush=True)
    return host, None


def _on_another() -> tuple[SimulatedHost, None]:
    """A guest whose overlay somebody has made by hand."""
    host = running("pv")
    overlay = host.create_image("/images/by-hand.qcow2", backing=Layer("a.qcow2", Format.QCOW2))
    domain = Engine(host).view(GUEST).domain
    host.run(host.blocks.transaction(domain, [TakeOverlay("xvda", overlay)]))
    return host, None


def _on_a_replaced_image() -> tuple[SimulatedHost, Any]:
    """A guest whose image has been put back from a backup while it ran: what it writes goes into the nameless file."""
    host = running("pv")
    path = Engine(host).view(GUEST).domain.disks[0].path
    host = SimulatedHost(damage.damaged(host.world, damage.Copy(path, path)))
    host.guest_writes(GUEST, "xvda", flush=True)
    return host, host.running_disks(GUEST)["xvda"]


def _it_holds_what_the_guest_had(host: SimulatedHost, known: Any) -> None:
    for snapshot in Engine(host).list(GUEST).contents.snapshots.values():
        assert host.visible_layer(snapshot.disks[0].image) == known, "the snapshot is of another file"


def _with_a_tag_of_an_operator() -> tuple[SimulatedHost, Any]:
    """The overlay that a deletion would merge away holds a snapshot that is none of ours."""
    host = _fresh("e").fork()
    overlay = Engine(host).view(GUEST).domain.disks[0].layer
    assert not host.operate(SnapshotCreate(overlay, "theirs"))
    harness.scribble(host, 2)
    return host, (overlay, host.visible_snapshot(overlay, "1"))


def _it_shows_what_it_showed(host: SimulatedHost, known: Any) -> None:
    overlay, held = known
    assert host.visible_snapshot(overlay, "1") == held, "the snapshot of an operator shows another thing"


# By the code of a real host: what its guards keep from QEMU, the port over the simulator does not know either --------


def _by_door() -> tuple[SimulatedHost, None]:
    """A guest on one qcow2 image, worked on through the real host's code."""
    host = DoorHost.fresh()
    host.create_image(IMAGE)
    host.add_domain(GUEST, UUID, {"xvda": IMAGE}, kind="pv")
    host.start(GUEST)
    host.guest_writes(GUEST, "xvda", flush=True)
    return host, None


def _with_a_snapshot() -> tuple[SimulatedHost, None]:
    """The same with an internal snapshot."""
    host, _ = _by_door()
    Engine(host).create(GUEST, DISK_ONLY)
    host.guest_writes(GUEST, "xvda", flush=True)
    return host, None


def _it_still_runs(host: SimulatedHost, _known: object) -> None:
    domain = Engine(host).view(GUEST).domain
    assert domain.state is RunState.RUNNING
    assert host.world.qemus.get(host.incarnation(GUEST).domid), "its QEMU is dead"
    host.guest_writes(GUEST, "xvda", flush=True)


def _remembered() -> tuple[SimulatedHost, Any]:
    """The same guest, and what its disk holds."""
    host, _ = _by_door()
    return host, host.running_disks(GUEST)["xvda"]


def _it_is_kept_from_the_guest(host: SimulatedHost, known: Any) -> None:
    host.guest_writes(GUEST, "xvda", flush=True)
    _it_holds_what_the_guest_had(host, known)
    assert host.running_disks(GUEST)["xvda"] != known, "the guest would write into what is frozen, and is kept from it"


def _forgotten_by_qemu() -> tuple[SimulatedHost, None]:
    """The disk failed when QEMU deleted a snapshot: it has forgotten it, and the file has it still."""
    host = running("pv")
    Engine(host).create(GUEST, DISK_ONLY)
    domid = host.incarnation(GUEST).domid
    qemu = host.world.qemus[domid]
    (drive,) = qemu.drives
    forgetful = replace(drive.root, belief=replace(drive.root.belief, table=Table()))
    qemu = qemu.having(replace(drive, chain=(forgetful, *drive.chain[1:])))
    host.cell.world = replace(host.world, qemus=host.world.qemus.set(domid, qemu))
    return host, None


def _no_tag_is_without_its_record(host: SimulatedHost, _known: object) -> None:
    listing = Engine(host).list(GUEST)
    tags = host.run(host.images.inspect(listing.domain.disks[0].layer)).snapshots
    if not listing.pending:
        assert {entry.tag for entry in tags} == {*listing.contents.snapshots}, "a tag that no record tells of"


def _overlay_on_another_base() -> tuple[SimulatedHost, None]:
    """An empty overlay that the operator has prepared, and that names another image in its header."""
    host = running("pv")
    host.guest_writes(GUEST, "xvda", flush=True)
    host.create_image("/images/another.qcow2")
    host.create_image(PREPARED, backing=Layer("another.qcow2", Format.QCOW2))
    return host, None


def _it_starts_from_what_it_had(host: SimulatedHost, _known: object) -> None:
    host.guest_flush(GUEST)
    before = host.running_disks(GUEST)
    Engine(host).stop(GUEST)
    assert host.visible(GUEST) == before, "the header names another image than the one that QEMU had below"


def _tagged(host: SimulatedHost) -> Any:
    """The overlay that a guest writes to, and what a snapshot by somebody else holds of it; it holds more by now."""
    domain = Engine(host).view(GUEST).domain
    host.run(host.blocks.transaction(domain, [TakeInternal("xvda", "theirs")]))
    host.guest_writes(GUEST, "xvda", flush=True)
    overlay = domain.disks[0].layer
    return overlay, host.visible_snapshot(overlay, "1")


def _tag_in_a_running_overlay() -> tuple[SimulatedHost, Any]:
    """The overlay that a deletion would merge away below a guest that runs holds a snapshot that is none of ours."""
    host = running("pv")
    Engine(host).create(GUEST, EXTERNAL)
    host.guest_writes(GUEST, "xvda", flush=True)
    return host, _tagged(host)


def _tag_above_ours() -> tuple[SimulatedHost, Any]:
    """The overlay that is to take in what ours below it holds has a snapshot that is none of ours."""
    host = _fresh("e").fork()
    Engine(host).create(GUEST, CreateRequest("second"))
    overlay = Engine(host).view(GUEST).domain.disks[0].layer
    assert not host.operate(SnapshotCreate(overlay, "theirs"))
    harness.scribble(host, 2)
    return host, (overlay, host.visible_snapshot(overlay, "1"))


def _tag_above_ours_in_use() -> tuple[SimulatedHost, Any]:
    """The same below a guest that runs: its QEMU would copy the data up."""
    host = running("pv")
    for name in ("s", "t"):
        Engine(host).create(GUEST, CreateRequest(name, kind=Kind.EXTERNAL, disk_only=True))
        if name == "s":
            host.guest_writes(GUEST, "xvda", flush=True)
    return host, _tagged(host)


def takes_qemus_word(delete: Any) -> Any:
    async def wrong(*arguments: Any) -> None:
        with contextlib.suppress(XensnapError):
            await delete(*arguments)

    return wrong


def two_points_of_one_disk(do: Any) -> Any:
    async def wrong(self: TakePoints, at: Any) -> None:
        class Doubled(Instead):
            async def transaction(self, domain: Any, actions: Any) -> None:
                more = [TakeInternal(action.vdev, tag) for action in actions for tag in ("again", "")]
                await self._port.transaction(domain, [*actions, *more])  # no tag is empty, so all is rolled back

        await do(self, replace(at, host=Instead(at.host, blocks=Doubled(at.host.blocks))))

    return wrong


def into_the_new_overlay(prepared: Any) -> Any:
    """A second point of a disk is one of what is on top by then."""

    async def wrong(monitor: Any, top: Any, action: Any, added: list[str]) -> Any:
        told = await prepared(monitor, top, action, added)
        return told | {"data": told["data"] | {"device": added[-1]}} if isinstance(action, TakeInternal) else told

    return wrong


def on_a_bare_node(_: Any) -> Any:
    """Opens the image a second time, which no device stands on, and takes the point there."""

    async def wrong(monitor: Any, top: Any, action: Any, added: list[str]) -> Any:
        await monitor.execute("blockdev-add", block_layer.image_options(top.layer, "bare", readonly=True))
        added.append("bare")
        data = {"node-name": "bare", "snapshot-file": action.overlay.path, "snapshot-node-name": "over"}
        return {"type": "blockdev-snapshot-sync", "data": data | {"format": "qcow2", "mode": "existing"}}

    return wrong


def passes(_: Any) -> Any:
    """A guard that lets everything through."""

    def wrong(*_: Any, **__: Any) -> None:
        return None

    return wrong


def without(reason_id: str) -> Callable[[Any], Any]:
    """A guard that does not mind this one thing."""

    def changed(against: Any) -> Any:
        def wrong(view: Any, disk: Any) -> Any:
            return (reason for reason in against(view, disk) if reason.id != reason_id)

        return wrong

    return changed


def snapshots_are_no_reason(why_kept: Any) -> Any:
    def wrong(view: Any, base: Any) -> str:
        why: str = why_kept(view, base)
        return "" if why.endswith("holds internal snapshots") else why

    return wrong


DANGER_MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "takes a snapshot of an image that is open twice in one QEMU",
        "a snapshot that is lost when the other node writes its own table",
        "5.14",
        opened,
        "_against",
        without("image-open-twice"),
        spared(_open_twice, "create", _records_are_true),
    ),
    Mutant(
        "does not mind that a guest runs on another image",
        "a record of a snapshot that is in another image",
        "5.9",
        opened,
        "_against",
        without("runs-on-another"),
        spared(_on_another, "create", _records_are_true),
        # The look whether the points are there would undo it in time.
        also=((TakePoints, "_require_taken", left_out),),
    ),
    Mutant(
        "does not mind that an image in use has been replaced",
        "a snapshot whose frozen image is another file than the guest ran on",
        "5.12",
        opened,
        "_against",
        without("image-replaced"),
        spared(_on_a_replaced_image, "create external", _it_holds_what_the_guest_had),
    ),
    Mutant(
        "merges away an overlay that holds a snapshot of an operator",
        "the operator's snapshot is gone, or shows what the base has become",
        "5.14",
        collect,
        "why_kept",
        snapshots_are_no_reason,
        spared(
            _with_a_tag_of_an_operator,
            "delete only",
            _it_shows_what_it_showed,
        ),
    ),
    Mutant(
        "gives an overlay that holds a snapshot of an operator another base",
        "the snapshot has lost what only the image in between held: qemu-img rebase copies into the active layer alone",
        "5.14",
        collect,
        "why_kept",
        snapshots_are_no_reason,
        spared(_tag_above_ours, "delete second", _it_shows_what_it_showed),
    ),
    Mutant(
        "streams into an overlay that holds a snapshot of an operator",
        "the snapshot has lost what only the image in between held: block-stream copies into the active layer alone",
        "5.14",
        collect,
        "why_kept",
        snapshots_are_no_reason,
        spared(_tag_above_ours_in_use, "delete t", _it_shows_what_it_showed),
    ),
    Mutant(
        "applies by the tag, which qemu-img takes for an id",
        "a revert to another snapshot than was asked for",
        "5.15",
        ApplyPoint,
        "do",
        of_changed(lambda step: replace(step, snapshot_id=step.tag)),
        walk(Format.QCOW2, "create 2", "create 1", "revert 2"),
    ),
    Mutant(
        "makes an overlay smaller than the disk",
        "the guest finds the end of its disk cut off, and a merge takes it away for good (facts/qemu.md 64)",
        "5.1",
        MakeOverlay,
        "do",
        of_changed(lambda step: replace(step, size_bytes=step.size_bytes // 2)),
        walk(Format.RAW, "create a", "create b"),
    ),
    Mutant(
        "takes the word of a QEMU that has forgotten a snapshot",
        "a tag that no record knows (facts/qemu.md 119)",
        "5.5",
        point_steps,
        "_delete",
        takes_qemus_word,
        spared(_forgotten_by_qemu, "delete s", _no_tag_is_without_its_record),
    ),
    Mutant(
        "takes a point on a node that no device stands on",
        "QEMU drops the overlay at once, and the guest stays on what was frozen (facts/qemu.md 131)",
        "5.9",
        block_layer,
        "_prepared",
        on_a_bare_node,
        spared(_remembered, "create external", _it_is_kept_from_the_guest),
        also=((TakePoints, "_require_taken", left_out),),
    ),
    Mutant(
        "goes on in an overlay whose header names another image",
        "the next start finds another disk (facts/qemu.md 135)",
        "5.12",
        create,
        "_wrong_with",
        answers(""),
        spared(
            _overlay_on_another_base,
            "create on the prepared overlay",
            _it_starts_from_what_it_had,
        ),
        also=((MakeOverlay, "_is_made", answers_later(True)),),
    ),
    Mutant(
        "leaves the overlay of a transaction that was rolled back",
        "a file that nobody needs (facts/qemu.md 148)",
        "5.4",
        MakeOverlay,
        "undo",
        left_out,
        on_running("e", "disks"),
    ),
    Mutant(
        "takes two points of one disk in one transaction",
        "QEMU aborts when it rolls them back, and the guest is dead (facts/qemu.md 153)",
        "5.15",
        TakePoints,
        "do",
        two_points_of_one_disk,
        spared(_by_door, "create external", _it_still_runs),
        also=((block_layer, "_one_each", passes), (block_layer, "_prepared", into_the_new_overlay)),
    ),
    Mutant(
        "merges away an overlay below a guest that runs, with a snapshot of an operator in it",
        "the operator's snapshot is gone (facts/qemu.md 51, 163)",
        "5.14",
        collect,
        "why_kept",
        snapshots_are_no_reason,
        spared(
            _tag_in_a_running_overlay,
            "delete s",
            _it_shows_what_it_showed,
        ),
    ),
    Mutant(
        "writes to an image that a guest has open",
        "QEMU writes its own table over it, and clusters leak or are used twice",
        "5.13",
        Context,
        "opened_by",
        answers_later(None),
        spared(_with_a_snapshot, "delete s", _records_are_true),
        also=((Gate, "to_write", left_out),),
    ),
)
