"""Planning a revert. Pure. What the domain was since its last snapshot goes into the trash; every snapshot stays."""

from collections.abc import Iterator, Sequence

import msgspec

from xensnap.engine import configurations, disks, elsewhere, flags, given_up, live, names, risks, settings, space, tree
from xensnap.engine.configuration_steps import ConfigurationOf, Configure
from xensnap.engine.context import directory
from xensnap.engine.create import against_name, against_running, needed, overlay_on
from xensnap.engine.flag_steps import Freeze
from xensnap.engine.names import SAFETY
from xensnap.engine.overlay_steps import LayerOf, MakeOverlay, RemoveImage, SwitchLayers
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.point_steps import ApplyPoint, DropSafety, TakePoint
from xensnap.engine.request import CreateRequest, Fresh, RevertRequest
from xensnap.engine.state import OurFile
from xensnap.engine.steps import OneStep, Step, Together
from xensnap.engine.store_steps import fingerprint
from xensnap.engine.view import View, missing_below
from xensnap.errors import Reason
from xensnap.model import Disk, DiskSnapshot, Format, Image, Kind, Layer, Snapshot


def plan_revert(view: View, request: RevertRequest, fresh: Fresh) -> Plan:
    """Plan a revert.

    Internal disks get a safety point first, so that a failure at any disk can put all of them back. External disks go
    on with a new overlay on the frozen image, so chains never grow by reverting. Overlays that are left and safety
    points are what `undo` goes back to, until the next revert.

    Args:
        view: what was observed.
        request: which snapshot.
        fresh: operation id and time.

    Raises:
        NotFound: no such snapshot.
        Refused: with every reason against it. Nothing was touched.
    """
    snapshot = _wanted(find(view, request.name), request)
    reasons = [*against_running(view), *_against_choice(view, request)]
    for disk in snapshot.disks:
        reasons.extend(_against(view, disk))
    reasons.extend(live.against_revert(view, snapshot))
    reasons.extend(configurations.against(view, snapshot, request))
    needs = (*space.for_revert(view, snapshot, live.safety_file(view, fresh)), *_saved_first(view, request, fresh))
    reasons.extend(space.against(view, needs))
    if request.save_current:
        reasons.extend(against_name(view, request.save_current))
    taken = risks.refuse(reasons, request.accept)

    keeping = given_up.keep(view, snapshot, request, fresh)
    safety = keeping.trashed.snapshot.name if keeping else f"{SAFETY}{fresh.operation[-12:]}"
    internal = [disk for disk in snapshot.disks if disk.kind is Kind.INTERNAL]
    overlays = [_overlay(view, disk, fresh) for disk in snapshot.disks if disk.kind is Kind.EXTERNAL]
    left = [] if keeping else [removal for overlay in overlays for removal in _leave_behind(view, overlay.vdev)]
    gone = {removal.layer.path for removal in left}
    drops = () if keeping else together([DropSafety(disk.vdev, disk.image.path, safety) for disk in internal])
    return plan_for(
        view,
        fresh.operation,
        "revert",
        f"revert {view.domain.name} to snapshot {snapshot.name!r}",
        snapshot=snapshot.name,
        bytes_needed=space.bytes_of(needs),
        prepare=(
            *live.leave(view, fresh),
            *_configure(view, configurations.after_revert(view, snapshot, request), request),
            *together([*overlays, *(TakePoint(disk.vdev, disk.image.path, safety) for disk in internal)]),
            *together([_apply(disk, safety) for disk in internal]),
            *_switch(view, overlays),
            *live.come_back(
                view,
                snapshot,
                fresh,
                {overlay.vdev: overlay.layer for overlay in overlays},
                configurations.with_memory(view, snapshot, request),
            ),
        ),
        state=msgspec.structs.replace(
            view.state,
            current=view.state.current if request.only else snapshot.name,
            ours=(
                *(entry for entry in view.state.ours if entry.path not in gone),
                *(OurFile(overlay.path, "overlay") for overlay in overlays),
            ),
        ),
        renamed=configurations.name_after(view, snapshot, request),
        finish=(
            *((keeping,) if keeping else ()),
            *together([*_frozen(view, overlays)] if keeping else []),
            *_go_on(view, request, fresh, snapshot=snapshot, drops=drops),
            *together(left),
        ),
        taken=taken,
        warnings=(
            *flags.advice(view, {overlay.vdev: overlay.layer for overlay in overlays}),
            *configurations.told(view, snapshot, request),
            *_warnings(view, find(view, request.name), [] if keeping else overlays, gone),
            *elsewhere.on_revert(snapshot, view.configuration, fresh.now_s),
            *live.lost_in_leaving(view, fresh),
            *_told(view, snapshot, request),
        ),
    )


