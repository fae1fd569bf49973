"""Planning to record snapshots that others have made, or whose records were lost. Pure; no image is touched.

What is told of a snapshot is held to what is in the images: a tag must be there once, an overlay must be in the chain
of its disk. Memory is never taken over, because nothing proves that it belongs to these disks, and old memory over
other disks destroys what is on them.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from xensnap.engine.create import against_name, sidecar_paths
from xensnap.engine.disks import sticky_kind
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.request import Fresh, RedefineRequest, Told, ToldDisk
from xensnap.engine.state import OurFile
from xensnap.engine.store_steps import WriteRecord, WriteSidecar, fingerprint
from xensnap.engine.view import DiskView, View
from xensnap.errors import ExitCode, Reason, Refused
from xensnap.formats.device_disk import same_device
from xensnap.model import Consistency, DiskSnapshot, Excluded, Image, Kind, RunState, Snapshot


def plan_redefine(view: View, request: RedefineRequest, fresh: Fresh) -> Plan:
    """Plan to record snapshots that exist already. Their order does not matter.

    Args:
        view: what was observed.
        request: what is told of them.
        fresh: operation id and time.

    Raises:
        Refused: with every reason against it. Nothing was touched.
    """
    names = [told.name for told in request.told]
    reasons = [*_against_names(view, names), *_against_parents(request.told)]
    found: list[Snapshot] = []
    for told in request.told:
        disks, against = _disks(view, told)
        reasons.extend(against)
        found.append(_snapshot(view, told, disks, fresh, frozenset(names)))
    reasons.extend(_against_sharing(view, found))
    reasons.extend(_against_mixing(view, found))
    if reasons:
        raise Refused(reasons)
    sidecars = [(path, snapshot) for snapshot in found for path in sidecar_paths(snapshot)]
    active = next((told.name for told in request.told if told.active), view.state.current)
    known = {entry.path for entry in view.state.ours}
    return plan_for(
        view,
        fresh.operation,
        "redefine",
        f"record {_what(names)} of {view.domain.name}",
        snapshot=names[0] if len(names) == 1 else "",
        prepare=(
            *(WriteRecord(snapshot) for snapshot in found),
            *(WriteSidecar(path, snapshot) for path, snapshot in sidecars),
        ),
        state=msgspec.structs.replace(
            view.state,
            current=active,
            ours=(*view.state.ours, *(OurFile(path, "sidecar") for path, _ in sidecars if path not in known)),
        ),
        warnings=tuple(_warnings(view, request.told)),
    )


def _what(names: Sequence[str]) -> str:
    return f"the snapshot{'s' if len(names) > 1 else ''} {', '.join(map(repr, names))}"


def _against_names(view: View, names: Sequence[str]) -> Iterator[Reason]:
    for name in dict.fromkeys(names):
        yield from against_name(view, name)
        if names.count(name) > 1:
            remedy = "Tell of each snapshot once."
            yield Reason("told-twice", f"two of these snapshots are called {name!r}", remedy, ExitCode.USAGE)


def _against_parents(told: Iterable[Told]) -> Iterator[Reason]:
    """No snapshot may come from itself."""
    parents = {each.name: each.parent for each in told}
    for name, parent in parents.items():
        above, seen = parent, set[str]()
        while above in parents and above not in seen:
            seen.add(above)
            above = parents[above]
        if name in seen:
            remedy = "Correct the parents."
            yield Reason("parent-loop", f"{name!r} would be its own ancestor", remedy, ExitCode.USAGE)


def _disks(view: View, told: Told) -> tuple[tuple[DiskSnapshot, ...], list[Reason]]:
    """The disks of a snapshot, as they are in the images, and what was told of them that is not so."""
    found: list[DiskSnapshot] = []
    reasons: list[Reason] = []
    for each in told.disks:
        disk = _disk_view(view, each)
        got = _held(disk, each, told.name) if disk else _no_such_disk(view, each.disk)
        if isinstance(got, Reason):
            reasons.append(got)
        elif any(other.vdev == got.vdev for other in found):
            cause = f"{told.name!r} has {got.vdev} twice"
            reasons.append(Reason("told-twice", cause, "Tell of each disk once.", ExitCode.USAGE))
        else:
            found.append(got)
    if not told.disks:
        cause = f"{told.name!r} covers no disk"
        reasons.append(Reason("nothing-to-snapshot", cause, "A snapshot without disks holds nothing to go back to."))
    return tuple(found), reasons


def _disk_view(view: View, told: ToldDisk) -> DiskView | None:
    return next(
        (
            each
            for each in view.disks
            if same_device(each.disk.vdev, told.disk)
            or any(told.disk == image.layer.path for image in each.chain or ())
        ),
        None,
    )


def _held(disk: DiskView, told: ToldDisk, name: str) -> DiskSnapshot | Reason:
    """What an image of the disk's chain holds of the snapshot, or why that is not to be found."""
    vdev, images = disk.disk.vdev, tuple(disk.chain or ())
    if disk.problem:
        return disk.problem
    if told.kind is Kind.INTERNAL:
        holding = [image for image in images if image.tagged(told.tag)]
        if not holding:
            cause = f"{vdev}: no image of its chain has an internal snapshot {told.tag!r}"
            return Reason("no-such-tag", cause, "`qemu-img snapshot -l` shows which there are.")
        entries = holding[0].tagged(told.tag)
        if len(entries) > 1:
            cause = f"{vdev}: {holding[0].layer.path} has {len(entries)} snapshots with the tag {told.tag!r}"
            return Reason("tag-not-unique", cause, "Delete the others, or give them other names.")
        return _with_fingerprint(
            DiskSnapshot(vdev, Kind.INTERNAL, holding[0].layer, entries[0].disk_size_bytes, told.tag), holding[0]
        )
    for overlay, frozen in itertools.pairwise(images):
        if overlay.layer.path == told.overlay:
            size = frozen.virtual_size_bytes
            found = DiskSnapshot(vdev, Kind.EXTERNAL, frozen.layer, size, overlay=overlay.layer)
            return _with_fingerprint(found, frozen)
    cause = f"{vdev}: {told.overlay}, in which it went on after {name!r}, is no overlay in its chain"
    return Reason("no-such-overlay", cause, "`qemu-img info --backing-chain` shows the chain.")


