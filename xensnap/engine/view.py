"""What a planner gets to see: everything it needs, read once, as one immutable value.

Planners are pure functions of this view and a request. Its hash is what `apply` compares before it acts.
"""

from collections.abc import Collection, Iterable, Mapping

import msgspec
from msgspec.structs import replace

from xensnap.engine import archive, formers, journal, plan, records, trust, unborn
from xensnap.engine.archive import Archive
from xensnap.engine.context import directory, stat_of_directory
from xensnap.engine.formers import Former
from xensnap.engine.opened import Opened, opened_by
from xensnap.engine.others import Others, Reach, changeable_in, images_of, inspected, kept_in, others_than
from xensnap.engine.records import Store
from xensnap.engine.spelling import one_name_each
from xensnap.engine.state import DomainState
from xensnap.errors import NotFound, Reason, XensnapError
from xensnap.formats.trashed import Trashed
from xensnap.hypervisor import Capability, Hypervisor
from xensnap.model import (
    Chain,
    Described,
    Disk,
    Domain,
    DomainUuid,
    FileId,
    Format,
    Image,
    Kind,
    Layer,
    RunState,
    Snapshot,
)


class DiskView(msgspec.Struct, frozen=True):
    """A disk and what it stands on; a problem where that cannot be read."""

    disk: Disk
    chain: Chain | None = None
    problem: Reason | None = None


class View(msgspec.Struct, frozen=True):
    """One domain, its snapshots and its images, as they were observed."""

    host: str
    root: str
    capabilities: frozenset[Capability]
    domain: Domain
    state: DomainState
    snapshots: Mapping[str, Snapshot]
    disks: tuple[DiskView, ...]
    images: Mapping[str, Image | None]
    """Every image by path that a snapshot, a hidden base or a disk refers to; None where it cannot be read."""
    foreign: Mapping[FileId, str]
    """Images that other domains stand on, with one such domain's name each."""
    free_bytes: Mapping[str, int]
    """By directory: those that disks are in, and those that were asked for. One that is not there has no entry."""
    file_systems: Mapping[str, int] = {}
    """Which file system each of those directories is on: its device number."""
    taken: frozenset[str] = frozenset()
    """Those of the paths that were asked for which exist."""
    prepared: Mapping[str, Image] = {}
    """Those of the files that were asked for which are qcow2 images without any data of their own."""
    damaged: tuple[str, ...] = ()
    """Records that cannot be read, with the reason."""
    damaged_paths: frozenset[str] = frozenset()
    """Where those records are: nothing may be written over them."""
    reached: Mapping[FileId, str] = {}
    """As `foreign`, and what other domains only read: none of it may be removed, or show something else."""
    neighbours: tuple[DomainUuid, ...] = ()
    """Who shares an image with the domain that an operation on either may change: sorted."""
    unseen: tuple[str, ...] = ()
    """Other domains whose stores cannot be read, so that nobody knows which images they need."""
    memories: Mapping[str, int] = {}
    """Length in bytes of the memory file of each snapshot that has one, by snapshot; one that is gone has no entry."""
    doubted: Mapping[str, str] = {}
    """Why the memory of a snapshot is not to be believed that is outside of the store, by snapshot."""
    pending: str = ""
    """Summary of an operation that was interrupted and waits for `recover`."""
    configuration: str = ""
    wanted: Described | None = None
    """The configuration that was asked for, as the toolstack reads it."""
    other_names: frozenset[str] = frozenset()
    """What the other domains are called."""
    opened: Opened = Opened()
    """What the QEMU of a domain that runs writes to."""
    trashed: Mapping[str, Trashed] = {}
    """Snapshots that were thrown away and can be had back, by name: what they hold stays."""
    archive: Archive | None = None
    """What the archive that was asked for says of itself."""
    state_problem: str = ""
    """Why the domain's state in the store cannot be read; `state` is an empty one then."""
    stored: frozenset[str] = frozenset()
    """Every file in the store of the domain: no new one may take its name."""
    formers: tuple[Former, ...] = ()
    """What is kept for a domain of this name under another UUID."""
    generations: Mapping[str, int] = {}
    """Which of the files that had its inode number each image is, by path, where that was asked for."""
    spelled: Mapping[str, str] = {}
    """What a file is called here that is called otherwise elsewhere, such as in the copy of a record: by that name."""

    def chain(self, vdev: str) -> Chain | None:
        """What a disk stands on."""
        return next((view.chain for view in self.disks if view.disk.vdev == vdev), None)

    def frozen(self, vdev: str) -> frozenset[str]:
        """Paths of the images of this disk that were frozen for external snapshots, hidden bases included."""
        held = {
            disk.image.path
            for snapshot in (*self.snapshots.values(), *(each.snapshot for each in self.trashed.values()))
            for disk in snapshot.disks
            if disk.vdev == vdev and disk.kind is Kind.EXTERNAL
        }
        return frozenset(held | {base.path for base in self.state.hidden if base.vdev == vdev})