def _saved_first(view: View, request: RevertRequest, fresh: Fresh) -> tuple[space.Need, ...]:
    """What the snapshot takes of what is given up: the revert must not begin where only that has room."""
    return needed(view, CreateRequest(request.save_current), fresh) if request.save_current else ()


def _go_on(
    view: View, request: RevertRequest, fresh: Fresh, *, snapshot: Snapshot, drops: tuple[Step, ...]
) -> tuple[Step, ...]:
    """What the guest does, and the end of the safety points: under a guest that was restored only once it runs."""
    going = live.go_on(view, snapshot, request.then, fresh)
    return (*going, *drops) if snapshot.memory else (*drops, *going)


def _wanted(snapshot: Snapshot, request: RevertRequest) -> Snapshot:
    """As much of the snapshot as is asked for. Old memory over other disks than its own would destroy them."""
    if not request.disks_only and not request.only:
        return snapshot
    disks = tuple(disk for disk in snapshot.disks if not request.only or disk.vdev in request.only)
    return msgspec.structs.replace(snapshot, memory="", disks=disks)


def _against_choice(view: View, request: RevertRequest) -> Iterator[Reason]:
    snapshot = find(view, request.name)
    there = ", ".join(disk.vdev for disk in snapshot.disks)
    for vdev in request.only:
        if snapshot.disk(vdev) is None:
            yield Reason("disk-not-in-snapshot", f"{snapshot.name!r} does not cover {vdev}", f"It covers: {there}.")


def _told(view: View, snapshot: Snapshot, request: RevertRequest) -> Iterator[str]:
    if not request.no_undo and not request.save_current and (why := given_up.why_not(view, snapshot)):
        yield f"what is given up cannot be had back: {why}"
    if request.save_current:
        yield f"a snapshot {request.save_current!r} of what there is now is taken first, by a plan of its own"
    if request.only:
        yield "the domain stays at the snapshot that it is at, since other disks are not reverted"


def find(view: View, name: str) -> Snapshot:
    """The snapshot of this name, or `NotFound` naming those there are."""
    return tree.known(view.snapshots, name, domain=view.domain.name)


def together(steps: Sequence[OneStep]) -> tuple[Step, ...]:
    """These steps side by side; nothing where there are none."""
    return (Together(tuple(steps)),) if steps else ()


def _apply(disk: DiskSnapshot, safety: str) -> ApplyPoint:
    return ApplyPoint(disk.vdev, disk.image.path, disk.tag, disk.fingerprint.snapshot_id, safety)


def _overlay(view: View, disk: DiskSnapshot, fresh: Fresh) -> MakeOverlay:
    """A new overlay on the frozen image, in the directory of the one that the snapshot was left with."""
    image = _image(view, disk)
    place = directory(disk.overlay.path if disk.overlay else disk.image.path)
    path = names.overlay_file(disk.image.path, vdev=disk.vdev, operation=fresh.operation, directory=place)
    return overlay_on(path, image, disk.vdev)


def _image(view: View, disk: DiskSnapshot) -> Image:
    image = view.images[disk.image.path]
    assert image is not None, "planned after _against found it there"
    return image


def _configure(view: View, text: str, request: RevertRequest) -> tuple[Step, ...]:
    now = ConfigurationOf(view.configuration, view.domain.described_in)
    after = ConfigurationOf(text, request.config_file or now.file)
    if not text or (after.file == now.file and not settings.differing(now.text, text)):
        return ()
    return (Configure(now, after),)


def _switch(view: View, overlays: list[MakeOverlay]) -> tuple[Step, ...]:
    if not overlays:
        return ()
    after = tuple(LayerOf(overlay.vdev, Layer(overlay.path, Format.QCOW2)) for overlay in overlays)
    before = tuple(LayerOf(disk.vdev, disk.layer) for disk in map(view.domain.disk, (a.vdev for a in after)) if disk)
    return (SwitchLayers(view.domain.uuid, before, after, unwanted=True),)


