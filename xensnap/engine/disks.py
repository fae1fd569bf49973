"""Which disks a snapshot covers, and how: pure decisions about one disk at a time, with every reason against it."""

from collections.abc import Iterator

import msgspec

from xensnap.engine.request import CreateRequest, DiskChoice
from xensnap.engine.view import DiskView, View
from xensnap.errors import Reason
from xensnap.hypervisor import Capability
from xensnap.model import Backend, Excluded, Format, Image, Kind

TABLE_ENTRIES_MAX = 65536
"""Internal snapshots in one qcow2 image (qemu-img 7.2.22: the next one is `File too large`)."""


class Covered(msgspec.Struct, frozen=True):
    """A disk that the snapshot covers."""

    vdev: str
    kind: Kind
    image: Image
    overlay_path: str = ""


def choose(view: View, request: CreateRequest) -> tuple[list[Covered], list[Excluded], list[Reason]]:
    """Each disk of the domain: covered, excluded with a reason, or in the way with all reasons."""
    covered: list[Covered] = []
    excluded: list[Excluded] = []
    reasons = [_no_such_disk(view, vdev) for vdev in request.disks if view.domain.disk(vdev) is None]
    for disk_view in view.disks:
        choice = request.disks.get(disk_view.disk.vdev, DiskChoice())
        why_not = outside(disk_view, choice)
        if why_not:
            excluded.append(Excluded(disk_view.disk.vdev, why_not))
            if choice.skip and not request.disk_only and not _harmless(disk_view):
                reasons.append(_skips_writable(disk_view))
            continue
        kind = choice.kind or request.kind or usual_kind(view, disk_view)
        found = list(against(view, disk_view, kind))
        reasons.extend(found)
        if not found and disk_view.chain:
            covered.append(Covered(disk_view.disk.vdev, kind, disk_view.chain.active, choice.path))
    if not covered and not reasons:
        reasons.append(
            Reason(
                "nothing-to-snapshot",
                f"{view.domain.name} has no disk that a snapshot could cover",
                "A snapshot needs at least one writable disk that is not left out.",
            )
        )
    return covered, excluded, [*reasons, *_twice(view, covered)]


def outside(disk_view: DiskView, choice: DiskChoice) -> str:
    """Why a disk is no part of any snapshot, or an empty string."""
    disk = disk_view.disk
    if choice.skip:
        return "skipped on request"
    if disk.cdrom:
        return "cdrom"
    if not disk.path:
        return "empty drive"
    return "read-only" if disk.readonly else ""


def _harmless(disk_view: DiskView) -> bool:
    disk = disk_view.disk
    return disk.cdrom or disk.readonly or not disk.path


def usual_kind(view: View, disk_view: DiskView) -> Kind:
    """Along one chain the kind is sticky; where nothing is decided yet, internal is the cheaper one to live with."""
    sticky = sticky_kind(view, disk_view.disk.vdev)
    if sticky:
        return sticky
    if Capability.INTERNAL not in view.capabilities:
        return Kind.EXTERNAL
    image = disk_view.chain.active if disk_view.chain else None
    return Kind.EXTERNAL if image is None or any(_against_internal(disk_view.disk.vdev, image)) else Kind.INTERNAL


def sticky_kind(view: View, vdev: str) -> Kind | None:
    """The kind that this disk's snapshots have already, ours or not; None where it has none."""
    chain = view.chain(vdev)
    kinds = {disk.kind for snapshot in view.snapshots.values() for disk in snapshot.disks if disk.vdev == vdev}
    if chain and chain.active.snapshots:
        kinds.add(Kind.INTERNAL)
    if any(base.vdev == vdev for base in view.state.hidden):
        kinds.add(Kind.EXTERNAL)
    return min(kinds) if kinds else None


