"""Planning to take in an archive: a domain that has one snapshot, and is at it. Pure. No path in an archive is used.

The disks become standalone qcow2 images with the snapshot as a tag in each, whatever they were where they come from:
such a domain can be reverted, snapshotted further and moved again without any other file. Its memory goes into the
store. Of the configuration only what names nothing of a host is taken, see `formats.configuration`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import replace

from xensnap.engine import names, risks, space
from xensnap.engine.archive import Archive
from xensnap.engine.archive_steps import AcceptImage, Receive
from xensnap.engine.birth_steps import DefineDomain
from xensnap.engine.context import directory
from xensnap.engine.newborn import Birthplace, against_birth, description_file, uuid_of
from xensnap.engine.plan import Plan, fingerprint
from xensnap.engine.planning import plan_for
from xensnap.engine.point_steps import TakePoint
from xensnap.engine.records import Store
from xensnap.engine.request import Fresh, ImportRequest
from xensnap.engine.state import DomainState
from xensnap.engine.steps import Step
from xensnap.engine.store_steps import WriteRecord
from xensnap.errors import Reason, Usage, XensnapError
from xensnap.formats import archive as formats
from xensnap.formats import configuration, libxl_json, savefile
from xensnap.formats.archive import ArchivedDisk, Member
from xensnap.hypervisor import Capability
from xensnap.model import (
    Consistency,
    Described,
    Disk,
    DiskSnapshot,
    Domain,
    DomainUuid,
    Format,
    Kind,
    Layer,
    RunState,
    Snapshot,
)


class Identity(NamedTuple):
    """What the domain and its snapshot are called here."""

    uuid: DomainUuid
    name: str
    snapshot: str


def identity(archive: Archive, request: ImportRequest, fresh: Fresh) -> Identity:
    """As the archive says, where the request says nothing else."""
    told = archive.manifest
    uuid = uuid_of(fresh) if request.new_uuid else DomainUuid(told.domain.uuid)
    return Identity(uuid, request.new_name or told.domain.name, request.snapshot or told.snapshot)


def plan_import(
    archive: Archive, place: Birthplace, request: ImportRequest, fresh: Fresh, described: Described | None
) -> Plan:
    """Plan to take in an archive.

    Args:
        archive: what it says of itself.
        place: what was observed of where the domain is to be.
        request: where to, and what is to be called otherwise.
        fresh: operation id and time.
        described: what the host makes of the configuration that was given, if one was.

    Raises:
        Usage: the configuration that was given is none, or is of another machine.
        Refused: with every reason against it. Nothing was touched.
    """
    who = identity(archive, request, fresh)
    store = Store(f"{place.view.root}/{who.uuid}")
    disks = tuple(_disk(archive, disk, who, request, fresh) for disk in archive.manifest.domain.disks)
    here = tuple(disk for disk in disks if disk.path or disk.cdrom)
    needs = tuple(needed(archive, request.directory, store))
    found = _machine(archive, described, who, here, fresh_hardware=request.new_uuid)
    reasons = [
        *against_birth(place, frozenset({request.directory})),
        *_against_name(who.snapshot),
        *_against_host(archive, place),
        *against_uncovered(archive),
        *_against_left_out(archive, found.left_out),
        *space.against(place.view, needs),
    ]
    taken = risks.refuse(reasons, request.accept)
    told = archive.manifest.domain
    domain = Domain(who.uuid, who.name, RunState.OFF, here, kind=told.kind, memory_bytes=told.memory_bytes)
    snapshot = _snapshot(archive, who, disks, found.text, store)
    plan = plan_for(
        place.view,
        fresh.operation,
        "import",
        f"import snapshot {who.snapshot!r} of {who.name} from {request.path}",
        snapshot=who.snapshot,
        prepare=(
            *(step for disk in snapshot.disks for step in receive_disk(archive, disk)),
            *receive_memory(archive, snapshot),
            *(TakePoint(disk.vdev, disk.image.path, disk.tag) for disk in snapshot.disks),
            WriteRecord(snapshot),
        ),
        state=DomainState(who.uuid, who.name, current=who.snapshot),
        finish=(DefineDomain(domain, found.text, description_file(request.directory, who.name)),),
        bytes_needed=space.bytes_of(needs),
        taken=taken,
        warnings=tuple(_warnings(archive)),
    )
    return replace(plan, observed=fingerprint([plan.observed, archive.manifest]))


# --- the machine -----------------------------------------------------------------------------------------------------


class _Machine(NamedTuple):
    """What describes the domain here, and what of the archive's own description is not taken, in words."""

    text: str
    left_out: tuple[str, ...]


