"""Internal snapshots: each recorded tag is in its image, once, and whose the others are."""

from collections.abc import Iterator

from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.names import SAFETY
from xensnap.engine.point_steps import DropPoint
from xensnap.engine.store_steps import fingerprint
from xensnap.model import DiskSnapshot, Image, Kind, Snapshot


def recorded(seen: Survey) -> Iterator[Finding]:
    """Every tag that a record tells of is the very one in its image."""
    for snapshot, disk, image in _internal(seen):
        if fingerprint(disk, image) == disk.fingerprint:
            continue
        same_id = [entry for entry in image.snapshots if entry.id == disk.fingerprint.snapshot_id]
        if len(image.tagged(disk.tag)) > 1 and any(entry.tag == disk.tag for entry in same_id):
            continue  # told as ambiguous
        subject, where = snapshot.name, f"{disk.vdev} at {snapshot.name!r}"
        remedy = f"If it cannot be had back, run `xensnap delete`: nothing is left of {where}."
        if image.tagged(disk.tag):
            cause = f"{where}: the tag {disk.tag!r} in {disk.image.path} is another one than was recorded"
            yield Finding("tag-replaced", Severity.ERROR, subject, cause, f"{remedy} Or `xensnap adopt` it.")
        else:
            cause = f"{where}: there is no tag {disk.tag!r} in {disk.image.path}"
            yield Finding("tag-missing", Severity.ERROR, subject, cause, remedy)


def ambiguous(seen: Survey) -> Iterator[Finding]:
    """No other snapshot in an image has a recorded tag; qemu-img takes the first it finds."""
    for snapshot, disk, image in _internal(seen):
        if len(image.tagged(disk.tag)) > 1:
            cause = f"{disk.image.path} has {len(image.tagged(disk.tag))} snapshots with the tag {disk.tag!r}"
            remedy = "Delete the one that is not ours, by its id, with qemu-storage-daemon; qemu-img cannot."
            yield Finding("tag-twice", Severity.WARNING, snapshot.name, cause, remedy)


def unknown(seen: Survey) -> Iterator[Finding]:
    """Every tag in the active images is recorded."""
    kept = [disk for snapshot in (*seen.kept, *seen.view.state.let_go) for disk in snapshot.disks]
    # By tag alone: an id is given again when the highest is free (QEMU 7.2.22), and says nothing about whose it is.
    tags = {(disk.image.path, disk.tag) for disk in kept}
    for view in seen.view.disks:
        image = view.chain.active if view.chain else None
        for entry in image.snapshots if image else ():
            path = image.layer.path if image else ""
            if (path, entry.tag) in tags:
                continue
            if entry.tag.startswith(SAFETY):
                step = DropPoint(view.disk.vdev, path, entry.tag, entry.id)
                repair = Repair(f"delete it from {path}", finish=(step,))
                cause = f"{path} holds {entry.tag!r}, the way back of a revert that has ended"
                yield Finding("leftover", Severity.WARNING, f"{path} {entry.tag}", cause, repair=repair)
            elif not seen.view.damaged:
                cause = f"{path} holds the snapshot {entry.tag!r}, which no record tells of"
                remedy = f"`xensnap adopt {seen.view.domain.name}` takes it in; else leave it or delete it."
                severity = Severity.NOTE
                if seen.view.frozen(view.disk.vdev):
                    severity = Severity.WARNING
                    cause += "; while it is there, the disk can be reverted to none of its external snapshots"
                yield Finding("tag-unknown", severity, f"{path} {entry.tag}", cause, remedy)


def _internal(seen: Survey) -> Iterator[tuple[Snapshot, DiskSnapshot, Image]]:
    for snapshot in seen.view.snapshots.values():
        for disk in snapshot.disks:
            image = seen.view.images.get(disk.image.path)
            if disk.kind is Kind.INTERNAL and image is not None:
                yield snapshot, disk, image
