"""Overlays and the ledger: every file that we made is known, every known one is there, and guests stand above bases."""

from collections.abc import Iterator

from xensnap.engine import names
from xensnap.engine.create import overlay_on
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.rebuild import held_by
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.overlay_steps import LayerOf, RemoveImage, SwitchLayers
from xensnap.engine.state import HiddenBase, OurFile
from xensnap.engine.view import DiskView
from xensnap.hypervisor import FileStat
from xensnap.model import DescribedBy, Disk, Format, Image, Layer, RunState


def strays(seen: Survey) -> Iterator[Finding]:
    """No overlay with a name of ours is unknown to the ledger, if it stands on an image of this domain."""
    for path, stray in seen.strays.items():
        if stray.image is None or seen.begun or stray.image.file in seen.view.reached:
            continue
        below = stray.image.backing
        if below is None or below.path not in seen.view.images:
            continue
        stat = seen.beside[path]
        if not stray.holds_data and not seen.blind:
            step = RemoveImage("", stray.image.layer, stat.file.inode, seen.generation(path))
            repair = Repair(f"remove {path}", finish=(step,))
            cause = f"an overlay on {below.path} that nothing uses and that holds nothing"
            yield Finding("leftover", Severity.WARNING, path, cause, repair=repair)
        else:
            claims = (OurFile(path, "overlay", stat.file.inode, seen.generation(path)),)
            repair = Repair("take it into the ledger, so that nothing is done to what it stands on", claims=claims)
            cause = f"an overlay on {below.path} that nothing knows of, and that holds data"
            yield Finding("overlay-unknown", Severity.WARNING, path, cause, repair=repair)


def idle(seen: Survey) -> Iterator[Finding]:
    """No overlay of ours lies about that no disk and no snapshot uses; whatever it holds may be wanted."""
    used = _used(seen)
    for entry in seen.view.state.ours:
        image = seen.view.images.get(entry.path)
        if entry.role == "overlay" and image is not None and entry.path not in used:
            cause = f"no disk and no snapshot uses it, and it takes {image.allocated_bytes} bytes"
            remedy = f"Attach it, or remove it if nobody needs what is in it: {entry.path}"
            yield Finding("overlay-idle", Severity.NOTE, entry.path, cause, remedy)


def ledger(seen: Survey) -> Iterator[Finding]:
    """Every file in the ledger is there and is the one that we made."""
    used = _used(seen)
    for entry in seen.view.state.ours:
        stat = seen.stats.get(entry.path) or seen.beside.get(entry.path)
        forget = Repair(f"take {entry.path} out of the ledger", forgets=frozenset([entry.path]))
        if stat is None:
            if entry.path not in used and not names.is_sidecar(entry.path):
                cause = "it is in the ledger of our files, and is not there"
                yield Finding("file-gone", Severity.WARNING, entry.path, cause, repair=forget)
        elif not names.is_sidecar(entry.path) and not _is_still(seen, entry, stat):
            cause = "another file has the name of one of ours: it will not be removed"
            yield Finding("file-replaced", Severity.WARNING, entry.path, cause, repair=forget)


def _is_still(seen: Survey, entry: OurFile, stat: FileStat) -> bool:
    """Whether it is the very file that the ledger tells of, and not another under its name."""
    same_generation = not entry.generation or seen.generation(entry.path) in (0, entry.generation)
    return not entry.inode or (stat.file.inode == entry.inode and same_generation)


def unclaimed(seen: Survey) -> Iterator[Finding]:
    """Every overlay that we made is in the ledger. That we did is told by a record, or by the journal."""
    recorded = {d.overlay.path for snapshot in seen.view.snapshots.values() for d in snapshot.disks if d.overlay}
    operations = {entry.operation[-12:] for entry in seen.entries}
    for path, image in seen.view.images.items():
        if image is None or seen.view.state.made(path) or seen.view.state_problem or not names.is_overlay(path):
            continue
        if path in recorded or names.made_by(path) in operations:
            claims = (OurFile(path, "overlay", image.file.inode, seen.generation(path)),)
            cause = "we made it, and it is not in the ledger of our files"
            repair = Repair(f"take {path} into the ledger", claims=claims)
            yield Finding("overlay-unclaimed", Severity.WARNING, path, cause, repair=repair)


def bases(seen: Survey) -> Iterator[Finding]:
    """What was frozen, and is held no more, is known as a hidden base, so that it is merged away some day."""
    view = seen.view
    held, active = held_by((*seen.kept, *view.state.let_go)), {disk.path for disk in view.domain.disks}
    hidden = {base.path for base in view.state.hidden}
    for base in view.state.hidden:
        if base.path not in seen.stats and base.path not in active and not _stood_on(seen, base.path):
            repair = Repair(f"forget {base.path}", forgets=frozenset([base.path]))
            yield Finding("base-gone", Severity.WARNING, base.path, "a hidden base that is not there", repair=repair)
    if seen.blind:
        return
    for path, image in view.images.items():
        entry = view.state.made(path)
        if image is None or entry is None or entry.inode != image.file.inode or path in held or path in hidden:
            continue
        if path not in active and _stood_on(seen, path):
            base = HiddenBase(_vdev(seen, path), path, image.layer.format)
            repair = Repair("note it as a hidden base, which the next delete merges away", hides=(base,))
            cause = "we made it, no snapshot holds it, and others stand on it"
            yield Finding("base-forgotten", Severity.WARNING, path, cause, repair=repair)