def _with_fingerprint(disk: DiskSnapshot, image: Image) -> DiskSnapshot:
    return msgspec.structs.replace(disk, fingerprint=fingerprint(disk, image))


def _no_such_disk(view: View, disk: str) -> Reason:
    there = ", ".join(each.vdev for each in view.domain.disks) or "none"
    return Reason("no-such-disk", f"{view.domain.name} has no disk {disk}", f"Its disks are: {there}.")


def _snapshot(
    view: View, told: Told, disks: tuple[DiskSnapshot, ...], fresh: Fresh, others: frozenset[str]
) -> Snapshot:
    covered = {disk.vdev for disk in disks}
    return Snapshot(
        name=told.name,
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        creation_time_s=fresh.now_s if told.created_s is None else told.created_s,
        state=told.state,
        consistency=Consistency.CLEAN if told.state is RunState.OFF else Consistency.CRASH,
        disks=disks,
        parent=told.parent if told.parent in others or told.parent in view.snapshots else None,
        description=told.description,
        excluded=tuple(Excluded(d.vdev, "not told of") for d in view.domain.disks if d.vdev not in covered),
    )


def _against_sharing(view: View, found: Iterable[Snapshot]) -> Iterator[Reason]:
    """A tag and a frozen image belong to one snapshot: with it they go."""
    held = {_held_place(disk): name for name, snapshot in view.snapshots.items() for disk in snapshot.disks}
    for snapshot in found:
        for disk in snapshot.disks:
            owner = held.setdefault(_held_place(disk), snapshot.name)
            if owner != snapshot.name:
                cause = f"{disk.vdev}: what {snapshot.name!r} would hold in {disk.image.path} is held by {owner!r}"
                remedy = f"It is recorded already; rename or delete {owner!r} to call it something else."
                yield Reason("held-already", cause, remedy, ExitCode.BUSY)


def _held_place(disk: DiskSnapshot) -> tuple[str, str, str]:
    return disk.image.path, disk.fingerprint.snapshot_id, disk.overlay.path if disk.overlay else ""


def _against_mixing(view: View, found: Iterable[Snapshot]) -> Iterator[Reason]:
    """Along one chain the kind is one, or some snapshot could not be reverted to or deleted."""
    kinds: dict[str, set[Kind]] = {}
    for snapshot in found:
        for disk in snapshot.disks:
            kinds.setdefault(disk.vdev, set()).add(disk.kind)
    for vdev, told in kinds.items():
        sticky = sticky_kind(view, vdev)
        if len(told | {sticky} - {None}) > 1:
            cause = f"{vdev} would have internal and external snapshots along one chain"
            yield Reason("kind-is-sticky", cause, "Record those of one kind; merge or delete the others first.")


def _warnings(view: View, told: Iterable[Told]) -> Iterator[str]:
    told = tuple(told)
    names = {each.name for each in told}
    for each in told:
        if each.memory:
            yield f"the memory of {each.name!r} is not taken over, only its disks"
        if each.parent is not None and each.parent not in names and each.parent not in view.snapshots:
            yield f"{each.parent!r}, the parent of {each.name!r}, is not known: it becomes a root"
