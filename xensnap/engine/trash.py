"""Snapshots that were thrown away and can be had back: their records are aside, and all that they hold stays. Pure.

    forget    the record goes into the trash; nobody merges, removes or writes over what the snapshot holds
    restore   the record comes back, if everything it holds is still what it was
    empty     the snapshot is deleted at last, and gives its space back

So taking something back never needs what is not there any more, and the price is that space comes back only when the
trash is emptied.
"""

from collections.abc import Iterable, Iterator

from msgspec.structs import replace

from xensnap.engine import risks, tree
from xensnap.engine.create import against_name
from xensnap.engine.delete import against_pin, plan_removal
from xensnap.engine.overlay_steps import RemoveImage
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.request import EmptyRequest, ForgetRequest, Fresh, RestoreRequest, RevertRequest
from xensnap.engine.revert import find, plan_revert
from xensnap.engine.rewrite import rewritten
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
    taken = risks.refuse([*against_pin(snapshot, fresh.now_s)], request.accept)
    above = tree.parent(view.snapshots, request.name)
    children = [replace(each, parent=above) for each in view.snapshots.values() if each.parent == request.name]
    current = above if view.state.current == request.name else view.state.current
    return plan_for(
        view,
        fresh.operation,
        "forget",
        f"forget snapshot {request.name!r} of {view.domain.name}",
        snapshot=request.name,
        state=replace(view.state, current=current),
        finish=(
            ThrowAway(Trashed(fresh.now_s, snapshot)),
            *rewritten(children),
            RemoveRecord(request.name),
        ),
        taken=taken,
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
    return plan_for(
        view,
        fresh.operation,
        "restore",
        f"restore snapshot {request.name!r} of {view.domain.name}",
        snapshot=request.name,
        finish=(*rewritten([replace(trashed.snapshot, parent=parent)]), RemoveTrashed(request.name)),
    )


def plan_going_back(view: View, request: RevertRequest, fresh: Fresh) -> Plan:
    """Plan to revert to a snapshot in the trash, which comes back from there, below its parent if that is there.

    Raises:
        NotFound: none of that name is in the trash.
        Refused: as a revert. Nothing was touched.
    """
    trashed = in_trash(view, request.name)
    parent = trashed.snapshot.parent if trashed.snapshot.parent in view.snapshots else None
    back = replace(trashed.snapshot, parent=parent)
    left = {name: each for name, each in view.trashed.items() if name != request.name}
    plan = plan_revert(replace(view, snapshots={**view.snapshots, back.name: back}, trashed=left), request, fresh)
    what = f"what the revert to {trashed.given_up_for!r} gave up" if trashed.given_up_for else repr(request.name)
    return replace(
        plan,
        summary=f"revert {view.domain.name} to {what}, from the trash",
        observed=digest(view),
        finish=(*rewritten([back]), RemoveTrashed(back.name), *plan.finish),
    )


def plan_empty(view: View, request: EmptyRequest, fresh: Fresh) -> Plan:
    """Plan to delete what is in the trash. What a snapshot there holds goes, or becomes a hidden base.

    Raises:
        NotFound: one of the names is not in the trash.
        Refused: as a deletion, or `nothing-to-empty`. Nothing was touched.
    """
    old = tuple(each for each in view.state.parked if each.path in request.names)
    names = tuple(name for name in request.names if name not in {each.path for each in old})
    back = {name: replace(in_trash(view, name).snapshot, parent=None) for name in names}
    cause = f"nothing of {view.domain.name} is in the trash that this speaks of"
    nothing = [] if request.names else [Reason("nothing-to-empty", cause, "`xensnap trash list` shows what is there.")]
    left = {name: each for name, each in view.trashed.items() if name not in names}
    with_them = replace(view, snapshots={**view.snapshots, **back}, trashed=left)
    plan = plan_removal(with_them, names, fresh, accept=request.accept, reasons=nothing, verb="empty")
    return replace(
        plan,
        summary=f"delete {', '.join(map(repr, request.names))} of {view.domain.name} from the trash",
        snapshot=names[0] if len(request.names) == len(names) == 1 else "",
        observed=digest(view),
        state=replace(
            plan.state,
            current=view.state.current,
            parked=tuple(each for each in plan.state.parked if each not in old),
        ),
        finish=(
            *plan.finish,
            *(RemoveTrashed(name) for name in names),
            *(RemoveImage("", each.layer, each.inode, each.generation) for each in old),
        ),
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