def against(view: View, disk_view: DiskView, kind: Kind) -> Iterator[Reason]:
    """All that stands in the way of a snapshot of this kind of this disk."""
    disk, vdev = disk_view.disk, disk_view.disk.vdev
    if Capability(kind.value) not in view.capabilities:
        cause = f"{vdev}: {view.host} can make no {kind} snapshots"
        yield Reason(f"no-{kind}-snapshots", cause, "Ask for the other kind with --type, or use another host.")
    if disk.backend is not Backend.QDISK:
        yield Reason(
            "unsupported-backend",
            f"{vdev} is served by {disk.backend}, which QEMU knows nothing of",
            f"Attach it with backendtype=qdisk, or leave it out: --disk-only --exclude {vdev}.",
        )
    if disk_view.problem:
        yield disk_view.problem
    if disk_view.chain is None:
        return
    image = disk_view.chain.active
    if image.layer.format not in (Format.RAW, Format.QCOW2):
        yield Reason(
            "unsupported-format",
            f"{vdev} is a {image.layer.format} image",
            f"Convert it to qcow2 with qemu-img, or leave it out: --disk-only --exclude {vdev}.",
        )
    yield from _against_sharing(view, vdev, image)
    if image.corrupt:
        yield Reason(
            "image-corrupt", f"{vdev}: {image.layer.path} is marked corrupt", "Repair it: qemu-img check -r all."
        )
    if image.encrypted:
        yield Reason("image-encrypted", f"{vdev}: {image.layer.path} is encrypted", f"Leave it out: --exclude {vdev}.")
    sticky = sticky_kind(view, vdev)
    if sticky and sticky is not kind:
        yield Reason(
            "kind-is-sticky",
            f"{vdev} has {sticky} snapshots already, and mixing kinds along one chain ends in snapshots that nobody "
            "can revert to or delete",
            f"Use --type {sticky}, or delete its {sticky} snapshots first.",
        )
    if kind is Kind.INTERNAL:
        yield from _against_internal(vdev, image)


def _against_sharing(view: View, vdev: str, image: Image) -> Iterator[Reason]:
    user = view.foreign.get(image.file)
    if user:
        yield Reason(
            "image-shared",
            f"{vdev}: {image.layer.path} is used by the domain {user}, too",
            "Give each domain an image of its own.",
        )


def _against_internal(vdev: str, image: Image) -> Iterator[Reason]:
    """Why this image cannot hold (one more) internal snapshot that could also be reverted to (QEMU 7.2.22)."""
    external = "Use --type external, or let each disk have what it can: --type auto."
    path = image.layer.path
    if image.layer.format is not Format.QCOW2:
        yield Reason("not-qcow2", f"{vdev}: a {image.layer.format} image cannot hold internal snapshots", external)
        return
    if image.data_file:
        yield Reason("has-data-file", f"{vdev}: {path} keeps its data in a file of its own", external)
    if image.bitmaps:
        # qemu-img 7.2.22: `-a` of any snapshot fails with "Device has active dirty bitmaps"
        yield Reason(
            "has-bitmaps", f"{vdev}: {path} holds dirty bitmaps, so no snapshot could be reverted to", external
        )
    if len(image.snapshots) + 2 > TABLE_ENTRIES_MAX:
        yield Reason("table-full", f"{vdev}: {path} holds {len(image.snapshots)} snapshots", "Delete some of them.")
    if not refcounts_suffice(image):
        yield Reason(
            "refcounts-too-narrow",
            f"{vdev}: {path} has {image.refcount_bits}-bit refcounts, too narrow for one more snapshot",
            external,
        )


def refcounts_suffice(image: Image) -> bool:
    """Whether all snapshots, a new one, the safety point of a revert and the active state can share a cluster."""
    return len(image.snapshots) + 3 < 1 << image.refcount_bits


def _twice(view: View, covered: list[Covered]) -> Iterator[Reason]:
    """An image that another disk of the domain has open, too, at the top of its chain or below."""
    for disk in covered:
        for other in view.disks:
            if other.disk.vdev != disk.vdev and any(image.file == disk.image.file for image in other.chain or ()):
                yield Reason(
                    "image-shared",
                    f"{disk.vdev}: {disk.image.layer.path} is used by the disk {other.disk.vdev}, too",
                    "Give each disk an image of its own.",
                )


def _no_such_disk(view: View, vdev: str) -> Reason:
    there = ", ".join(disk.vdev for disk in view.domain.disks) or "none"
    return Reason("no-such-disk", f"{view.domain.name} has no disk {vdev}", f"Its disks are: {there}.")


def _skips_writable(disk_view: DiskView) -> Reason:
    vdev = disk_view.disk.vdev
    return Reason(
        "skips-writable-disk",
        f"{vdev} is writable, and a domain snapshot covers every writable disk",
        "Ask for a disk snapshot: --disk-only.",
    )