def _leave_behind(view: View, vdev: str) -> Iterator[RemoveImage]:
    """The removal of the active layer that the domain leaves, if it may go."""
    left = given_up.left_behind(view, vdev)
    ours = view.state.made(left.layer.path) if left else None
    if left and ours:
        yield RemoveImage(vdev, left.layer, ours.inode, ours.generation)


def _frozen(view: View, overlays: list[MakeOverlay]) -> Iterator[Freeze]:
    """A start from the operator's own file, which may name what is left, must not write to what is kept."""
    for overlay in overlays if flags.elsewhere(view) else ():
        left = given_up.left_behind(view, overlay.vdev)
        assert left is not None, "kept, so it can be left"
        yield Freeze(left.layer.path, required=False)


def _against(view: View, disk: DiskSnapshot) -> Iterator[Reason]:
    """All that keeps this disk from going back."""
    vdev = disk.vdev
    now = view.domain.disk(vdev)
    if now is None:
        yield Reason("disk-gone", f"{view.domain.name} has no disk {vdev} any more", "Attach it again.")
        return
    yield from _against_moved(view, disk, now)
    yield from against_image(view, disk)
    image = view.images.get(disk.image.path)
    if image is not None and disk.kind is Kind.INTERNAL:
        yield from _against_internal(view, disk, image)


def against_image(view: View, disk: DiskSnapshot) -> Iterator[Reason]:
    """All that keeps what a snapshot holds of a disk from being had: its image is gone, or not what it was."""
    vdev, image = disk.vdev, view.images.get(disk.image.path)
    if image is None:
        yield Reason("image-missing", f"{vdev}: {disk.image.path} is not there or unreadable", "Put the image back.")
        return
    lost = missing_below(view, image)
    if lost:
        yield Reason(
            "image-missing",
            f"{vdev}: {lost}, which {disk.image.path} stands on, is not there or unreadable",
            "Put the image back.",
        )
    if fingerprint(disk, image) != disk.fingerprint:
        yield Reason(
            "image-changed",
            f"{vdev}: what {disk.image.path} holds is not what the snapshot left there",
            "Somebody else has worked on the image; look at it with `qemu-img info` before you do anything.",
        )


def _against_moved(view: View, disk: DiskSnapshot, now: Disk) -> Iterator[Reason]:
    chain = view.chain(disk.vdev)
    if disk.kind is Kind.INTERNAL and now.path != disk.image.path:
        yield Reason(
            "disk-changed",
            f"{disk.vdev} is {now.path} now, and the snapshot is in {disk.image.path}",
            f"Let the domain use {disk.image.path} again.",
        )
    if disk.kind is Kind.EXTERNAL and chain and chain.active.snapshots:
        tags = ", ".join(repr(entry.tag) for entry in chain.active.snapshots)
        yield Reason(
            "holds-snapshots",
            f"{disk.vdev}: {chain.active.layer.path}, which would be given up, holds internal snapshots: {tags}",
            "Delete them with qemu-img if nobody needs them.",
        )


def _against_internal(view: View, disk: DiskSnapshot, image: Image) -> Iterator[Reason]:
    vdev, path = disk.vdev, disk.image.path
    user = view.foreign.get(image.file)
    if user:
        yield Reason("image-shared", f"{vdev}: {path} is used by the domain {user}, too", "Detach it there.")
    if image.bitmaps:
        # qemu-img 7.2.22: "Device has active dirty bitmaps", the image unchanged
        yield Reason("has-bitmaps", f"{vdev}: {path} holds dirty bitmaps", "Remove them: qemu-img bitmap --remove.")
    if len(image.snapshots) + 1 > disks.TABLE_ENTRIES_MAX:
        yield Reason("table-full", f"{vdev}: {path} has no room for a safety point", "Delete some of its snapshots.")


def _warnings(view: View, snapshot: Snapshot, overlays: list[MakeOverlay], gone: set[str]) -> Iterator[str]:
    for disk in view.domain.disks:
        if snapshot.disk(disk.vdev) is None and not disk.cdrom and not disk.readonly and disk.path:
            yield f"{disk.vdev} is not in the snapshot and stays as it is"
    for overlay in overlays:
        chain = view.chain(overlay.vdev)
        if chain and chain.active.layer.path not in gone:
            user = view.reached.get(chain.active.file)
            why = f"the domain {user} needs it" if user else "it is not ours to remove"
            yield f"{overlay.vdev}: {chain.active.layer.path} is left alone, since {why}"
