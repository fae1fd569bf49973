"""The library interface of the 2014 design, under its own names, on top of the engine.

    with open_host("xen", changes=True) as host:
        ctx = Engine(host)
        for disk in libxl_disk_to_snapshot(ctx, "guest1"):
            print(disk.device, disk.path)
        libxl_disk_snapshot_create(ctx, "guest1", [LibxlDiskSnapshot("hda", "before")])

What the design fills in through pointers is returned, and what it counts has a length. `ctx` is an `Engine`. Where it
takes a domid, a name or a UUID does as well, because nothing is keyed by domid. An error is raised instead of returned:
`libxl_error` tells the number that libxl has for it. Each function says what the design wants of it, and where it does
more: nothing is half done, and an interrupted operation is brought to its end first.
"""

from collections.abc import Iterable, Sequence

import msgspec

from xensnap.engine import tree
from xensnap.engine.engine import Engine
from xensnap.engine.request import (
    CreateRequest,
    DeleteRequest,
    DiskChoice,
    EditRequest,
    ForgetRequest,
    RedefineRequest,
    RestoreRequest,
    RevertRequest,
    Told,
    ToldDisk,
)
from xensnap.errors import ExitCode, NotFound, Usage, XensnapError
from xensnap.formats.device_disk import same_device
from xensnap.model import Disk, DiskSnapshot, Domain, Format, Kind, RunState, Snapshot

ERRORS = {
    "FAIL": -3,
    "NOMEM": -5,
    "INVAL": -6,
    "TIMEDOUT": -9,
    "NOT_READY": -11,
    "LOCK_FAIL": -15,
    "JSON_CONFIG_EMPTY": -16,
    "DOMAIN_NOTFOUND": -21,
    "ABORTED": -22,
    "NOTFOUND": -23,
    "DOMAIN_DESTROYED": -24,
    "QMP_GENERIC_ERROR": -28,
    "QMP_COMMAND_NOT_FOUND": -29,
    "QMP_DEVICE_NOT_FOUND": -31,
}
"""libxl's error numbers, `ERROR_…` there, as far as a snapshot can meet them (Xen 4.17)."""


class LibxlDiskSnapshot(msgspec.Struct, frozen=True):
    """`libxl_disk_snapshot`: one disk of a snapshot.

    `file` is the overlay of an external snapshot, and empty for an internal one; `format` is the overlay's, `unknown`
    for an internal one. `path` is the image behind the disk: filled in where it is told, and not looked at where it is
    given, because the design hides it from its users.
    """

    device: str
    name: str = ""
    file: str = ""
    format: str = "unknown"
    path: str = ""


class LibxlDomainSnapshot(msgspec.Struct, frozen=True):
    """`libxl_domain_snapshot`: what a snapshot is. An empty `memory` is a snapshot of disks alone."""

    name: str
    description: str = ""
    creation_time: int = 0
    memory: str = ""
    running: bool = False
    blocked: bool = False
    paused: bool = False
    shutdown: bool = False
    dying: bool = False
    disks: tuple[LibxlDiskSnapshot, ...] = ()


def libxl_load_dom_snapshot_conf(ctx: Engine, domid: str | int, name: str) -> LibxlDomainSnapshot:
    """What is recorded of one snapshot.

    The design loads it into a struct of which only the name is filled in; here the name is what is given.

    Raises:
        NotFound: no such domain, or no such snapshot.
    """
    listing = ctx.list(str(domid))
    return _told(tree.known(listing.contents.snapshots, name, domain=listing.domain.name))


