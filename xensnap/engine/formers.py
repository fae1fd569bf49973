"""Stores of one name under another UUID: a file without `uuid=` gives its domain a new one at each start (xl 4.17.7).

Whether it is the same guest is told by its disks alone: each is in the very file that its snapshots left it in.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from xensnap.engine import records
from xensnap.engine.records import Contents
from xensnap.errors import XensnapError
from xensnap.hypervisor import FileStat, Hypervisor
from xensnap.model import Domain, DomainUuid, FileId, Image, Kind, RunState, Snapshot

if TYPE_CHECKING:
    from xensnap.engine.view import View


class Against(NamedTuple):
    """Why what is kept under another UUID cannot be the domain's, and what to do."""

    cause: str
    remedy: str


class Former(msgspec.Struct, frozen=True):
    """What is kept under a UUID that the domain may have had.

    Attributes:
        uuid: under which it is kept.
        contents: the store.
        images: every image that it speaks of, by path; None where one cannot be read.
        state: of the domain that has this UUID; it is off where the host knows none.
        layers: which image each disk of that domain is in now, by vdev; empty where the host knows none.
        pending: what waits for `recover` in that store.
        files: all that is in it, by name.
        is_known: whether the host knows a domain with this UUID.
    """

    uuid: DomainUuid
    contents: Contents
    images: Mapping[str, Image | None] = {}
    state: RunState = RunState.OFF
    layers: Mapping[str, FileId] = {}
    pending: str = ""
    files: Mapping[str, FileStat] = {}
    is_known: bool = False

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """All whose content has to stay: also those in the trash, and those that were let go."""
        thrown = (each.snapshot for each in self.contents.trashed.values())
        return (*self.contents.snapshots.values(), *thrown, *self.contents.state.let_go)

    @property
    def told(self) -> str:
        """Its snapshots, in words."""
        return ", ".join(repr(snapshot.name) for snapshot in self.snapshots)

    def file(self, path: str) -> FileId | None:
        """Which file an image of it is."""
        image = self.images.get(path)
        return image.file if image else None


async def of_nobody(host: Hypervisor, known: Iterable[Domain]) -> dict[DomainUuid, Contents]:
    """The stores with snapshots of domains that the host does not know. Changes nothing.

    Args:
        host: whose stores to look through.
        known: the domains that it knows.
    """
    found: dict[DomainUuid, Contents] = {}
    for uuid in await records.of_unknown(host, known):
        with suppress(XensnapError):
            contents = await records.load(host, uuid)
            if _holds(contents):
                found[uuid] = contents
    return found


async def of_domain(host: Hypervisor, domain: Domain) -> tuple[DomainUuid, ...]:
    """The UUIDs under which there are snapshots of a domain of this name, besides its own. Changes nothing."""
    known = await host.toolstack.domains()
    stores = await of_nobody(host, known)
    for other in known:
        if other.name == domain.name and other.uuid != domain.uuid:
            with suppress(XensnapError):
                stores[other.uuid] = await records.load(host, other.uuid)
    return of_name(domain, known, stores)


def of_name(domain: Domain, known: Iterable[Domain], stores: Mapping[DomainUuid, Contents]) -> tuple[DomainUuid, ...]:
    """Those of the stores that were made for a domain of this name, and not for this UUID. Pure.

    Args:
        domain: the one that is looked at.
        known: the domains of the host; those that have another name now are others.
        stores: what is kept, by UUID.
    """
    others = {each.uuid for each in known if each.name != domain.name} | {domain.uuid}
    return tuple(
        uuid
        for uuid, contents in sorted(stores.items())
        if uuid not in others and _holds(contents) and domain.name in _names(contents)
    )


def shared(view: "View") -> Iterator[Former]:
    """Those that hold something of what the domain stands on. The others were of another domain of its name."""
    ours = {image.file for image in view.images.values() if image}
    paths = {disk.path for disk in view.domain.disks}
    for former in view.formers:
        theirs = {disk.overlay.path for snapshot in former.snapshots for disk in snapshot.disks if disk.overlay}
        theirs |= {disk.image.path for snapshot in former.snapshots for disk in snapshot.disks}
        if paths & theirs or ours & {former.file(path) for path in former.images}:
            yield former


