"""What a revert gives up, kept in the trash so that `undo` can go back to it. Pure.

It costs nothing to keep: the overlay that a disk leaves stays as it is, and the tag of the revert's safety point stays
in its image. A domain keeps one such state, the newest, and it hinders nobody: what could not be deleted or merged as
long as it is there lets it go.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from xensnap.engine import disks, flags
from xensnap.engine.plan import Plan, each
from xensnap.engine.request import Fresh, RevertRequest
from xensnap.engine.trash_steps import KeepGivenUp
from xensnap.engine.view import View, paths_below, untagged, with_current
from xensnap.formats.trashed import Trashed
from xensnap.hypervisor import Capability
from xensnap.model import Consistency, DiskSnapshot, Image, Kind, RunState, Snapshot

NARROW_BITS = 8
"""Refcounts up to this wide hold so few snapshots that a tag nobody asked for would be missed."""


def kept(view: View) -> Mapping[str, Trashed]:
    """What reverts have given up and the trash still has, by name."""
    return {name: each for name, each in view.trashed.items() if each.given_up_for}


def keep(view: View, snapshot: Snapshot, request: RevertRequest, fresh: Fresh) -> KeepGivenUp | None:
    """The step that keeps what a revert to this snapshot gives up; None where it is not to be kept, or cannot be."""
    if request.no_undo or request.save_current or why_not(view, snapshot):
        return None
    name = f"given-up-{fresh.operation[-12:]}"
    given_up = tuple(_disk(view, disk, name) for disk in snapshot.disks)
    off = view.domain.state is RunState.OFF
    state = Snapshot(
        name=name,
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        creation_time_s=fresh.now_s,
        state=view.domain.state,
        consistency=Consistency.CLEAN if off else Consistency.CRASH,
        disks=given_up,
        parent=with_current(view),
        description=f"what the revert to {snapshot.name!r} gave up",
        domain_config=view.configuration,
    )
    older = tuple(sorted(kept(view)))
    return KeepGivenUp(Trashed(fresh.now_s, state, snapshot.name), older)


def _disk(view: View, disk: DiskSnapshot, name: str) -> DiskSnapshot:
    """What the snapshot that is made of a disk's present state holds of it."""
    chain = view.chain(disk.vdev)
    assert chain is not None, "planned for disks that can be kept"
    internal = disk.kind is Kind.INTERNAL
    active = chain.active
    return DiskSnapshot(disk.vdev, disk.kind, active.layer, active.virtual_size_bytes, tag=name if internal else "")


def why_not(view: View, snapshot: Snapshot) -> str:
    """Why what a revert to this snapshot gives up cannot be kept; empty if it can."""
    for disk in snapshot.disks:
        chain = view.chain(disk.vdev)
        if chain is None:
            return f"{disk.vdev} cannot be read"
        if disk.kind is Kind.INTERNAL and chain.active.refcount_bits <= NARROW_BITS:
            return f"{disk.vdev}: {chain.active.layer.path} has {chain.active.refcount_bits}-bit refcounts"
        if disk.kind is Kind.INTERNAL and len(chain.active.snapshots) + 2 > disks.TABLE_ENTRIES_MAX:
            return f"{disk.vdev}: {chain.active.layer.path} has no room for one more snapshot"
        if disk.kind is Kind.EXTERNAL and left_behind(view, disk.vdev) is None:
            return f"{disk.vdev}: {chain.active.layer.path} is needed by others, or none of ours"
        if disk.kind is Kind.EXTERNAL and flags.elsewhere(view) and Capability.IMMUTABLE not in view.capabilities:
            return f"a start from a file of yours would write to {chain.active.layer.path}"
    return ""


def left_behind(view: View, vdev: str) -> Image | None:
    """The active layer that a disk leaves, if we made it and nothing else stands on it or is kept in it."""
    chain = view.chain(vdev)
    if chain is None or chain.active.file in view.reached:
        return None
    active = chain.active
    ours = view.state.made(active.layer.path)
    stood_on = {image.backing.path for image in view.images.values() if image and image.backing}
    if ours and ours.inode == active.file.inode and active.layer.path not in stood_on | view.frozen(vdev):
        return active
    return None


def yielding(view: View, gone: Collection[Snapshot]) -> Iterator[str]:
    """What was given up and has to go when these snapshots go, so that all they hold can be merged away or removed.

    An overlay would stand on an image that becomes a hidden base. A tag would be the last in an image that nobody takes
    for one with internal snapshots any more.
    """
    hidden = {disk.image.path for snapshot in gone for disk in snapshot.disks if disk.kind is Kind.EXTERNAL}
    names = {snapshot.name for snapshot in gone}
    stay = [snapshot for snapshot in view.snapshots.values() if snapshot.name not in names]
    stay += [each.snapshot for name, each in view.trashed.items() if not each.given_up_for and name not in names]
    tagged = set(_tagged(stay))
    for name, trashed in kept(view).items():
        below = {path for disk in trashed.snapshot.disks for path in paths_below(view, disk.image.path)}
        if name not in names and (hidden & below or set(_tagged([trashed.snapshot])) - tagged):
            yield name


def _tagged(snapshots: Iterable[Snapshot]) -> Iterator[str]:
    """The images in which these have tags."""
    for snapshot in snapshots:
        yield from (disk.image.path for disk in snapshot.disks if disk.kind is Kind.INTERNAL)


def without(view: View) -> View:
    """The view as if nothing that was given up were there, to see what could be done then."""
    names = kept(view)
    if not names:
        return view
    given_up = [disk for each in names.values() for disk in each.snapshot.disks]
    held = {disk.image.path for snapshot in view.snapshots.values() for disk in snapshot.disks}
    held |= {disk.path for disk in view.domain.disks}
    images = {disk.image.path for disk in given_up if disk.kind is Kind.EXTERNAL} - held
    tags = {(d.image.path, d.tag, d.fingerprint.snapshot_id) for d in given_up if d.kind is Kind.INTERNAL}
    return replace(
        view,
        trashed={name: each for name, each in view.trashed.items() if name not in names},
        images={path: image and untagged(image, tags) for path, image in view.images.items() if path not in images},
        state=msgspec.structs.replace(
            view.state, ours=tuple(entry for entry in view.state.ours if entry.path not in images)
        ),
    )


def kept_by(plan: Plan) -> KeepGivenUp | None:
    """The step of a revert's plan that keeps what it gives up, if it does."""
    return next((step for step in each(plan.finish) if isinstance(step, KeepGivenUp)), None)
