"""Planning a clone: a new domain whose disks are those of a snapshot. Pure. It boots cold; memory is never cloned.

copies   standalone images, which need nothing of the old domain
linked   empty overlays on the images that the snapshot has frozen; as long as one stands on them nobody merges or
removes those, since they are in the chain of a domain that the host knows
"""

from collections.abc import Iterator

from msgspec.structs import replace

from xensnap.engine import names, risks, space
from xensnap.engine.birth_steps import CopyDisk, DefineDomain
from xensnap.engine.context import directory
from xensnap.engine.create import overlay_on
from xensnap.engine.export import against_running_image, held_bytes, is_written
from xensnap.engine.newborn import Birthplace, against_birth, description_file
from xensnap.engine.overlay_steps import MakeOverlay
from xensnap.engine.plan import Plan, fingerprint
from xensnap.engine.planning import plan_for
from xensnap.engine.request import CloneRequest, Fresh
from xensnap.engine.revert import against_image, find, together
from xensnap.engine.state import DomainState, OurFile
from xensnap.engine.view import View, digest
from xensnap.errors import Reason
from xensnap.formats import configuration
from xensnap.model import Consistency, Disk, DiskSnapshot, Format, Kind, Snapshot

_COLD = {
    Consistency.CHECKPOINT: "as after a power cut: the memory of the snapshot is not cloned",
    Consistency.CRASH: "as after a power cut",
}


def directories(source: View, request: CloneRequest) -> frozenset[str]:
    """Where the disks of the clone go."""
    snapshot = find(source, request.name)
    return frozenset(_place(disk, request) for disk in snapshot.disks)


def plan_clone(source: View, place: Birthplace, request: CloneRequest, fresh: Fresh) -> Plan:
    """Plan a clone.

    Args:
        source: what was observed of the domain whose snapshot it is.
        place: what was observed of where the new one is to be.
        request: which snapshot, and how.
        fresh: operation id and time.

    Raises:
        NotFound: no such snapshot.
        Refused: with every reason against it. Nothing was touched.
    """
    snapshot = find(source, request.name)
    where = {disk.vdev: _path(disk, request, fresh) for disk in snapshot.disks}
    needs = tuple(_needs(source, snapshot, request, where))
    reasons = [
        *against_birth(place, frozenset(map(directory, where.values()))),
        *_against_uncovered(source, snapshot),
        *(reason for disk in snapshot.disks for reason in _against_disk(source, disk, request)),
        *space.against(place.view, needs),
    ]
    taken = risks.refuse(reasons, request.accept)
    domain = replace(
        source.domain,
        uuid=place.view.domain.uuid,
        name=request.new_name,
        disks=tuple(_disk(disk, where) for disk in source.domain.disks),
        domid=None,
        state=place.view.domain.state,
        never_ran=False,
    )
    text = configuration.renewed(
        source.configuration,
        uuid=domain.uuid,
        name=domain.name,
        layers={disk.vdev: disk.layer if disk.path else None for disk in domain.disks},
        fresh_hardware=True,
    )
    making = [_make(source, disk, where[disk.vdev], request) for disk in snapshot.disks]
    ours = tuple(OurFile(step.path, "overlay") for step in making if isinstance(step, MakeOverlay))
    plan = plan_for(
        place.view,
        fresh.operation,
        "clone",
        f"clone {source.domain.name} as {domain.name} from snapshot {snapshot.name!r}",
        prepare=together(making),
        state=DomainState(domain.uuid, domain.name, ours=ours),
        finish=(DefineDomain(domain, text, _file(where, domain.name)),),
        bytes_needed=space.bytes_of(needs),
        taken=taken,
        warnings=tuple(_warnings(snapshot)),
    )
    return replace(
        plan,
        observed=fingerprint([plan.observed, digest(source)]),
        neighbours=tuple(sorted({source.domain.uuid, *source.neighbours} - {domain.uuid})),
    )


def _place(disk: DiskSnapshot, request: CloneRequest) -> str:
    return request.directory or directory(disk.overlay.path if disk.overlay else disk.image.path)


def _path(disk: DiskSnapshot, request: CloneRequest, fresh: Fresh) -> str:
    place = _place(disk, request)
    return names.disk_file(request.new_name, vdev=disk.vdev, operation=fresh.operation, directory=place)


def _file(where: dict[str, str], name: str) -> str:
    """Beside its first disk."""
    return description_file(directory(where[min(where)]), name)


def _disk(disk: Disk, where: dict[str, str]) -> Disk:
    path = where.get(disk.vdev)
    return disk if path is None else replace(disk, path=path, format=Format.QCOW2)


def _make(source: View, disk: DiskSnapshot, path: str, request: CloneRequest) -> CopyDisk | MakeOverlay:
    image = source.images[disk.image.path]
    assert image is not None, "planned after it was found there"
    if request.linked:
        return overlay_on(path, image, disk.vdev)
    which = disk.fingerprint.snapshot_id
    return CopyDisk(disk.vdev, disk.image, which, path, disk.size_bytes, shared=is_written(source, disk))


def _against_disk(source: View, disk: DiskSnapshot, request: CloneRequest) -> Iterator[Reason]:
    yield from against_image(source, disk)
    if not request.linked:
        yield from against_running_image(source, disk)
    elif disk.kind is Kind.INTERNAL:
        cause = f"{disk.vdev}: the snapshot is a tag in {disk.image.path}, and no overlay can stand on a tag"
        yield Reason("clone-needs-external", cause, "Make copies: --full.")


def _against_uncovered(source: View, snapshot: Snapshot) -> Iterator[Reason]:
    for disk in source.domain.disks:
        if snapshot.disk(disk.vdev) is None and disk.path and not disk.readonly and not disk.cdrom:
            cause = f"{disk.vdev} is not in {snapshot.name!r}, and two domains must not write to one image"
            yield Reason("disk-not-covered", cause, "Clone a snapshot of all writable disks, or detach it first.")
    for disk_snapshot in snapshot.disks:
        if source.domain.disk(disk_snapshot.vdev) is None:
            cause = f"{source.domain.name} has no disk {disk_snapshot.vdev} any more"
            yield Reason("disk-gone", cause, "Attach it again.")


def _needs(source: View, snapshot: Snapshot, request: CloneRequest, where: dict[str, str]) -> Iterator[space.Need]:
    for disk in snapshot.disks:
        path = where[disk.vdev]
        if request.linked:
            yield space.for_tables(path, disk.size_bytes, disk.vdev)
        else:
            yield space.Need(directory(path), held_bytes(source, disk), f"a copy of {disk.vdev}")


def _warnings(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.consistency in _COLD:
        yield f"the clone starts from disks {_COLD[snapshot.consistency]}"