def _machine(
    archive: Archive, described: Described | None, who: Identity, here: tuple[Disk, ...], *, fresh_hardware: bool
) -> _Machine:
    """The description that was given, or as much of the archive's own as names nothing of a host."""
    layers = {disk.vdev: disk.layer if disk.path else None for disk in here}
    gone: list[str] = []
    lost = [disk.vdev for disk in archive.manifest.domain.disks if _is_lost(disk, layers)]
    left_out = [f"{vdev}, a disk that is only read" for vdev in lost]
    try:
        if described is not None:
            text, left_out = described.text, []
            _require_same_disks(archive, described)
        else:
            text, more = configuration.portable(archive.snapshot.domain_config)
            left_out += more
            gone = [vdev for vdev in configuration.vdevs(text) if vdev not in layers]
        text = configuration.renewed(
            text, uuid=who.uuid, name=who.name, layers=layers, gone=gone, fresh_hardware=fresh_hardware
        )
        if archive.head is not None:
            _libxl(text)
    except XensnapError as error:
        if described is not None:
            raise Usage(error.cause, id="bad-description", remedy="Correct the file.") from error
        raise formats.bad(archive.path, error.cause) from error
    return _Machine(text, tuple(left_out))


def _is_lost(disk: ArchivedDisk, layers: dict[str, Layer | None]) -> bool:
    return disk.readonly and not disk.cdrom and disk.vdev not in layers


def _libxl(text: str) -> libxl_json.Config:
    return libxl_json.parse(text.encode("utf-8", "surrogateescape"), source="the configuration")


def _require_same_disks(archive: Archive, described: Described) -> None:
    there = {disk.vdev for disk in described.disks}
    missing = [member.vdev for member in archive.manifest.members if member.vdev and member.vdev not in there]
    if missing:
        cause = f"the configuration has no disk {', '.join(missing)}, which the archive has"
        raise Usage(cause, id="bad-description", remedy="Describe the same machine.")


def _disk(archive: Archive, disk: ArchivedDisk, who: Identity, request: ImportRequest, fresh: Fresh) -> Disk:
    """The disk as the domain has it here; without a path where the archive has none for it."""
    if archive.manifest.disk(disk.vdev) is None:
        return Disk(disk.vdev, "", Format.RAW, readonly=True, cdrom=disk.cdrom)
    path = names.disk_file(who.name, vdev=disk.vdev, operation=fresh.operation, directory=request.directory)
    return Disk(disk.vdev, path, Format.QCOW2, readonly=disk.readonly, cdrom=disk.cdrom)


# --- the snapshot ----------------------------------------------------------------------------------------------------


def _snapshot(archive: Archive, who: Identity, disks: tuple[Disk, ...], text: str, store: Store) -> Snapshot:
    """The snapshot as it is here. Of the record only what was told of that moment is taken."""
    told = archive.snapshot
    covered = [(disk, member) for disk in disks if (member := archive.manifest.disk(disk.vdev)) is not None]
    memory = f"{store.directory}/{names.encode(who.snapshot)}.save" if archive.manifest.memory else ""
    return Snapshot(
        name=who.snapshot,
        domain_uuid=who.uuid,
        domain_name=who.name,
        creation_time_s=told.creation_time_s,
        state=told.state,
        consistency=grade(archive),
        disks=tuple(
            DiskSnapshot(disk.vdev, Kind.INTERNAL, disk.layer, member.disk_bytes, who.snapshot)
            for disk, member in covered
        ),
        description=told.description,
        memory=memory,
        live=told.live and bool(memory),
        domain_config=text,
    )


