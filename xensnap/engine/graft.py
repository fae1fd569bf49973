"""Planning to give a domain that is there one more snapshot, out of an archive. Pure. No path in an archive is used.

Each disk of the archive becomes an image of its own, frozen like one that the domain has left behind: reverting to the
snapshot puts an overlay on it. So the images that the domain has are not touched, and a disk that keeps its snapshots
inside its image is refused: leaving that image would leave them out of reach.
"""

from collections.abc import Iterator

import msgspec

from xensnap.engine import disks, flags, live, risks, settings, space
from xensnap.engine.archive import Archive
from xensnap.engine.create import against_name, sidecar_paths
from xensnap.engine.flag_steps import Freeze
from xensnap.engine.names import disk_file, overlay_file
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.records import Store
from xensnap.engine.request import Fresh, GraftRequest
from xensnap.engine.state import OurFile
from xensnap.engine.steps import Step
from xensnap.engine.store_steps import WriteRecord, WriteSidecar
from xensnap.engine.take_in import against_uncovered, grade, needed, receive_disk, receive_memory
from xensnap.engine.view import View
from xensnap.errors import Reason
from xensnap.formats import configuration
from xensnap.formats.archive import Member
from xensnap.hypervisor import Capability
from xensnap.model import DiskSnapshot, Excluded, Format, Kind, Layer, Snapshot


def plan_graft(view: View, request: GraftRequest, fresh: Fresh) -> Plan:
    """Plan to take the snapshot of an archive in, as a root of the domain's tree.

    Args:
        view: what was observed, with the archive.
        request: which archive, and where its disks go.
        fresh: operation id and time.

    Raises:
        Refused: with every reason against it. Nothing was touched.
    """
    archive = view.archive
    assert archive is not None, "it was asked for"
    name = request.snapshot or archive.manifest.snapshot
    needs = tuple(needed(archive, request.directory, Store(f"{view.root}/{view.domain.uuid}")))
    reasons = [
        *against_name(view, name),
        *_against_directory(view, request.directory),
        *(reason for member in _members(archive) for reason in _against_disk(view, member)),
        *(_against_memory(view, archive) if archive.manifest.memory else ()),
        *space.against(view, needs),
    ]
    taken = risks.refuse(reasons, request.accept)
    snapshot = _snapshot(view, archive, name, request, fresh)
    sidecars = sidecar_paths(snapshot)
    made = [OurFile(disk.image.path, "overlay") for disk in snapshot.disks]
    made += [OurFile(path, "sidecar") for path in sidecars]
    return plan_for(
        view,
        fresh.operation,
        "graft",
        f"import snapshot {name!r} from {request.path} into {view.domain.name}",
        snapshot=name,
        prepare=(
            *(step for disk in snapshot.disks for step in receive_disk(archive, disk)),
            *receive_memory(archive, snapshot),
            *_freeze(view, snapshot),
            WriteRecord(snapshot),
            *(WriteSidecar(path, snapshot) for path in sidecars),
        ),
        state=msgspec.structs.replace(view.state, ours=(*view.state.ours, *made)),
        bytes_needed=space.bytes_of(needs),
        taken=taken,
        warnings=tuple(f"{left.vdev} {left.reason}" for left in snapshot.excluded),
    )


def _members(archive: Archive) -> Iterator[Member]:
    return (member for member in archive.manifest.members if member.vdev)


def _snapshot(view: View, archive: Archive, name: str, request: GraftRequest, fresh: Fresh) -> Snapshot:
    """The snapshot as it is here. Of the record only what was told of that moment is taken."""
    told = archive.snapshot
    memory = live.free_in_store(view, Store(f"{view.root}/{view.domain.uuid}"), name)
    held = tuple(_disk(view, member, request, fresh) for member in _members(archive))
    covered = {disk.vdev for disk in held}
    return Snapshot(
        name=name,
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        creation_time_s=told.creation_time_s,
        state=told.state,
        consistency=grade(archive),
        disks=held,
        description=told.description,
        memory=memory if archive.manifest.memory else "",
        live=told.live and archive.manifest.memory is not None,
        excluded=tuple(
            Excluded(disk.vdev, "is not in the archive") for disk in view.domain.disks if disk.vdev not in covered
        ),
        domain_config=_configuration(view, held) if archive.manifest.memory else "",
    )