def against(view: "View", former: Former) -> Iterator[Against]:
    """All that keeps what was kept under the other UUID from being this domain's. Pure."""
    name, here = view.domain.name, view.domain.uuid
    if former.state is not RunState.OFF:
        cause = f"a domain {name} with the UUID {former.uuid} is there, too, and {former.state}"
        yield Against(cause, "Two guests on one disk destroy it: end the one that is not meant.")
    if former.pending:
        cause = f"an operation under {former.uuid} was interrupted: {former.pending}"
        known = "Shut the domain down" if former.is_known else _again(former)
        yield Against(cause, f"{known}, and run `xensnap recover {former.uuid}`.")
    if former.contents.damaged or view.damaged:
        damaged = "; ".join([*(error.cause for error in former.contents.damaged), *view.damaged])
        yield Against(f"what is kept cannot be read: {damaged}", "Put it back from a copy.")
    if view.snapshots or view.trashed or view.state.let_go or view.state.hidden:
        cause = f"there are snapshots under {here}, too"
        yield Against(cause, "Delete those that are not wanted, with what is in the trash.")
    others = [other.uuid for other in shared(view) if other.uuid != former.uuid]
    if others:
        cause = f"there are snapshots under {', '.join(others)}, too"
        yield Against(cause, "Move the store away that is not wanted.")
    yield from _against_disks(view, former)


def _against_disks(view: "View", former: Former) -> Iterator[Against]:
    """Each disk that has snapshots goes on in the file that they left it in."""
    again = _again(former)
    held = _held(former)
    vdevs = sorted({disk.vdev for snapshot in former.snapshots for disk in snapshot.disks})
    for vdev in vdevs:
        chain = view.chain(vdev)
        if chain is None:
            cause = f"it has no disk {vdev}, or one that cannot be read, and had one when {former.told} was taken"
            yield Against(cause, f"{again}, with that disk.")
            continue
        now = chain.active.file
        left = former.layers.get(vdev)
        if now in held:
            path = chain.active.layer.path
            cause = f"{vdev} starts from {path}, which holds the snapshot {held[now]!r}: what came after is elsewhere"
            yield Against(cause, f"{again}, with {_went_on(former, vdev)} as {vdev}.")
        elif now != left if left is not None else now not in _ends(former, vdev).values():
            cause = f"{vdev} is {chain.active.layer.path}, and went on elsewhere when {former.told} was taken"
            yield Against(cause, f"{again}, with {_went_on(former, vdev)} as {vdev}.")
    if not vdevs:
        yield Against(f"{former.told} has no disk by which it could be known", f"{again}.")


def _again(former: Former) -> str:
    """How the domain gets the UUID back that it had."""
    return f'Write uuid = "{former.uuid}" into the file that it is started from, and start it anew'


def _held(former: Former) -> dict[FileId, str]:
    """The files that hold external snapshots, and hidden bases: no disk goes on in one."""
    held = {former.file(base.path): "that is gone" for base in former.contents.state.hidden}
    for snapshot in former.snapshots:
        held |= {former.file(disk.image.path): snapshot.name for disk in snapshot.disks if disk.kind is Kind.EXTERNAL}
    return {file: name for file, name in held.items() if file is not None}


def _ends(former: Former, vdev: str) -> dict[str, FileId]:
    """The images by path that a disk may go on in: one with tags in it, or an overlay above what is frozen."""
    disks = [disk for snapshot in former.snapshots for disk in snapshot.disks if disk.vdev == vdev]
    paths = [disk.image.path for disk in disks if disk.kind is Kind.INTERNAL]
    paths += [disk.overlay.path for disk in disks if disk.overlay]
    bases = {former.file(path) for path in paths} | {former.file(disk.image.path) for disk in disks}
    ours = [entry.path for entry in former.contents.state.ours if entry.role == "overlay"]
    paths += [path for path in ours if not bases.isdisjoint(_below(former, path))]
    held = _held(former)
    found = {path: former.file(path) for path in paths}
    return {path: file for path, file in found.items() if file is not None and file not in held}


def _below(former: Former, path: str) -> Iterator[FileId]:
    """The files of an image and of all that it stands on, as far as they can be read."""
    seen: set[str] = set()
    while path not in seen and (image := former.images.get(path)) is not None:
        seen.add(path)
        yield image.file
        path = image.backing.path if image.backing else path


def _went_on(former: Former, vdev: str) -> str:
    """Where the disk has gone on, in words."""
    if vdev in former.layers:
        return next((path for path in former.images if former.file(path) == former.layers[vdev]), "its newest overlay")
    return " or ".join(sorted(_ends(former, vdev))) or "its newest overlay"


def _holds(contents: Contents) -> bool:
    return bool(contents.snapshots or contents.trashed or contents.state.let_go)


def _names(contents: Contents) -> set[str]:
    return {contents.state.domain_name, *(snapshot.domain_name for snapshot in contents.snapshots.values())}