def grade(archive: Archive) -> Consistency:
    """How consistent what an archive holds is: its record may say more than is in it."""
    told = archive.snapshot.consistency
    if archive.manifest.memory:
        return Consistency.CHECKPOINT
    return Consistency.CRASH if told is Consistency.CHECKPOINT else told


def receive_disk(archive: Archive, disk: DiskSnapshot) -> Iterator[Step]:
    """The steps that bring a disk out of an archive, under its name once it is known to stand alone."""
    member = archive.manifest.disk(disk.vdev)
    assert member is not None, "the snapshot covers what the archive has"
    received = f"{disk.image.path}.part"
    yield _receive(archive, member, received, disk.vdev)
    yield AcceptImage(received, disk.image.path, disk.vdev, disk.size_bytes, archive.path)


def receive_memory(archive: Archive, snapshot: Snapshot) -> Iterator[Step]:
    """The step that brings the memory out of an archive, if any, with the configuration that the snapshot has here."""
    member = archive.manifest.memory
    if member is None:
        return
    step = _receive(archive, member, snapshot.memory, "the memory of the guest")
    if archive.head is not None:
        # xl obeys the configuration in a save file: a program that it names as the device model is run as root.
        head = archive.head
        ours = savefile.Head(_libxl(snapshot.domain_config), head.mandatory_flags, head.optional_flags, head.rest, 0)
        step = replace(step, skipped_bytes=head.length_bytes, beginning=savefile.encode(ours))
    yield step


def _receive(archive: Archive, member: Member, path: str, what: str) -> Receive:
    return Receive(archive.path, archive.place(member).offset, member.size_bytes, member.blake2b, path, what)


# --- what is against it ----------------------------------------------------------------------------------------------


def _against_name(name: str) -> Iterator[Reason]:
    bad = names.problem(name)
    if bad:
        yield bad


def _against_host(archive: Archive, place: Birthplace) -> Iterator[Reason]:
    able = place.view.capabilities
    if Capability.INTERNAL not in able:
        cause = f"{place.view.host} can make no internal snapshots, which an archive becomes"
        yield Reason("no-internal-snapshots", cause, "Import it on a host that can.")
    if archive.manifest.memory and Capability.MEMORY not in able:
        cause = f"{place.view.host} cannot restore the memory of a guest"
        yield Reason("no-memory", cause, "Import it on a host that can.")


def against_uncovered(archive: Archive) -> Iterator[Reason]:
    """Old memory over a disk that is not there, or not of that moment, destroys its file system."""
    for disk in archive.manifest.domain.disks if archive.manifest.memory else ():
        if archive.manifest.disk(disk.vdev) is None and not disk.readonly and not disk.cdrom:
            cause = f"{archive.path} has the memory of a guest, but not its disk {disk.vdev}"
            yield Reason("disk-not-covered", cause, "Export a snapshot of all writable disks.")


def _against_left_out(archive: Archive, left_out: tuple[str, ...]) -> Iterator[Reason]:
    if left_out:
        cause = f"the configuration in {archive.path} names what is only where it comes from: {'; '.join(left_out)}"
        remedy = "Give a description of the domain that names what this host has for it: --config FILE."
        yield Reason("not-portable", cause, remedy)


def needed(archive: Archive, into: str, store: Store) -> Iterator[space.Need]:
    """What taking an archive in takes: its images in this directory, its memory beside the records."""
    for member in archive.manifest.members:
        if member.vdev:
            yield space.Need(into, member.size_bytes + space.BYTES_PER_DISK, member.vdev)
        elif member == archive.manifest.memory:
            yield space.Need(directory(store.directory), member.size_bytes, "the memory of the guest")


def _warnings(archive: Archive) -> Iterator[str]:
    for disk in archive.manifest.domain.disks:
        if archive.manifest.disk(disk.vdev) is None and not disk.readonly and not disk.cdrom:
            yield f"{disk.vdev} is not in the archive, so the domain has it no more"