def libxl_store_dom_snapshot_conf(ctx: Engine, domid: str | int, snapshot: LibxlDomainSnapshot) -> LibxlDomainSnapshot:
    """Record a snapshot that exists in the images, or describe one anew that is recorded already.

    The design writes down what it is given. Here it is held to the images first: each tag must be there, each overlay
    in the chain of its disk. One whose record was deleted comes back as it was, with its memory.

    Raises:
        NotFound: no such domain.
        Refused: with everything that is not so. Nothing was recorded.
        Usage: it differs from what is recorded in more than its description.
    """
    domain = str(domid)
    recorded = ctx.list(domain).contents.snapshots.get(snapshot.name)
    if recorded is None:
        try:
            ctx.perform(domain, RestoreRequest(snapshot.name))
        except NotFound as error:
            if error.id == "domain-not-found":
                raise
            ctx.perform(domain, RedefineRequest((_to_tell(snapshot),)))
    elif _described(_told(recorded), snapshot.description) != _described(snapshot, snapshot.description):
        cause = f"{snapshot.name!r} is recorded, and differs in more than its description"
        raise Usage(cause, id="not-as-recorded", remedy="A snapshot stays what it was when it was taken.")
    elif recorded.description != snapshot.description:
        ctx.perform(domain, EditRequest(snapshot.name, snapshot.description))
    return libxl_load_dom_snapshot_conf(ctx, domid, snapshot.name)


def libxl_delete_dom_snapshot_conf(ctx: Engine, domid: str | int, name: str) -> None:
    """Forget a snapshot, and leave its disks and its memory alone.

    Here the record goes into the trash, from which `libxl_store_dom_snapshot_conf` has it back; meanwhile nobody takes
    away what the snapshot holds.

    Raises:
        NotFound: no such domain, or no such snapshot.
        Refused: it is pinned. Nothing was touched.
    """
    ctx.perform(str(domid), ForgetRequest(name))


def libxl_domain_snapshot_list(ctx: Engine, domid: str | int) -> tuple[LibxlDomainSnapshot, ...]:
    """All snapshots of a domain, oldest first. `NotFound`: no such domain."""
    return tuple(_told(each) for each in ctx.list(str(domid)).contents.snapshots.values())


def libxl_disk_snapshot_create(
    ctx: Engine, domid: str | int, snapshots: Sequence[LibxlDiskSnapshot]
) -> tuple[LibxlDiskSnapshot, ...]:
    """Take snapshots of disks, all at one moment, and return them as they were taken.

    In the design this is one QMP transaction on a running domain. Here a domain that is off will do, too, and what was
    taken is recorded as a snapshot of disks alone, because a tag or an overlay that nobody remembers is in the way of
    everything later. All disks have one name; without one it is the second of the creation.

    Raises:
        NotFound: no such domain.
        Refused: with every reason against it. Nothing was touched.
        Usage: the disks have different names, or one of them is there twice.
    """
    domain = ctx.list(str(domid)).domain
    names = {each.name for each in snapshots} - {""}
    if len(names) > 1:
        cause = f"the disks of one snapshot have different names: {', '.join(map(repr, sorted(names)))}"
        raise Usage(cause, id="two-names", remedy="Give all of them one name.")
    result = ctx.create(
        domain.uuid,
        CreateRequest(name=next(iter(names), None), disks=_choices(domain, snapshots), disk_only=True),
    )
    return libxl_load_dom_snapshot_conf(ctx, domain.uuid, result.plan.snapshot).disks


def libxl_disk_snapshot_delete(ctx: Engine, domid: str | int, snapshots: Sequence[LibxlDiskSnapshot]) -> None:
    """Delete the snapshot that these disks belong to.

    In the design the disks are deleted one after the other, and internal ones alone. Here external ones are merged,
    too, and the snapshot goes as a whole: one of which a part is missing could not be reverted to.

    Raises:
        NotFound: no such domain, or no such snapshot.
        Refused: with every reason against it. Nothing was touched.
        Usage: the disks belong to different snapshots, or are not all that it has.
    """
    snapshot = _whole(ctx, domid, snapshots)
    ctx.delete(str(domid), DeleteRequest(snapshot.name))