class Places(msgspec.Struct, frozen=True):
    """What a request speaks of and the domain does not know yet: new files, by name or by the directory for them."""

    files: frozenset[str] = frozenset()
    directories: frozenset[str] = frozenset()
    within: frozenset[str] = frozenset()
    """What may be a directory: if so, all names in it are taken."""
    configuration: str = ""
    """The text of a configuration file that the toolstack is to read, if any."""
    configuration_file: str = ""
    """Where that text is from."""
    archive: str = ""
    """The path of an archive, if any."""
    let_go: bool = False
    """Whether the memory files of snapshots are spoken of whose records were taken away."""
    generations: bool = False
    """Whether it has to be known which very file each image is."""


ANYWHERE = Places()
"""For requests that do not care."""

_ENDS_MAX = 3
"""How often a guest may end or reboot while it is looked at."""


async def observe(host: Hypervisor, ref: str, places: Places = ANYWHERE) -> View:
    """Read everything about one domain. Changes nothing and takes no lock.

    A guest that ends or reboots meanwhile is looked at anew: what its QEMU could not be asked, it need not tell.

    Args:
        host: where.
        ref: name, UUID or domid.
        places: what the request speaks of.

    Raises:
        NotFound: no such domain.
    """
    view = await _observed(host, ref, places)
    for _ in range(_ENDS_MAX):
        if not view.opened.unasked or await host.toolstack.inspect(view.domain.uuid) == view.domain:
            break
        view = await _observed(host, view.domain.uuid, places)
    return view


async def _observed(host: Hypervisor, ref: str, places: Places) -> View:
    known = await host.toolstack.domains()
    domain = next((each for each in known if each.uuid == ref), None) or await unborn.inspect(host, ref)
    store = Store.of(host, domain.uuid)
    contents = await records.load(host, domain.uuid, name=domain.name)
    disks = [await _disk(host, disk) for disk in domain.disks]
    wanted = None
    if places.configuration:
        wanted = await host.toolstack.described(places.configuration, source=places.configuration_file)
    chains = {image.layer.path: image for view in disks if view.chain for image in view.chain}
    others = await others_than(host, domain.uuid, known)
    images = await images_of(host, contents.state, kept_in(contents), chains)
    view = View(
        host=host.name,
        root=host.root,
        capabilities=host.capabilities,
        domain=domain,
        state=contents.state,
        snapshots=contents.snapshots,
        disks=tuple(disks),
        images=images,
        foreign=others.written,
        reached=others.read | others.written,
        neighbours=others.sharing_with(Reach.of(images, changeable_in(contents, domain))),
        unseen=tuple(others.unseen),
        free_bytes={},
        taken=await _taken(host, places, contents.state),
        prepared=await _prepared(host, places),
        damaged=tuple(error.cause for error in contents.damaged),
        damaged_paths=frozenset(error.path for error in contents.damaged),
        memories=await _memories(host, contents.snapshots.values()),
        doubted=await _doubted(host, contents.snapshots.values(), store),
        pending=journal.due(await journal.read(host, store.journal)),
        configuration=await host.toolstack.configuration(domain.uuid),
        wanted=wanted,
        other_names=others.names,
        opened=await opened_by(host, domain, images),
        trashed=contents.trashed,
        archive=await archive.opened(host, places.archive) if places.archive else None,
        state_problem=contents.state_problem,
        stored=frozenset(f"{store.directory}/{name}" for name in await host.files.names(store.directory)),
        formers=tuple([await _former(host, uuid, others) for uuid in formers.of_name(domain, known, others.stores)]),
        generations={path: await host.files.generation(path) for path in images} if places.generations else {},
    )
    view = one_name_each(view)
    free = await free_bytes(host, view.disks, places, store)  # of the directories as they are called everywhere
    return replace(
        view,
        free_bytes=free,
        file_systems=await devices(host, free),
        neighbours=tuple(sorted({*view.neighbours, *(each.uuid for each in formers.shared(view))})),
    )


def digest(view: View) -> str:
    """The hash of what plans depend on; free space and allocated bytes move without meaning anything."""
    return plan.fingerprint(
        [
            view.host,
            view.domain,
            view.state,
            list(view.snapshots.values()),
            [(disk.disk, disk.problem.id if disk.problem else None) for disk in view.disks],
            [(path, _still(view, image)) for path, image in sorted(view.images.items())],
            sorted(view.memories.items()),
            sorted(view.doubted.items()),
            sorted(view.reached.items()),
            view.pending,
            sorted(view.opened.tops.items()),
            view.state_problem,
            view.configuration,
            view.wanted,
            sorted(view.trashed.items()),
            view.archive.manifest if view.archive else None,
        ]
    )


def _still(view: View, image: Image | None) -> Image | None:
    """The image without what moves while nobody changes anything: a guest that runs makes its active layers longer."""
    if image is None:
        return None
    grows = view.domain.state is not RunState.OFF and any(d.path == image.layer.path for d in view.domain.disks)
    return replace(image, allocated_bytes=0, file_length_bytes=0 if grows else image.file_length_bytes)


