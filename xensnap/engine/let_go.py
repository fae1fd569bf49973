"""Snapshots whose records are taken away while all that they told of stays, and having them back. Pure.

Nobody protects from then on what such a snapshot holds: it is left to whoever wanted it so. The state of the domain
keeps the record's last words, so that `doctor` can tell of it and `adopt` can take it back as long as it is true.
"""

from collections.abc import Collection, Iterator

import msgspec
from msgspec.structs import replace

from xensnap.engine import flags, risks, tree
from xensnap.engine.create import against_name
from xensnap.engine.delete import against_pin, asked_for, reparented
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.request import AdoptRequest, DeleteRequest, Fresh
from xensnap.engine.rewrite import rewritten
from xensnap.engine.store_steps import RemoveRecord, fingerprint
from xensnap.engine.view import View, missing_below
from xensnap.errors import Reason
from xensnap.model import Fingerprint, Kind, Snapshot


def plan_letting_go(view: View, request: DeleteRequest, fresh: Fresh) -> Plan:
    """Plan to take records away, and to leave tags, images and memory alone.

    Args:
        view: what was observed.
        request: which snapshots, and the risks that are taken.
        fresh: operation id and time.

    Raises:
        NotFound: no such snapshot.
        Refused: one is pinned. Nothing was touched.
        Usage: it does not say which, or says it twice.
    """
    names, reasons = asked_for(view, request, fresh)
    gone = {name: view.snapshots[name] for name in view.snapshots if name in names}
    against = [*reasons, *(reason for snapshot in gone.values() for reason in against_pin(snapshot, fresh.now_s))]
    taken = risks.refuse(against, request.accept)
    others = tuple(each for each in view.state.let_go if each.name not in gone)
    what = ", ".join(map(repr, gone))
    return plan_for(
        view,
        fresh.operation,
        "delete",
        f"take away the record{'s' if len(gone) > 1 else ''} of {what} of {view.domain.name}",
        snapshot=request.name,
        state=msgspec.structs.replace(
            view.state,
            current=tree.surviving_ancestor(view.snapshots, view.state.current, frozenset(gone)),
            let_go=(*others, *gone.values()),
        ),
        finish=(*rewritten(reparented(view, frozenset(gone))), *(RemoveRecord(name) for name in gone)),
        taken=taken,
        warnings=tuple(text for snapshot in gone.values() for text in _told(view, snapshot)),
    )


def plan_taking_back(view: View, request: AdoptRequest, fresh: Fresh) -> Plan:
    """Plan to have the record of a snapshot back that was let go, below its parent if that is there.

    Raises:
        Refused: something that it told of is not what it was; what an image holds is a risk that can be taken.
    """
    snapshot = known(view, request.name)
    assert snapshot is not None, "planned only for one that was let go"
    memory_lost = bool(snapshot.memory) and snapshot.memory not in view.taken
    taken = risks.refuse([*against_name(view, snapshot.name), *against(view, snapshot)], request.accept)
    disks = tuple(replace(disk, fingerprint=Fingerprint()) for disk in snapshot.disks) if taken.ids else snapshot.disks
    parent = snapshot.parent if snapshot.parent in view.snapshots else None
    back = replace(snapshot, disks=disks, parent=parent, memory="" if memory_lost else snapshot.memory)
    return plan_for(
        view,
        fresh.operation,
        "adopt",
        f"adopt snapshot {snapshot.name!r} of {view.domain.name}, whose record was taken away",
        snapshot=snapshot.name,
        state=msgspec.structs.replace(view.state, let_go=_without(view, {snapshot.name})),
        finish=rewritten([back]),
        taken=taken,
        warnings=(f"its memory, {snapshot.memory}, is gone: only its disks are taken back",) if memory_lost else (),
    )


def known(view: View, name: str) -> Snapshot | None:
    """What the record said of a snapshot of this name that was let go."""
    return next((each for each in view.state.let_go if each.name == name), None)


def against(view: View, snapshot: Snapshot) -> Iterator[Reason]:
    """All of what a snapshot holds that is not what its record told.

    An overlay whose images were brought to another directory since is told of without what it was: each copy was
    compared when it was made.
    """
    for disk in snapshot.disks:
        image = view.images.get(disk.image.path)
        if image is None or missing_below(view, image) or (disk.tag and len(image.tagged(disk.tag)) != 1):
            cause = f"{disk.vdev}: what {snapshot.name!r} holds in {disk.image.path} is not there, or not only once"
            yield Reason("image-missing", cause, "Put the image back.")
        elif disk.fingerprint != Fingerprint() and fingerprint(disk, image) != disk.fingerprint:
            cause = f"{disk.vdev}: what {disk.image.path} holds is not what {snapshot.name!r} left there"
            yield Reason("image-changed", cause, "Look at the image with qemu-img first.")


def _without(view: View, names: Collection[str]) -> tuple[Snapshot, ...]:
    return tuple(each for each in view.state.let_go if each.name not in names)


def _told(view: View, snapshot: Snapshot) -> Iterator[str]:
    """What nobody knows of, or protects, from then on."""
    for disk in snapshot.disks:
        kept = f"the tag {disk.tag!r} in" if disk.kind is Kind.INTERNAL else "what was frozen in"
        flag = ", and its immutable flag," if disk.kind is Kind.EXTERNAL and flags.elsewhere(view) else ""
        yield f"{disk.vdev}: {kept} {disk.image.path}{flag} stays, and nothing protects it any more"
    if snapshot.memory:
        yield f"the memory in {snapshot.memory} stays, and nothing protects it any more"
    yield f"`xensnap adopt {view.domain.name} {snapshot.name}` takes it back, as long as all of that is what it is"
