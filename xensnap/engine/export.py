"""Planning to write a snapshot into an archive. Pure. Nothing of the domain or its snapshots is changed."""

from collections.abc import Iterator

from xensnap import __version__
from xensnap.engine import live, risks, space
from xensnap.engine.archive_steps import DiskSource, WriteArchive
from xensnap.engine.context import directory
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.request import ExportRequest, Fresh
from xensnap.engine.revert import against_image, find
from xensnap.engine.view import View
from xensnap.errors import Reason
from xensnap.formats import archive, snapshot_record
from xensnap.formats.archive import ArchivedDisk, ArchivedDomain, Manifest, Member
from xensnap.model import DiskSnapshot, Image, Kind, RunState, Snapshot


def plan_export(view: View, request: ExportRequest, fresh: Fresh) -> Plan:
    """Plan an archive of one snapshot.

    Args:
        view: what was observed, with the place of the archive.
        request: which snapshot, and where to.
        fresh: operation id and time.

    Raises:
        NotFound: no such snapshot.
        Refused: with every reason against it. Nothing was touched.
    """
    snapshot = find(view, request.name)
    needs = tuple(_needs(view, snapshot, request.path))
    reasons = [*_against_place(view, request.path), *space.against(view, needs)]
    for disk in snapshot.disks:
        reasons += [*against_image(view, disk), *against_running_image(view, disk)]
    reasons += live.against_memory(view, snapshot)
    taken = risks.refuse(reasons, request.accept)
    step = WriteArchive(
        request.path,
        _manifest(view, snapshot, fresh),
        snapshot_record.encode(snapshot).decode(),
        snapshot.memory,
        tuple(
            DiskSource(disk.vdev, disk.image, disk.fingerprint.snapshot_id, shared=is_written(view, disk))
            for disk in snapshot.disks
        ),
        sum(held_bytes(view, disk) for disk in snapshot.disks) + view.memories.get(snapshot.name, 0),
    )
    return plan_for(
        view,
        fresh.operation,
        "export",
        f"export snapshot {snapshot.name!r} of {view.domain.name} to {request.path}",
        snapshot=snapshot.name,
        prepare=(step,),
        bytes_needed=space.bytes_of(needs),
        taken=taken,
        warnings=tuple(_warnings(view, snapshot)),
    )


def _manifest(view: View, snapshot: Snapshot, fresh: Fresh) -> Manifest:
    members = [Member(archive.RECORD)]
    members += [Member(archive.MEMORY)] if snapshot.memory else []
    members += [
        Member(archive.disk_name(disk.vdev), vdev=disk.vdev, disk_bytes=disk.size_bytes) for disk in snapshot.disks
    ]
    domain = view.domain
    disks = tuple(ArchivedDisk(disk.vdev, disk.readonly, disk.cdrom) for disk in domain.disks)
    told = ArchivedDomain(domain.uuid, domain.name, disks, domain.kind, domain.memory_bytes)
    return Manifest(snapshot.name, fresh.operation, fresh.now_s, told, tuple(members), __version__, view.host)


def _against_place(view: View, path: str) -> Iterator[Reason]:
    place = directory(path)
    if path in view.taken:
        yield Reason("archive-exists", f"{path} exists already", "Name a file that does not exist.")
    elif place not in view.free_bytes:
        yield Reason("no-such-directory", f"there is no directory {place}", "Make it, or name another.")


def is_written(view: View, disk: DiskSnapshot) -> bool:
    """Whether the guest writes to the very image that holds the snapshot. It leaves what is the snapshot's alone."""
    active = view.domain.disk(disk.vdev)
    written = active is not None and active.path == disk.image.path and view.domain.state is not RunState.OFF
    return written and disk.kind is Kind.INTERNAL


def against_running_image(view: View, disk: DiskSnapshot) -> Iterator[Reason]:
    """Only at the size that the image has now qemu-img shows a snapshot in it; at another all of it must be copied."""
    image = view.images.get(disk.image.path)
    if image is not None and is_written(view, disk) and image.virtual_size_bytes != disk.size_bytes:
        cause = f"{disk.vdev}: {disk.image.path} was resized since, and the guest, which is {view.domain.state}, has it"
        yield Reason("image-resized", cause, "Shut the guest down meanwhile.")


def held_bytes(view: View, disk: DiskSnapshot) -> int:
    """About how long a copy of the disk is: what its image and all below it take, and never more than it shows."""
    held, image = 0, view.images.get(disk.image.path)
    seen: set[str] = set()
    while image is not None and image.layer.path not in seen:
        seen.add(image.layer.path)
        held += image.allocated_bytes
        image = _below(view, image)
    return min(held, disk.size_bytes) + space.BYTES_PER_DISK


def _below(view: View, image: Image) -> Image | None:
    return view.images.get(image.backing.path) if image.backing else None


def _needs(view: View, snapshot: Snapshot, path: str) -> Iterator[space.Need]:
    """The archive, and beside it one copy of a disk at a time."""
    place = directory(path)
    held = {disk.vdev: held_bytes(view, disk) for disk in snapshot.disks}
    yield from (space.Need(place, length, vdev) for vdev, length in held.items())
    if snapshot.memory:
        yield space.Need(place, view.memories.get(snapshot.name, 0), "the memory of the guest")
    yield space.Need(place, max(held.values(), default=0), "a copy of one disk at a time")


def _warnings(view: View, snapshot: Snapshot) -> Iterator[str]:
    for disk in view.domain.disks:
        if snapshot.disk(disk.vdev) is None and disk.path and not disk.cdrom:
            yield f"{disk.vdev} is not in the snapshot, so it is not in the archive"