async def _disk(host: Hypervisor, disk: Disk) -> DiskView:
    if not disk.path:
        return DiskView(disk)
    try:
        return DiskView(disk, await host.images.chain(disk.layer))
    except NotFound as error:
        return DiskView(disk, problem=Reason("image-missing", f"{disk.vdev}: {error.cause}", "Put the image back."))
    except XensnapError as error:
        remedy = error.remedy or "Repair the image, or exclude the disk."
        return DiskView(disk, problem=Reason("image-unreadable", f"{disk.vdev}: {error.cause}", remedy))


async def _former(host: Hypervisor, uuid: DomainUuid, others: Others) -> Former:
    contents, store = others.stores[uuid], Store.of(host, uuid)
    there = next((each for each in others.known if each.uuid == uuid), None)
    images = await images_of(host, contents.state, kept_in(contents))
    layers: dict[str, FileId] = {}
    for disk in there.disks if there else ():
        image = images.get(disk.path) or (await inspected(host, disk.layer) if disk.path else None)
        if image is not None:
            images[disk.path] = image
            layers[disk.vdev] = image.file
    stats = {
        name: await host.files.stat(f"{store.directory}/{name}") for name in await host.files.names(store.directory)
    }
    return Former(
        uuid,
        contents,
        images,
        there.state if there else RunState.OFF,
        layers,
        journal.due(await journal.read(host, store.journal)),
        {name: stat for name, stat in stats.items() if stat is not None},
        is_known=there is not None,
    )


async def _memories(host: Hypervisor, snapshots: Iterable[Snapshot]) -> dict[str, int]:
    found: dict[str, int] = {}
    for snapshot in snapshots:
        stat = await host.files.stat(snapshot.memory) if snapshot.memory else None
        if stat is not None and stat.is_regular:
            found[snapshot.name] = stat.length_bytes
    return found


async def _doubted(host: Hypervisor, snapshots: Iterable[Snapshot], store: Store) -> dict[str, str]:
    found: dict[str, str] = {}
    for snapshot in snapshots:
        place = directory(snapshot.memory)
        stat = await host.files.stat(snapshot.memory) if snapshot.memory and place != store.directory else None
        if stat is not None:
            uid = (await host.machine.whoami()).uid
            doubt = trust.against_file(snapshot.memory, stat, await host.files.stat(place), uid)
            found |= {snapshot.name: doubt} if doubt else {}
    return found


async def _prepared(host: Hypervisor, places: Places) -> dict[str, Image]:
    found: dict[str, Image] = {}
    for path in sorted(places.files):
        layer = Layer(path, Format.QCOW2)
        image = await inspected(host, layer)
        if image is not None and not image.snapshots and not await host.images.holds_data(layer):
            found[path] = image
    return found


async def _taken(host: Hypervisor, places: Places, state: DomainState) -> frozenset[str]:
    memories = {snapshot.memory for snapshot in state.let_go if snapshot.memory} if places.let_go else set()
    taken = {path for path in sorted(places.files | memories) if await host.files.stat(path) is not None}
    for place in sorted(places.within):
        if await stat_of_directory(host, place):
            taken.update(f"{place}/{name}" for name in await host.files.names(place))
    return frozenset(taken)


async def devices(host: Hypervisor, places: Iterable[str]) -> dict[str, int]:
    """Which file system each of these directories is on."""
    stats = {place: await stat_of_directory(host, place) for place in places}
    return {place: stat.file.device for place, stat in stats.items() if stat is not None}


async def free_bytes(host: Hypervisor, disks: Iterable[DiskView], places: Places, store: Store) -> dict[str, int]:
    """Bytes free in the directories of these disks, and in those that were asked for and are there."""
    beside = {directory(view.disk.path) for view in disks if view.chain}
    asked = {directory(path) for path in places.files} | places.directories | {store.directory}
    free: dict[str, int] = {}
    for place in sorted(beside | asked):
        if place in beside or await stat_of_directory(host, place):
            free[place] = await host.files.free_bytes(place)
    return free


def paths_below(view: View, path: str) -> tuple[str, ...]:
    """The image of this path and all that it stands on, as far as they can be read."""
    found: dict[str, None] = {}
    while path not in found and (image := view.images.get(path)) is not None:
        found[path] = None
        path = image.backing.path if image.backing else path
    return tuple(found)


def untagged(image: Image, gone: Collection[tuple[str, str, str]]) -> Image:
    """The image as it will be without some of its internal snapshots, each told by path, tag and id."""
    left = tuple(entry for entry in image.snapshots if (image.layer.path, entry.tag, entry.id) not in gone)
    return image if left == image.snapshots else replace(image, snapshots=left)


def missing_below(view: View, image: Image) -> str:
    """The first image at or below this one's backing file that cannot be read; empty if the whole chain opens."""
    seen: set[str] = set()
    backing = image.backing
    while backing is not None and backing.path not in seen:
        seen.add(backing.path)
        below = view.images.get(backing.path)
        if below is None:
            return backing.path
        backing = below.backing
    return ""


def with_current(view: View) -> str | None:
    """The current snapshot, if its record is still there."""
    return view.state.current if view.state.current in view.snapshots else None
