"""Snapshots that were thrown away and can be had back: their records are aside, and all that they hold stays. Pure.

    forget    the record goes into the trash; nobody merges, removes or writes over what the snapshot holds
    restore   the record comes back, if everything it holds is still what it was
    empty     the snapshot is deleted at last, and gives its space back

So taking something back never needs what is not there any more, and the price is that space comes back only when the
trash is emptied.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec.structs import replace

from xensnap.engine import risks, tree
from xensnap.engine.create import against_name
from xensnap.engine.delete import against_pin, plan_removal
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.relocate_steps import RemoveParked
from xensnap.engine.request import EmptyRequest, ForgetRequest, Fresh, RestoreRequest
from xensnap.engine.revert import find
from xensnap.engine.rewrite import rewritten
from xensnap.engine.state import Parked
from xensnap.engine.store_steps import RemoveRecord, fingerprint
from xensnap.engine.trash_steps import RemoveTrashed, ThrowAway
from xensnap.engine.view import View, digest, missing_below
from xensnap.errors import NotFound, Reason, Refused
from xensnap.formats.trashed import Trashed
from xensnap.model import Kind, Snapshot


def plan_forget(view: View, request: ForgetRequest, fresh: Fresh) -> Plan:
    """Plan to throw a snapshot away so that it can be had back. Those that come from it come from its parent then.

    Args:
        view: what was observed.
        request: which, and the risks that are taken.
        fresh: operation id and time.

    Raises:
        NotFound: no such snapshot.
        Refused: it is pinned. Nothing was touched.
    """
    snapshot = find(view, request.name)
    accepted = risks.refuse([*against_pin(snapshot, fresh.now_s)], request.accept)
    above = tree.parent(view.snapshots, request.name)
    children = [replace(each, parent=above) for each in view.snapshots.values() if each.parent == request.name]
    current = above if view.state.current == request.name else view.state.current
    return msgspec.structs.replace(
        _plan(view, fresh, "forget", request.name),
        state=msgspec.structs.replace(view.state, current=current, operation=fresh.operation),
        finish=(
            ThrowAway(Trashed(fresh.now_s, snapshot)),
            *rewritten(children),
            RemoveRecord(request.name),
        ),
        warnings=accepted,
    )


def plan_restore(view: View, request: RestoreRequest, fresh: Fresh) -> Plan:
    """Plan to have a snapshot back from the trash, below its parent if that is there.

    Raises:
        NotFound: none of that name is in the trash.
        Refused: something it holds is not what it was, or its name is taken. Nothing was touched.
    """
    trashed = in_trash(view, request.name)
    without = replace(view, trashed={name: each for name, each in view.trashed.items() if name != request.name})
    reasons = [*against_name(without, request.name), *_against_holding(view, trashed.snapshot)]
    if reasons:
        raise Refused(reasons)
    parent = trashed.snapshot.parent if trashed.snapshot.parent in view.snapshots else None
    return msgspec.structs.replace(
        _plan(view, fresh, "restore", request.name),
        finish=(*rewritten([replace(trashed.snapshot, parent=parent)]), RemoveTrashed(request.name)),
    )


def plan_empty(view: View, request: EmptyRequest, fresh: Fresh) -> Plan:
    """Plan to delete a snapshot that is in the trash. What it holds goes, or becomes a hidden base.

    Raises:
        NotFound: none of that name is in the trash.
        Refused: as a deletion. Nothing was touched.
    """
    if old := next((each for each in view.state.parked if each.path == request.name), None):
        return _without(view, old, fresh)
    trashed = in_trash(view, request.name)
    back = replace(view, snapshots={**view.snapshots, request.name: replace(trashed.snapshot, parent=None)})
    plan = plan_removal(back, [request.name], fresh, accept=request.accept, verb="empty", about=request.name)
    return msgspec.structs.replace(
        plan,
        summary=f"delete {request.name!r} of {view.domain.name} from the trash",
        observed=digest(view),
        state=msgspec.structs.replace(plan.state, current=view.state.current),
        finish=(*plan.finish, RemoveTrashed(request.name)),
    )


def _without(view: View, old: Parked, fresh: Fresh) -> Plan:
    """Remove the old file of an image that was brought elsewhere."""
    left = tuple(each for each in view.state.parked if each != old)
    return msgspec.structs.replace(
        _plan(view, fresh, "empty", old.path),
        summary=f"remove {old.path} of {view.domain.name} from the trash",
        state=msgspec.structs.replace(view.state, operation=fresh.operation, parked=left),
        finish=(RemoveParked(old.path, old.inode),),
    )


def in_trash(view: View, name: str) -> Trashed:
    """The trashed snapshot of this name, or `NotFound` naming those there are."""
    if name in view.trashed:
        return view.trashed[name]
    there = ", ".join(map(repr, view.trashed)) or "none"
    cause = f"there is no snapshot {name!r} of {view.domain.name} in the trash"
    raise NotFound(cause, id="not-in-trash", remedy=f"In the trash are: {there}.")


def bytes_kept(view: View, snapshot: Snapshot) -> int:
    """Bytes that certainly come back when this is deleted: its memory, and frozen images that only it holds.

    What a tag keeps inside an image cannot be told without reading the image's tables.
    """
    images = [view.images.get(disk.image.path) for disk in snapshot.disks if disk.kind is Kind.EXTERNAL]
    return snapshot.memory_bytes + sum(image.allocated_bytes for image in images if image)


def needed_by_trash(view: View, paths: Iterable[str]) -> str:
    """The trashed snapshot that may need one of these images, or an image above them; empty if none does."""
    wanted = set(paths)
    for name, trashed in view.trashed.items():
        for disk in trashed.snapshot.disks:
            at, seen = disk.image.path, set[str]()
            while at not in seen:
                if at in wanted:
                    return name
                seen.add(at)
                image = view.images.get(at)
                if image is None or image.backing is None:
                    break
                at = image.backing.path
    return ""


def _plan(view: View, fresh: Fresh, verb: str, name: str) -> Plan:
    return plan_for(
        view,
        fresh.operation,
        verb,
        f"{verb} snapshot {name!r} of {view.domain.name}",
        snapshot=name,
    )


def _against_holding(view: View, snapshot: Snapshot) -> Iterator[Reason]:
    """All that is not as it was when the snapshot was thrown away."""
    for disk in snapshot.disks:
        image = view.images.get(disk.image.path)
        if image is None or missing_below(view, image):
            cause = f"{disk.vdev}: {disk.image.path}, or what it stands on, is not there or unreadable"
            yield Reason("image-missing", cause, "Put the image back.")
        elif fingerprint(disk, image) != disk.fingerprint:
            cause = f"{disk.vdev}: what {disk.image.path} holds is not what the snapshot left there"
            yield Reason("image-changed", cause, "Somebody else has worked on the image; look at it first.")
