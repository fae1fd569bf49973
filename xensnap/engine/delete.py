"""Planning a deletion. Pure. What the deleted snapshots shared with others is left to `collect`."""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from xensnap.engine import tree
from xensnap.engine.create import against_running, sidecar_paths
from xensnap.engine.live_steps import RemoveMemory
from xensnap.engine.opened import against_opened
from xensnap.engine.plan import Plan
from xensnap.engine.point_steps import DropPoint
from xensnap.engine.request import DeleteRequest, Fresh
from xensnap.engine.revert import find
from xensnap.engine.state import HiddenBase
from xensnap.engine.steps import Step, Together
from xensnap.engine.store_steps import RemoveRecord, RemoveSidecar, RewriteRecord, WriteSidecar, fingerprint
from xensnap.engine.view import View, digest
from xensnap.errors import Reason, Refused
from xensnap.model import DiskSnapshot, Kind, Snapshot


def plan_delete(view: View, request: DeleteRequest, fresh: Fresh) -> Plan:
    """Plan a deletion.

    The decision takes the snapshots out of the tree; after it the tags go, and frozen images become hidden bases until
    they can be merged. So an external snapshot can always be deleted, whoever stands on its image.

    Args:
        view: what was observed.
        request: which snapshots.
        fresh: operation id and time.

    Raises:
        NotFound: no such snapshot.
        Refused: with every reason against it. Nothing was touched.
    """
    gone = _gone(view, request)
    reasons = [*against_running(view)]
    if not gone:
        cause = f"{request.name!r} has no snapshots below it"
        reasons.append(Reason("no-children", cause, "Delete the snapshot itself, without --children-only."))
    for snapshot in gone.values():
        for disk in snapshot.disks:
            reasons.extend(_against(view, disk))
    reasons.extend(against_opened(view, _with_tags_in_use(view, gone.values())))
    if reasons:
        raise Refused(reasons)

    names = frozenset(gone)
    moved = _reparented(view, names)
    sidecars = [RemoveSidecar(path, s.name, s.domain_uuid) for s in gone.values() for path in sidecar_paths(s)]
    removed_paths = {step.path for step in sidecars}
    what = ", ".join(repr(name) for name in gone)
    return Plan(
        verb="delete",
        host=view.host,
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        operation=fresh.operation,
        summary=f"delete {'snapshots' if len(gone) > 1 else 'snapshot'} {what} of {view.domain.name}",
        observed=digest(view),
        snapshot=request.name,
        prepare=(),
        state=msgspec.structs.replace(
            view.state,
            current=tree.surviving_ancestor(view.snapshots, view.state.current, names),
            operation=fresh.operation,
            ours=tuple(entry for entry in view.state.ours if entry.path not in removed_paths),
            hidden=tuple(sorted({*view.state.hidden, *_newly_hidden(gone.values())})),
        ),
        finish=(
            *(RewriteRecord(snapshot) for snapshot in moved),
            *(WriteSidecar(path, snapshot) for snapshot in moved for path in sidecar_paths(snapshot)),
            *(RemoveRecord(name) for name in gone),
            *sidecars,
            *(RemoveMemory(snapshot.memory) for snapshot in gone.values() if snapshot.memory),
            *_drop_points(view, tuple(gone.values())),
        ),
        warnings=tuple(_warnings(view, tuple(gone.values()))),
    )


def _gone(view: View, request: DeleteRequest) -> dict[str, Snapshot]:
    """What goes: each after those below it."""
    find(view, request.name)
    names: tuple[str, ...] = ()
    if request.children or request.children_only:
        names = tree.descendants(view.snapshots, request.name)[::-1]
    if not request.children_only:
        names = (*names, request.name)
    return {name: view.snapshots[name] for name in names}


def _reparented(view: View, gone: frozenset[str]) -> tuple[Snapshot, ...]:
    """The children that lose their parent, with the nearest ancestor that stays."""
    return tuple(
        replace(snapshot, parent=tree.surviving_ancestor(view.snapshots, snapshot.parent, gone))
        for snapshot in view.snapshots.values()
        if snapshot.name not in gone and snapshot.parent in gone
    )


def _newly_hidden(gone: Iterable[Snapshot]) -> Iterator[HiddenBase]:
    for snapshot in gone:
        for disk in snapshot.disks:
            if disk.kind is Kind.EXTERNAL:
                yield HiddenBase(disk.vdev, disk.image.path, disk.image.format)


def _drop_points(view: View, gone: tuple[Snapshot, ...]) -> tuple[Step, ...]:
    """The tags to delete: side by side on different images, one after the other within one."""
    ranks: list[list[DropPoint]] = []
    used: dict[str, int] = {}
    for snapshot in gone:
        for disk in snapshot.disks:
            if disk.kind is Kind.INTERNAL and _is_there(view, disk):
                rank = used.get(disk.image.path, 0)
                used[disk.image.path] = rank + 1
                if rank == len(ranks):
                    ranks.append([])
                ranks[rank].append(DropPoint(disk.vdev, disk.image.path, disk.tag, disk.fingerprint.snapshot_id))
    return tuple(Together(tuple(rank)) for rank in ranks)


def _with_tags_in_use(view: View, gone: Iterable[Snapshot]) -> frozenset[str]:
    """The disks whose active layer has a tag that goes: while the guest runs only its QEMU may delete it."""
    return frozenset(
        disk.vdev
        for snapshot in gone
        for disk in snapshot.disks
        if disk.kind is Kind.INTERNAL
        and (now := view.domain.disk(disk.vdev)) is not None
        and now.path == disk.image.path
        and _is_there(view, disk)
    )


def _is_there(view: View, disk: DiskSnapshot) -> bool:
    """Whether the image still has the very tag that the snapshot made: one like it may be a stranger's by now."""
    image = view.images.get(disk.image.path)
    return image is not None and fingerprint(disk, image) == disk.fingerprint


def _against(view: View, disk: DiskSnapshot) -> Iterator[Reason]:
    image = view.images.get(disk.image.path)
    if disk.kind is Kind.INTERNAL and image is not None and image.file in view.foreign:
        user = view.foreign[image.file]
        yield Reason(
            "image-shared", f"{disk.vdev}: {disk.image.path} is used by the domain {user}, too", "Detach it there."
        )


def _warnings(view: View, gone: tuple[Snapshot, ...]) -> Iterator[str]:
    for snapshot in gone:
        for disk in snapshot.disks:
            if view.images.get(disk.image.path) is None:
                yield f"{disk.vdev}: {disk.image.path} of {snapshot.name!r} is not there or unreadable"
            elif disk.kind is Kind.INTERNAL and not _is_there(view, disk):
                yield f"{disk.vdev}: tag {disk.tag!r} in {disk.image.path} is gone or another's, and is left alone"
