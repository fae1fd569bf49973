"""Engines that do what real QEMU and qemu-img punish without a word: the simulator has to make it visible.

Each is an engine without one of its guards; see `mutants`. What is lost is looked for in the images, not in what
anybody says.
"""

import contextlib
from collections.abc import Callable
from functools import cache
from typing import Any

import msgspec

from simulator import SimulatedHost
from simulator.checkers.leaks import unclean
from simulator.faults import damage
from simulator.tools.qemu_img import SnapshotCreate
from tests.crash import harness
from tests.crash.harness import GUEST, Operation
from tests.discovery.judgements import Effort, Judgement, Trial, _fresh, counted, walk
from tests.discovery.mutants import Mutant, of_changed
from tests.unit.engine.test_live_plans import running
from xensnap.engine import collect, opened
from xensnap.engine.engine import Engine
from xensnap.engine.point_steps import ApplyPoint
from xensnap.engine.request import CreateRequest, DeleteRequest
from xensnap.errors import Refused
from xensnap.hypervisor import TakeOverlay
from xensnap.model import Format, Kind, Layer

replace = msgspec.structs.replace

DISK_ONLY = CreateRequest("s", disk_only=True)
EXTERNAL = CreateRequest("s", kind=Kind.EXTERNAL, disk_only=True)


@cache
def spared(made: Callable[[], tuple[SimulatedHost, Any]], act: Operation, sound: Callable[..., None]) -> Judgement:
    """Whether a refusal or an operation has left everything as it must be."""

    def prepare() -> Trial:
        host, known = made()

        def run() -> Effort:
            with counted("operations", harness.TRIED) as effort:
                effort.count = 1
                after = host.fork()
                with contextlib.suppress(Refused):
                    act(Engine(after))
                sound(after, known)
            return effort

        return run

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
        spared(_open_twice, lambda engine: engine.create(GUEST, DISK_ONLY), _records_are_true),
    ),
    Mutant(
        "does not mind that a guest runs on another image",
        "a record of a snapshot that is in another image",
        "5.9",
        opened,
        "_against",
        without("runs-on-another"),
        spared(_on_another, lambda engine: engine.create(GUEST, DISK_ONLY), _records_are_true),
    ),
    Mutant(
        "does not mind that an image in use has been replaced",
        "a snapshot whose frozen image is another file than the guest ran on",
        "5.12",
        opened,
        "_against",
        without("image-replaced"),
        spared(_on_a_replaced_image, lambda engine: engine.create(GUEST, EXTERNAL), _it_holds_what_the_guest_had),
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
            lambda engine: engine.delete(GUEST, DeleteRequest("only")),
            _it_shows_what_it_showed,
        ),
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
)
