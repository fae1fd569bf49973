"""The images that snapshots, disks and hidden bases stand on: there, readable, and what they were."""

from collections.abc import Iterator

from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.flag_steps import Freeze
from xensnap.engine.overlay_steps import Reback
from xensnap.engine.repair_steps import GiveBackLeaks, PutBack
from xensnap.engine.store_steps import fingerprint
from xensnap.model import Backing, DiskSnapshot, Format, Image, Kind, Layer, RunState


def present(seen: Survey) -> Iterator[Finding]:
    """Every image that something refers to can be read."""
    for path, image in seen.view.images.items():
        needed = _needed_by(seen, path)
        if image is None and needed:
            gone = path not in seen.stats
            what = "is not there" if gone else "cannot be read as what it should be"
            remedy = "Put the image back, from a backup if need be."
            repair = _moved(seen, path) if gone else None
            id_ = "image-missing" if gone else "image-unreadable"
            yield Finding(id_, Severity.ERROR, path, f"it {what}, and {needed} needs it", remedy, repair)
    for disk in seen.view.disks:
        if disk.problem and disk.disk.path in seen.stats:
            remedy = "Let the chain end where it should: `qemu-img info --backing-chain` shows it."
            yield Finding("chain-broken", Severity.ERROR, disk.disk.path, disk.problem.cause, remedy)
        elif disk.problem and disk.disk.path not in seen.view.images:
            cause = f"it is not there, and the domain starts {disk.disk.vdev} from it"
            remedy = "Put the image back, from a backup if need be."
            yield Finding("image-missing", Severity.ERROR, disk.disk.path, cause, remedy, _moved(seen, disk.disk.path))


def unchanged(seen: Survey) -> Iterator[Finding]:
    """Every frozen image is what it was when it was frozen."""
    for snapshot in seen.view.snapshots.values():
        for disk in snapshot.disks:
            image = seen.view.images.get(disk.image.path)
            if disk.kind is Kind.EXTERNAL and image is not None:
                for what in _differences(disk, image):
                    cause = f"{snapshot.name!r} holds {disk.vdev} in it, and {what}: somebody else has worked on it"
                    remedy = "Look at it with qemu-img; `xensnap adopt` takes it as it is now."
                    yield Finding("image-changed", Severity.ERROR, disk.image.path, cause, remedy)


def whole(seen: Survey) -> Iterator[Finding]:
    """No image is marked corrupt, and what a check counts adds up."""
    for path, image in seen.view.images.items():
        if image is not None and image.corrupt:
            remedy = "Copy what can be read: `qemu-img convert`; or `qemu-img check -r all` on a copy."
            yield Finding("image-corrupt", Severity.ERROR, path, "it is marked corrupt", remedy)
        result = seen.checks.get(path)
        if image is None or result is None:
            continue
        if result.corruptions:
            remedy = "Copy the image away before anything else; then `qemu-img check -r all`."
            yield Finding("image-corrupt", Severity.ERROR, path, f"{result.corruptions} errors in its tables", remedy)
        elif result.stale_flags:
            repair = Repair("count them anew", finish=(GiveBackLeaks(image.layer),))
            cause = f"{result.stale_flags} of its entries do not say how often a cluster is used, as a tool that was "
            cause += "killed leaves them: a guest may write into what a snapshot holds"
            yield Finding("flags-stale", Severity.ERROR, path, cause, repair=repair)
        elif result.leaks:
            repair = Repair("give them back", finish=(GiveBackLeaks(image.layer),))
            cause = f"{result.leaks} clusters are used by nothing"
            yield Finding("leaked-clusters", Severity.WARNING, path, cause, repair=repair)


def formats(seen: Survey) -> Iterator[Finding]:
    """Overlays of ours say which format they stand on, or a guest could choose it by what it writes into a raw disk."""
    for path, image in seen.view.images.items():
        entry = seen.view.state.made(path)
        if image is None or entry is None or image.backing is None or image.backing.format is not None:
            continue
        below = seen.view.images.get(image.backing.path)
        # What is not told is taken for raw when it is looked at, so the records are to be believed first.
        known = _recorded(seen, image.backing.path) or (below.layer.format if below else None)
        repair = None
        if known is not None and seen.view.domain.state is RunState.OFF:
            backing = Backing(image.backing.name, image.backing.path, known)
            repair = Repair(f"write {known} into it", finish=(Reback(_vdev(seen, path), image.layer, backing),))
        cause = f"it does not say in which format {image.backing.path} is"
        yield Finding("format-not-given", Severity.WARNING, path, cause, "Shut the domain down first.", repair)


def flagged(seen: Survey) -> Iterator[Finding]:
    """What is frozen carries the flag where a start from the operator's own file would write to it."""
    for path, flag in seen.flags.items():
        if not flag:
            cause = (
                f"nothing keeps a start from the operator's own file off it, and {_needed_by(seen, path)} stands on it"
            )
            repair = Repair("set its immutable flag", finish=(Freeze(path),))
            yield Finding("flag-missing", Severity.ERROR, path, cause, repair=repair)


def _needed_by(seen: Survey, path: str) -> str:
    """Who refers to an image, in words; empty where only our ledger does."""
    for snapshot in seen.kept:
        if any(disk.image.path == path for disk in snapshot.disks):
            return f"the snapshot {snapshot.name!r}"
    for disk in seen.view.domain.disks:
        if disk.path == path:
            return f"the disk {disk.vdev}"
    for image in seen.view.images.values():
        if image and image.backing and image.backing.path == path:
            return image.layer.path
    return ""


def _moved(seen: Survey, path: str) -> Repair | None:
    """The image under another name, if its inode is known and stands in one of our directories."""
    entry = seen.view.state.made(path)
    inodes = {entry.inode} if entry else set()
    layer = Layer(path, Format.QCOW2)
    for snapshot in seen.view.snapshots.values():
        for disk in snapshot.disks:
            if disk.kind is Kind.EXTERNAL and disk.image.path == path:
                inodes.add(disk.fingerprint.inode)
                layer = disk.image
    found = {stat.file.inode: place for place, stat in seen.around.items() if stat.is_regular}
    for inode in sorted(inodes - {0}):
        if inode in found and found[inode] not in seen.view.images:
            step = PutBack(layer, found[inode], inode)
            return Repair(f"call {found[inode]} {path} again", prepare=(step,))
    return None


def _differences(disk: DiskSnapshot, image: Image) -> Iterator[str]:
    now, then = fingerprint(disk, image), disk.fingerprint
    if now.inode != then.inode:
        yield "another file has its name now"
    if now.file_length_bytes != then.file_length_bytes:
        yield f"it is {now.file_length_bytes} bytes long and was {then.file_length_bytes}"
    if now.backing != then.backing:
        yield f"it stands on {now.backing or 'nothing'} and stood on {then.backing or 'nothing'}"


def _recorded(seen: Survey, path: str) -> Format | None:
    layers = [disk.image for snapshot in seen.view.snapshots.values() for disk in snapshot.disks]
    return next((layer.format for layer in layers if layer.path == path), None)


def _vdev(seen: Survey, path: str) -> str:
    for view in seen.view.disks:
        if view.chain and any(image.layer.path == path for image in view.chain):
            return view.disk.vdev
    return next((view.disk.vdev for view in seen.view.disks), "")