def starts(seen: Survey) -> Iterator[Finding]:
    """No disk starts from an image that a snapshot holds: what the guest writes would change the snapshot."""
    held = held_by(seen.kept)
    tops = seen.runs_on
    for view in seen.view.disks:
        disk = view.disk
        if disk.path in held:
            snapshots = ", ".join(map(repr, held[disk.path]))
            cause = f"{disk.vdev} starts from an image that holds the snapshot {snapshots}"
            if tops.get(disk.vdev) == disk.path:
                cause += ", and the guest runs on it now: whatever it writes changes the snapshot"
            remedy = "Shut the domain down; let it start from an overlay: `xensnap doctor --repair`, or `revert`."
            yield Finding("starts-from-base", Severity.ERROR, disk.path, cause, remedy, _off_the_base(seen, view))
        elif tops.get(disk.vdev, disk.path) != disk.path:
            yield _next_start(seen, disk, tops[disk.vdev], held)


def _next_start(seen: Survey, disk: Disk, top: str, held: dict[str, list[str]]) -> Finding:
    cause = f"the guest runs {disk.vdev} on {top}, and starts from {disk.path} next time"
    repair = None
    image = seen.view.images.get(top) or (seen.strays[top].image if top in seen.strays else None)
    if top not in held and image is not None and seen.view.domain.described_by is DescribedBy.US:
        after = (LayerOf(disk.vdev, image.layer),)
        step = SwitchLayers(seen.view.domain.uuid, (LayerOf(disk.vdev, disk.layer),), after)
        repair = Repair(f"let it start from {top}", prepare=(step,))
    remedy = f"Write {top} into the configuration of the domain."
    return Finding("next-start-differs", Severity.ERROR, disk.path, cause, remedy, repair)


def _off_the_base(seen: Survey, view: DiskView) -> Repair | None:
    """The one overlay that the disk has left, or a new one; which of several only a person can tell."""
    if seen.view.domain.state is not RunState.OFF or seen.view.domain.described_by is not DescribedBy.US or seen.begun:
        return None
    disk = view.disk
    image = seen.view.images.get(disk.path)
    above = [each for each in _above(seen, disk.path) if seen.view.state.made(each.layer.path)]
    free = [each for each in above if each.layer.path not in held_by(seen.kept)]
    if image is None or len(free) > 1 or (above and not free):
        return None
    before = (LayerOf(disk.vdev, disk.layer),)
    if free:
        switch = SwitchLayers(seen.view.domain.uuid, before, (LayerOf(disk.vdev, free[0].layer),))
        return Repair(f"let it start from {free[0].layer.path}, which stands on it", prepare=(switch,))
    path = names.overlay_file(disk.path, vdev=disk.vdev, operation=seen.fresh, directory=disk.path.rpartition("/")[0])
    make = overlay_on(path, image, disk.vdev)
    switch = SwitchLayers(seen.view.domain.uuid, before, (LayerOf(disk.vdev, Layer(path, Format.QCOW2)),))
    return Repair("let it start from a new overlay", prepare=(make, switch), claims=(OurFile(path, "overlay"),))


def _above(seen: Survey, path: str) -> list[Image]:
    return [image for image in seen.view.images.values() if image and image.backing and image.backing.path == path]


def _stood_on(seen: Survey, path: str) -> bool:
    return bool(_above(seen, path))


def _used(seen: Survey) -> set[str]:
    """Images that a disk, a snapshot or another image needs."""
    used = {disk.path for disk in seen.view.domain.disks}
    used |= set(seen.runs_on.values())
    used |= {disk.image.path for snapshot in seen.kept for disk in snapshot.disks}
    return used | {image.backing.path for image in seen.view.images.values() if image and image.backing}


def _vdev(seen: Survey, path: str) -> str:
    """The disk whose chain an image is in, now or at a snapshot."""
    starts = [(view.disk.vdev, view.disk.path) for view in seen.view.disks]
    starts += [(disk.vdev, disk.image.path) for snapshot in seen.view.snapshots.values() for disk in snapshot.disks]
    for vdev, start in starts:
        at = seen.view.images.get(start)
        visited: set[str] = set()
        while at is not None and at.layer.path not in visited:
            if at.layer.path == path:
                return vdev
            visited.add(at.layer.path)
            at = seen.view.images.get(at.backing.path) if at.backing else None
    return seen.view.disks[0].disk.vdev if seen.view.disks else ""