def libxl_disk_snapshot_revert(ctx: Engine, domid: str | int, snapshots: Sequence[LibxlDiskSnapshot]) -> None:
    """Make these disks what they were at their snapshot; memory is left as it was saved.

    In the design the domain has been destroyed before, and `qemu-img` is used on internal snapshots. Here external ones
    are reverted to as well, by a new overlay on the frozen image; a guest that runs is ended, and starts anew if it ran
    at the snapshot.

    Raises:
        NotFound: no such domain, or no such snapshot.
        Refused: with every reason against it. Nothing was touched.
        Usage: the disks belong to different snapshots.
    """
    snapshot = _of(ctx, domid, snapshots)
    vdevs = tuple(disk.vdev for disk in snapshot.disks if any(same_device(disk.vdev, s.device) for s in snapshots))
    some = vdevs if len(vdevs) < len(snapshot.disks) else ()
    ctx.revert(str(domid), RevertRequest(snapshot.name, disks_only=True, only=some))


def libxl_disk_to_snapshot(
    ctx: Engine, domid: str | int, snapshot: LibxlDomainSnapshot | None = None
) -> tuple[LibxlDiskSnapshot, ...]:
    """The disks that a snapshot would cover, with the image behind each.

    The design fills in `path` of the disks that it is given, and makes a list of all where it is given none. So does
    this; a cdrom, an empty drive and a disk that is read-only are no part of any snapshot.

    Raises:
        NotFound: no such domain, or one of the disks that were given is none of its disks.
    """
    domain = ctx.list(str(domid)).domain
    covered = [disk for disk in domain.disks if disk.path and not (disk.cdrom or disk.readonly)]
    if snapshot is None or not snapshot.disks:
        name = snapshot.name if snapshot else ""
        return tuple(LibxlDiskSnapshot(disk.vdev, name, path=disk.path) for disk in covered)
    return tuple(
        msgspec.structs.replace(each, name=each.name or snapshot.name, path=_disk(domain, each.device).path)
        for each in snapshot.disks
    )


def libxl_error(error: XensnapError) -> int:
    """The number that libxl has for an error: one of `ERRORS`."""
    match error.exit_code:
        case ExitCode.NOT_FOUND:
            return ERRORS["DOMAIN_NOTFOUND" if error.id == "domain-not-found" else "NOTFOUND"]
        case ExitCode.BUSY:
            return ERRORS["LOCK_FAIL" if error.id == "busy" else "INVAL"]
        case ExitCode.USAGE | ExitCode.REFUSED:
            return ERRORS["INVAL"]
        case ExitCode.INTERRUPTED:
            return ERRORS["ABORTED"]
        case ExitCode.UNKNOWN:
            return ERRORS["TIMEDOUT"]
        case _:
            return ERRORS["FAIL"]


def _told(snapshot: Snapshot) -> LibxlDomainSnapshot:
    state = snapshot.state
    return LibxlDomainSnapshot(
        name=snapshot.name,
        description=snapshot.description,
        creation_time=snapshot.creation_time_s,
        memory=snapshot.memory,
        running=state is RunState.RUNNING,
        paused=state is RunState.PAUSED,
        shutdown=state is RunState.SHUTDOWN,
        dying=state is RunState.DYING,
        disks=tuple(map(_told_disk, snapshot.disks)),
    )


def _told_disk(disk: DiskSnapshot) -> LibxlDiskSnapshot:
    if disk.overlay is None:
        return LibxlDiskSnapshot(disk.vdev, disk.tag, path=disk.image.path)
    return LibxlDiskSnapshot(disk.vdev, "", disk.overlay.path, disk.overlay.format, disk.image.path)


def _described(snapshot: LibxlDomainSnapshot, description: str) -> LibxlDomainSnapshot:
    """The snapshot with another description, and without what a caller need not know."""
    disks = tuple(msgspec.structs.replace(disk, path="", name="") for disk in snapshot.disks)
    return msgspec.structs.replace(snapshot, description=description, disks=disks)