def _disk(view: View, member: Member, request: GraftRequest, fresh: Fresh) -> DiskSnapshot:
    """An image that nobody stands on. Its overlay is never made, as that of a branch that was left is gone."""
    places = {"operation": fresh.operation, "directory": request.directory}
    path = disk_file(view.domain.name, vdev=member.vdev, **places)
    overlay = Layer(overlay_file(path, vdev=member.vdev, **places), Format.QCOW2)
    image = Layer(path, Format.QCOW2)
    return DiskSnapshot(member.vdev, Kind.EXTERNAL, image, member.disk_bytes, overlay=overlay)


def _configuration(view: View, held: tuple[DiskSnapshot, ...]) -> str:
    """That of the domain, which is of the same machine as the archive's, and is known to name what this host has."""
    layers: dict[str, Layer | None] = {disk.vdev: disk.image for disk in held}
    return configuration.renewed(view.configuration, uuid=view.domain.uuid, name=view.domain.name, layers=layers)


def _freeze(view: View, snapshot: Snapshot) -> tuple[Step, ...]:
    """As every frozen image of a domain that is started from a file of its operator's, where files can carry a flag."""
    if not flags.elsewhere(view) or Capability.IMMUTABLE not in view.capabilities:
        return ()
    return tuple(Freeze(disk.image.path, required=False) for disk in snapshot.disks)


# --- what is against it ----------------------------------------------------------------------------------------------


def _against_directory(view: View, place: str) -> Iterator[Reason]:
    if place not in view.free_bytes:
        yield Reason("no-such-directory", f"there is no directory {place}", "Make it, or name another.")


def _against_disk(view: View, member: Member) -> Iterator[Reason]:
    vdev = member.vdev
    disk = view.domain.disk(vdev)
    remedy = "Import it as a domain of its own, without --domain."
    if Capability.EXTERNAL not in view.capabilities:
        yield Reason("no-external-snapshots", f"{vdev}: {view.host} cannot switch a disk to another image", remedy)
    if disk is None or disk.readonly or disk.cdrom:
        yield Reason("no-such-disk", f"{view.domain.name} has no disk {vdev} that it writes to", remedy)
    elif disks.sticky_kind(view, vdev) is Kind.INTERNAL:
        cause = f"{vdev} has internal snapshots in {disk.path}, and going to another image would lose them"
        yield Reason("kind-is-sticky", cause, f"{remedy} Or delete those first.")


def _against_memory(view: View, archive: Archive) -> Iterator[Reason]:
    """Memory goes on only in the machine that it is of, and over all disks that it knows."""
    remedy = "Import it as a domain of its own, without --domain."
    if Capability.MEMORY not in view.capabilities:
        yield Reason("no-memory", f"{view.host} cannot restore the memory of a guest", "Import it on a host that can.")
    yield from against_uncovered(archive)
    covered = {member.vdev for member in _members(archive)}
    for disk in view.domain.disks:
        if disk.path and not disk.readonly and not disk.cdrom and disk.vdev not in covered:
            cause = f"the archive has the memory of a guest without {disk.vdev}, which {view.domain.name} has"
            yield Reason("disk-not-covered", cause, remedy)
    then = archive.snapshot.domain_config
    if not settings.read(then) or not settings.read(view.configuration):
        cause = f"nobody knows of which machine the memory in {archive.path} is"
        yield Reason("configuration-unknown", cause, remedy)
    elif found := settings.of_the_machine(then, view.configuration):
        cause = f"the memory in {archive.path} is of another machine than {view.domain.name}: {', '.join(found)}"
        yield Reason("configuration-differs", cause, remedy)
