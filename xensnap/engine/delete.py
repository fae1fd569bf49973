"""Planning a deletion. Pure. What the deleted snapshots shared with others is left to `collect`."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from xensnap.engine import given_up, risks, tree
from xensnap.engine.context import directory
from xensnap.engine.create import against_running, sidecar_paths
from xensnap.engine.live_steps import RemoveMemory
from xensnap.engine.opened import against_opened
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.point_steps import DropPoint
from xensnap.engine.request import DeleteRequest, Fresh
from xensnap.engine.revert import find
from xensnap.engine.rewrite import rewritten
from xensnap.engine.state import HiddenBase
from xensnap.engine.steps import Step, Together
from xensnap.engine.store_steps import RemoveRecord, RemoveSidecar, fingerprint
from xensnap.engine.trash_steps import RemoveTrashed
from xensnap.engine.view import View
from xensnap.errors import Reason, Usage
from xensnap.formats.trashed import Trashed
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
        Usage: it does not say which, or says it twice.
    """
    names, reasons = asked_for(view, request, fresh)
    return plan_removal(view, names, fresh, accept=request.accept, reasons=reasons, verb="delete", about=request.name)


def plan_removal(
    view: View,
    names: Collection[str],
    fresh: Fresh,
    *,
    accept: tuple[str, ...],
    verb: str,
    reasons: Sequence[Reason] = (),
    about: str = "",
) -> Plan:
    """The plan to remove these snapshots, whoever asked for it. `reasons` are those against it that are known."""
    gone = {name: view.snapshots[name] for _, name in reversed(list(tree.walk(view.snapshots))) if name in names}
    yielding = {name: view.trashed[name] for name in _yielding(view, tuple(gone.values()))}
    all_gone = (*gone.values(), *(each.snapshot for each in yielding.values()))
    against = [*reasons, *against_running(view)]
    for snapshot in gone.values():
        against.extend(against_pin(snapshot, fresh.now_s))
        for disk in snapshot.disks:
            against.extend(_against(view, disk))
    against.extend(against_opened(view, _with_tags_in_use(view, all_gone)))
    taken = risks.refuse(against, accept)

    moved = reparented(view, frozenset(gone))
    sidecars = [RemoveSidecar(path, s.name, s.domain_uuid) for s in gone.values() for path in sidecar_paths(s)]
    memories = tuple(_remove_memory(view, snapshot) for snapshot in gone.values() if snapshot.memory)
    removed_paths = {step.path for step in sidecars} | {step.memory for step in memories if step}
    what = ", ".join(repr(name) for name in gone)
    return plan_for(
        view,
        fresh.operation,
        verb,
        f"{verb} {'snapshots' if len(gone) > 1 else 'snapshot'} {what} of {view.domain.name}",
        snapshot=about,
        state=msgspec.structs.replace(
            view.state,
            current=tree.surviving_ancestor(view.snapshots, view.state.current, frozenset(gone)),
            ours=tuple(entry for entry in view.state.ours if entry.path not in removed_paths),
            hidden=tuple(sorted({*view.state.hidden, *_newly_hidden(all_gone)})),
        ),
        finish=(
            *rewritten(moved),
            *(RemoveRecord(name) for name in gone),
            *(RemoveTrashed(name) for name in yielding),
            *sidecars,
            *filter(None, memories),
            *_drop_points(view, all_gone),
        ),
        taken=taken,
        warnings=(*_warnings(view, tuple(gone.values())), *_told(yielding)),
    )


def _yielding(view: View, gone: tuple[Snapshot, ...]) -> Iterator[str]:
    """What was given up and goes, too; not where that is what cannot be done now."""
    for name in given_up.yielding(view, gone):
        snapshot = view.trashed[name].snapshot
        against = [*against_opened(view, _with_tags_in_use(view, [snapshot]))]
        for disk in snapshot.disks:
            against.extend(_against(view, disk))
        if not against:
            yield name