def _to_tell(snapshot: LibxlDomainSnapshot) -> Told:
    state = RunState.PAUSED if snapshot.paused else RunState.OFF
    return Told(
        name=snapshot.name,
        disks=tuple(
            ToldDisk(disk.device, Kind.EXTERNAL, overlay=disk.file)
            if disk.file
            else ToldDisk(disk.device, Kind.INTERNAL, tag=disk.name or snapshot.name)
            for disk in snapshot.disks
        ),
        description=snapshot.description,
        created_s=snapshot.creation_time or None,
        state=RunState.RUNNING if snapshot.running or snapshot.blocked else state,
        memory=snapshot.memory,
    )


def _choices(domain: Domain, snapshots: Sequence[LibxlDiskSnapshot]) -> dict[str, DiskChoice]:
    """What is asked of each disk; those that are not named are left out."""
    chosen: dict[str, DiskChoice] = {}
    for each in snapshots:
        vdev = _disk(domain, each.device).vdev
        if vdev in chosen:
            raise Usage(f"{vdev} is there twice", id="told-twice", remedy="Name each disk once.")
        if each.file and each.format not in ("unknown", Format.QCOW2):
            cause = f"{vdev}: an overlay is qcow2, and not {each.format}"
            raise Usage(cause, id="unsupported-format", remedy="Ask for qcow2.")
        chosen[vdev] = DiskChoice(Kind.EXTERNAL if each.file else Kind.INTERNAL, each.file)
    rest = (disk.vdev for disk in domain.disks if disk.vdev not in chosen)
    return chosen | {vdev: DiskChoice(skip=True) for vdev in rest}


def _disk(domain: Domain, device: str) -> Disk:
    found = next((disk for disk in domain.disks if same_device(disk.vdev, device)), None)
    if found is None:
        there = ", ".join(disk.vdev for disk in domain.disks) or "none"
        raise NotFound(f"{domain.name} has no disk {device}", id="no-such-disk", remedy=f"Its disks are: {there}.")
    return found


def _of(ctx: Engine, domid: str | int, disks: Sequence[LibxlDiskSnapshot]) -> Snapshot:
    """The one snapshot that all of these disks belong to, by tag or by overlay."""
    listing = ctx.list(str(domid))
    owners = {_owner(listing.contents.snapshots.values(), disk) for disk in disks}
    if len(owners) == 1 and (name := next(iter(owners))) is not None:
        return listing.contents.snapshots[name]
    if None in owners or not owners:
        cause = f"{listing.domain.name} has no snapshot with these disks"
        raise NotFound(cause, id="no-such-snapshot", remedy="See libxl_domain_snapshot_list.")
    cause = f"these disks belong to different snapshots: {', '.join(map(repr, sorted(map(str, owners))))}"
    raise Usage(cause, id="two-names", remedy="Work on one snapshot at a time.")


def _owner(snapshots: Iterable[Snapshot], disk: LibxlDiskSnapshot) -> str | None:
    """The name of the snapshot that has this disk: the same tag, or the same overlay."""
    for snapshot in snapshots:
        for held in snapshot.disks:
            of_same = held.overlay.path == disk.file if held.overlay else not disk.file and held.tag == disk.name
            if of_same and same_device(held.vdev, disk.device):
                return snapshot.name
    return None


def _whole(ctx: Engine, domid: str | int, disks: Sequence[LibxlDiskSnapshot]) -> Snapshot:
    """The snapshot, if these are all of its disks."""
    snapshot = _of(ctx, domid, disks)
    rest = [held.vdev for held in snapshot.disks if not any(same_device(held.vdev, disk.device) for disk in disks)]
    if rest:
        cause = f"{snapshot.name!r} has other disks, too: {', '.join(rest)}"
        raise Usage(cause, id="part-of-a-snapshot", remedy="Name all of its disks; a snapshot is deleted as a whole.")
    return snapshot
