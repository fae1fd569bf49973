"""Planning to bring the images of a disk to another directory. Pure.

    copies   of every image of the disk, byte for byte, compared, and each stood on the copy of what it stood on
    switch   the domain starts from the copy of its active layer
    decision
    records  tell the new places; the old files are parked under names that nobody takes them by

Nothing old is written to, so until the decision everything can be put back; and after it the trash still has it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from xensnap.engine import flags, names, space
from xensnap.engine.context import directory
from xensnap.engine.create import sidecar_paths
from xensnap.engine.flag_steps import Freeze, Thaw
from xensnap.engine.overlay_steps import LayerOf, Reback, SwitchLayers
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.relocate_steps import PARKED, CopyImage, Park
from xensnap.engine.request import Fresh, RelocateRequest
from xensnap.engine.rewrite import rewritten
from xensnap.engine.state import DomainState, OurFile, Parked
from xensnap.engine.steps import Step
from xensnap.engine.store_steps import RemoveSidecar, WriteSidecar, fingerprint
from xensnap.engine.trash_steps import ThrowAway
from xensnap.engine.view import View, missing_below
from xensnap.errors import NotFound, Reason, Refused
from xensnap.model import Backing, DiskSnapshot, Fingerprint, Image, Kind, Layer, RunState, Snapshot


def plan_relocation(view: View, request: RelocateRequest, fresh: Fresh) -> Plan:
    """Plan to bring all images of one disk to a directory, those of its snapshots included.

    Args:
        view: what was observed.
        request: which disk, and where to.
        fresh: operation id and time.

    Raises:
        NotFound: the domain has no such disk.
        Refused: with every reason against it. Nothing was touched.
    """
    disk = view.domain.disk(request.vdev)
    if disk is None:
        there = ", ".join(each.vdev for each in view.domain.disks) or "none"
        raise NotFound(f"{view.domain.name} has no disk {request.vdev}", id="no-such-disk", remedy=f"It has: {there}.")
    images = {path: image for path, image in _images(view, request.vdev).items() if directory(path) != request.to}
    moved = {path: f"{request.to}/{path.rpartition('/')[2]}" for path in images}
    needs = [space.Need(request.to, image.allocated_bytes, path) for path, image in images.items()]
    reasons = [*_against(view, request, images, moved), *space.against(view, needs)]
    if reasons:
        raise Refused(reasons)

    links = tuple(_links(view, request.vdev, moved))
    other = moved.keys() | {link.layer.path for link in links}
    told = [(snapshot, _elsewhere(snapshot, moved, other)) for snapshot in _all(view)]
    touched = [after for before, after in told if before != after]
    let_go = tuple(_elsewhere(snapshot, moved, other) for snapshot in view.state.let_go)
    known = [each for each in zip(view.state.let_go, let_go, strict=True) if _has_copies(view, each[0])]
    copied = [*told, *known]
    old_copies = [(path, before) for before, after in copied if before != after for path in sidecar_paths(before)]
    new_copies = {path for _, after in copied for path in sidecar_paths(after)}
    gone = [RemoveSidecar(path, s.name, s.domain_uuid) for path, s in old_copies if path not in new_copies]
    frozen = sorted(view.frozen(request.vdev)) if flags.elsewhere(view) else []
    active = Layer(moved.get(disk.path, disk.path), disk.format)
    switch = (SwitchLayers(view.domain.uuid, (LayerOf(disk.vdev, disk.layer),), (LayerOf(disk.vdev, active),)),)
    parked = tuple(
        Parked(
            f"{path}{PARKED}{fresh.operation[-12:]}",
            image.file.inode,
            fresh.now_s,
            image.allocated_bytes,
            image.layer.format,
            view.generations.get(path, 0),
        )
        for path, image in images.items()
    )
    return plan_for(
        view,
        fresh.operation,
        "relocate",
        f"bring the images of {request.vdev} of {view.domain.name} to {request.to}",
        bytes_needed=space.bytes_of(needs),
        prepare=(
            *(CopyImage(request.vdev, image.layer, moved[path]) for path, image in images.items()),
            *(Thaw(path) for path in frozen if path not in moved),
            *links,
            *(switch if disk.path in moved else ()),
        ),
        state=replace(_state(view, moved, {step.path for step in gone}, new_copies, parked), let_go=let_go),
        finish=(
            *rewritten(snapshot for snapshot in touched if snapshot.name in view.snapshots),
            *_thrown_away_elsewhere(view, touched),
            *(WriteSidecar(path, after) for old, after in known if old != after for path in sidecar_paths(after)),
            *gone,
            *(Thaw(path) for path in frozen if path in moved),
            *(Freeze(moved.get(path, path), required=False) for path in frozen),
            *(
                Park(request.vdev, image.layer, old.inode, old.path, old.generation)
                for image, old in zip(images.values(), parked, strict=True)
            ),
        ),
        warnings=flags.advice(view, {disk.vdev: active} if disk.path in moved else {}),
    )


def _all(view: View) -> tuple[Snapshot, ...]:
    """The snapshots, and those in the trash, which go with them. No name is in both."""
    return (*view.snapshots.values(), *(trashed.snapshot for trashed in view.trashed.values()))


def _has_copies(view: View, snapshot: Snapshot) -> bool:
    """Whether the copies of a record that was taken away are beside its images."""
    return all(view.state.made(path) for path in sidecar_paths(snapshot))


def _thrown_away_elsewhere(view: View, touched: Iterable[Snapshot]) -> Iterator[Step]:
    """The records in the trash written anew, with the copies beside their images."""
    for snapshot in touched:
        if snapshot.name in view.trashed:
            yield ThrowAway(replace(view.trashed[snapshot.name], snapshot=snapshot))
            yield from (WriteSidecar(path, snapshot) for path in sidecar_paths(snapshot))


def _images(view: View, vdev: str) -> dict[str, Image]:
    """Every image of the disk, whatever stands on one of them included; the bases first."""
    wanted = {disk.image.path for snapshot in _all(view) for disk in snapshot.disks if disk.vdev == vdev}
    chain = view.chain(vdev)
    wanted |= {image.layer.path for image in chain} if chain else set()
    wanted |= {base.path for base in view.state.hidden if base.vdev == vdev}
    below = {path: image.backing.path for path, image in view.images.items() if image and image.backing}
    while True:
        more = {below[path] for path in wanted & below.keys()} | {path for path in below if below[path] in wanted}
        if more <= wanted:
            break
        wanted |= more
    found = {path: image for path, image in view.images.items() if path in wanted and image is not None}
    return dict(sorted(found.items(), key=lambda item: (_depth(view, item[1]), item[0])))


def _depth(view: View, image: Image) -> int:
    depth, seen = 0, set[str]()
    while image.backing is not None and image.backing.path not in seen:
        seen.add(image.backing.path)
        below = view.images.get(image.backing.path)
        if below is None:
            break
        image, depth = below, depth + 1
    return depth


def _against(
    view: View, request: RelocateRequest, images: Mapping[str, Image], moved: Mapping[str, str]
) -> Iterator[Reason]:
    if view.domain.state is not RunState.OFF:
        cause = f"{view.domain.name} is {view.domain.state}, and its QEMU knows images by their names"
        yield Reason("domain-is-on", cause, "Shut it down first.")
    if request.to not in view.free_bytes:
        yield Reason("no-such-directory", f"there is no directory {request.to}", "Make it, or name another.")
    chain = view.chain(request.vdev)
    if chain is None:
        cause = f"{request.vdev}: its images cannot be read"
        yield Reason("image-missing", cause, "See `xensnap check`.")
    elif not images:
        cause = f"all images of {request.vdev} are in {request.to} already"
        yield Reason("nothing-to-relocate", cause, "Nothing has to be done.")
    for path, new in moved.items():
        if new in view.taken or list(moved.values()).count(new) > 1:
            yield Reason("image-exists", f"{new}, for {path}, exists already", "Choose another directory.")
        if path.startswith("/dev/"):
            yield Reason("no-file", f"{path} is a device, and not a file that could be copied", "Copy it by hand.")
        if images[path].file in view.reached:
            user = view.reached[images[path].file]
            yield Reason("image-shared", f"{path} is used by the domain {user}, too", "Give each an image of its own.")
        if any(other.path == path and other.vdev != request.vdev for other in view.domain.disks):
            yield Reason("image-shared", f"{path} is under two disks", "Give each an image of its own.")
    if view.unseen:
        cause = f"nobody knows which images {', '.join(view.unseen)} need"
        yield Reason("unseen-domains", cause, "Run `xensnap doctor` for them.")
    for snapshot in _all(view):
        disk = snapshot.disk(request.vdev)
        if disk is not None:
            yield from _against_snapshot(view, snapshot, disk)


def _against_snapshot(view: View, snapshot: Snapshot, disk: DiskSnapshot) -> Iterator[Reason]:
    """A record is written anew only if it is true."""
    image = view.images.get(disk.image.path)
    if image is None or missing_below(view, image):
        cause = f"{disk.vdev}: {disk.image.path} of {snapshot.name!r}, or what it stands on, is not there"
        yield Reason("image-missing", cause, "Put the image back, or delete the snapshot.")
    elif fingerprint(disk, image) != disk.fingerprint:
        cause = f"{disk.vdev}: what {disk.image.path} holds is not what {snapshot.name!r} left there"
        yield Reason("image-changed", cause, "Look at the image; then `adopt` the snapshot, or delete it.")


def _links(view: View, vdev: str, moved: Mapping[str, str]) -> Iterator[Reback]:
    """Each copy on the copy of what it stood on; and what stays where it is, on what was brought there."""
    for path, image in _images(view, vdev).items():
        below = image.backing
        if below is not None and (below.path in moved or path in moved):
            new = moved.get(path, path)
            base = moved.get(below.path, below.path)
            name = base.rpartition("/")[2] if directory(base) == directory(new) else base
            before = None if path in moved else below
            yield Reback(vdev, Layer(new, image.layer.format), Backing(name, base, below.format), before)


def _elsewhere(snapshot: Snapshot, moved: Mapping[str, str], other: Collection[str]) -> Snapshot:
    """The record with the new places. Which file it is, and what that stands on, is looked up when it is written."""

    def there(disk: DiskSnapshot) -> DiskSnapshot:
        image = replace(disk.image, path=moved.get(disk.image.path, disk.image.path))
        overlay = disk.overlay and replace(disk.overlay, path=moved.get(disk.overlay.path, disk.overlay.path))
        known = Fingerprint() if disk.kind is Kind.EXTERNAL and disk.image.path in other else disk.fingerprint
        return replace(disk, image=image, overlay=overlay, fingerprint=known)

    return replace(snapshot, disks=tuple(map(there, snapshot.disks)))


def _state(
    view: View, moved: Mapping[str, str], gone: set[str], new_copies: set[str], parked: tuple[Parked, ...]
) -> DomainState:
    known = {entry.path for entry in view.state.ours}
    ours = tuple(
        OurFile(moved[entry.path], entry.role) if entry.path in moved else entry
        for entry in view.state.ours
        if entry.path not in gone
    )
    copies = tuple(OurFile(path, "sidecar") for path in sorted(new_copies - known) if names.is_sidecar(path))
    hidden = tuple(sorted(replace(base, path=moved.get(base.path, base.path)) for base in view.state.hidden))
    return msgspec.structs.replace(
        view.state, ours=(*ours, *copies), hidden=hidden, parked=(*view.state.parked, *parked)
    )