def asked_for(view: View, request: DeleteRequest, fresh: Fresh) -> tuple[frozenset[str], list[Reason]]:
    """Which snapshots are meant, and what is wrong with that."""
    ways = [request.name != "", request.every, request.older_than_s is not None or request.keep_last is not None]
    if sum(ways) != 1:
        cause = "it is not clear which snapshots are to be deleted"
        remedy = "Name one, or say --all, or --older-than and --keep-last."
        raise Usage(cause, id="which-snapshots", remedy=remedy)
    if request.name:
        find(view, request.name)
        below = tree.descendants(view.snapshots, request.name) if request.children or request.children_only else ()
        names = frozenset(below) if request.children_only else frozenset((*below, request.name))
        cause = f"{request.name!r} has no snapshots below it"
        none_below = Reason("no-children", cause, "Delete the snapshot itself, without --children-only.")
        return names, [] if names else [none_below]
    names = frozenset(view.snapshots) if request.every else _old(view, request, fresh.now_s)
    cause = f"{view.domain.name} has no snapshot that this speaks of"
    nothing = Reason("nothing-to-delete", cause, "`xensnap list` shows the snapshots there are.")
    return names, [] if names else [nothing]


def _old(view: View, request: DeleteRequest, now_s: int) -> frozenset[str]:
    newest_first = list(view.snapshots.values())[::-1]
    before_s = now_s - (request.older_than_s or 0)
    return frozenset(
        snapshot.name
        for snapshot in newest_first[request.keep_last or 0 :]
        if (request.older_than_s is None or snapshot.creation_time_s < before_s)
        and not (snapshot.pin and snapshot.pin.holds(now_s))
    )


def against_pin(snapshot: Snapshot, now_s: int) -> Iterator[Reason]:
    """A pin that keeps a snapshot from going; a risk that can be taken."""
    pin = snapshot.pin
    if pin is not None and pin.holds(now_s):
        why = f": {pin.why}" if pin.why else ""
        cause = f"{snapshot.name!r} is pinned by {pin.owner}{why}"
        yield Reason("pinned", cause, f"Unpin it: xensnap unpin {snapshot.domain_name} {snapshot.name}.")


def reparented(view: View, gone: frozenset[str]) -> tuple[Snapshot, ...]:
    """The children that lose their parent, with the nearest ancestor that stays."""
    return tuple(
        replace(snapshot, parent=tree.surviving_ancestor(view.snapshots, snapshot.parent, gone))
        for snapshot in view.snapshots.values()
        if snapshot.name not in gone and snapshot.parent in gone
    )


def _remove_memory(view: View, snapshot: Snapshot) -> RemoveMemory | None:
    """The removal of its memory: a file in the store, or one elsewhere that the ledger says we have made."""
    if directory(snapshot.memory) == f"{view.root}/{view.domain.uuid}":
        return RemoveMemory(snapshot.memory)
    ours = view.state.made(snapshot.memory)
    return RemoveMemory(snapshot.memory, ours.inode, ours.generation) if ours and ours.inode else None


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


def _told(yielding: Mapping[str, Trashed]) -> Iterator[str]:
    for name, each in yielding.items():
        yield f"what the revert to {each.given_up_for!r} gave up, {name!r} in the trash, cannot be had back any more"


def _warnings(view: View, gone: tuple[Snapshot, ...]) -> Iterator[str]:
    for snapshot in gone:
        if snapshot.memory and _remove_memory(view, snapshot) is None:
            yield f"{snapshot.memory} of {snapshot.name!r} is not ours, and is left alone"
        for disk in snapshot.disks:
            if view.images.get(disk.image.path) is None:
                yield f"{disk.vdev}: {disk.image.path} of {snapshot.name!r} is not there or unreadable"
            elif disk.kind is Kind.INTERNAL and not _is_there(view, disk):
                yield f"{disk.vdev}: tag {disk.tag!r} in {disk.image.path} is gone or another's, and is left alone"
