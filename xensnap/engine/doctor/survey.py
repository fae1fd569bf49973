"""What the doctor gets to see: the view of a domain, and besides it all the files that we may have left around it."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

import msgspec

from xensnap.engine import journal, locks, names, trust, undo
from xensnap.engine import plan as plans
from xensnap.engine.context import directory
from xensnap.engine.create import sidecar_paths
from xensnap.engine.doctor.rebuild import last_decided, rebuilt
from xensnap.engine.journal import Begin, Entry
from xensnap.engine.locks import LockSeen
from xensnap.engine.records import Store
from xensnap.engine.spelling import snapshot_as
from xensnap.engine.view import View, observe
from xensnap.errors import Damaged, FileFailed, NotFound, Reason, Refused, XensnapError
from xensnap.formats import snapshot_record
from xensnap.hypervisor import Capability, CheckResult, FileStat, Hypervisor
from xensnap.model import DescribedBy, DomainUuid, FileId, Format, Image, Layer, Snapshot


class Stray(msgspec.Struct, frozen=True):
    """An overlay that nothing refers to: what its header says, and whether it has any cluster of its own."""

    image: Image | None
    holds_data: bool = False


class Survey(msgspec.Struct, frozen=True):
    """Everything about a domain and around it.

    Attributes:
        view: what every planner sees. Where the domain's state cannot be read, it has the rebuilt one.
        entries: the journal, as far as it can be read.
        begun: the operation that was interrupted.
        journal_problem: why nobody can tell whether there is one.
        stored: what stands in the store, by name.
        beside: files by path, beside images of the domain, that bear names which only we give.
        copies: the copies of records beside images, by path; None where one cannot be read, or not be believed.
        doubted: why such a copy is not to be believed, by path.
        elsewhere: of the files beside images those that an operation on another domain may be writing just now.
        strays: images by path that bear names of ours and that nothing in the view refers to.
        stats: what stands at the path of each image of the view, where something does.
        generations: of each file of the ledger that has one there, and of each that may have to be removed, the
            generation that it has now; 0 where nobody can tell.
        around: every file in the directories of images, looked at only where an image is missing.
        checks: what a consistency check of each image said, where one was made.
        flags: whether each frozen image carries the immutable flag, where it should: a start from the operator's own
            file must not write to it.
        doubts: why what is in the store is not to be believed.
        places: the directories that images are in, or should be.
        uid: who we are.
        watched: whether a running guest has the daemon that reboots it; None where it needs none.
        fresh: the id of the operation that would repair something.
        lock: the lock of the domain.
        last_lost: whether the journal does not tell any more what was done last.
        unmended: whether a repair has failed that may bring back what seems to be missing.
    """

    view: View
    fresh: str
    entries: tuple[Entry, ...] = ()
    begun: Begin | None = None
    journal_problem: str = ""
    stored: Mapping[str, FileStat] = {}
    beside: Mapping[str, FileStat] = {}
    copies: Mapping[str, Snapshot | None] = {}
    doubted: Mapping[str, str] = {}
    elsewhere: frozenset[str] = frozenset()
    strays: Mapping[str, Stray] = {}
    stats: Mapping[str, FileStat] = {}
    generations: Mapping[str, int] = {}
    around: Mapping[str, FileStat] = {}
    checks: Mapping[str, CheckResult] = {}
    flags: Mapping[str, bool] = {}
    doubts: tuple[Reason, ...] = ()
    places: Mapping[str, FileStat] = {}
    uid: int = 0
    watched: bool | None = None
    lock: LockSeen = LockSeen("")
    last_lost: bool = False
    unmended: bool = False

    @property
    def store(self) -> Store:
        """Where the store of the domain is."""
        return Store(f"{self.view.root}/{self.view.domain.uuid}")

    def generation(self, path: str) -> int:
        """Which of the files that had its inode number it is; 0 where nobody can tell."""
        return self.generations.get(path, 0)

    @property
    def kept(self) -> tuple[Snapshot, ...]:
        """All snapshots whose content must stay: those in the trash, too."""
        return (*self.view.snapshots.values(), *(each.snapshot for each in self.view.trashed.values()))

    @property
    def runs_on(self) -> dict[str, str]:
        """The image that the guest's QEMU writes each disk to now, by vdev."""
        return {vdev: tops[0].layer.path for vdev, tops in self.view.opened.tops.items() if tops}

    @property
    def blind(self) -> bool:
        """Whether something cannot be read, or is not mended yet, that may need what seems to be left over."""
        return bool(self.view.damaged or self.view.unseen or self.begun or self.unmended)


async def survey(host: Hypervisor, ref: str, *, check: bool = False) -> Survey:
    """Look at a domain and at everything around it. Changes nothing and takes no lock.

    Args:
        host: where.
        ref: name, UUID or domid.
        check: also count clusters in every image that nobody has open; that reads all its tables.

    Raises:
        NotFound: no such domain.
    """
    domain = await host.toolstack.inspect(ref)
    store = Store.of(host, domain.uuid)
    lock = await locks.look(host, store)
    view = await observe(host, domain.uuid)
    generations = await _generations(host, store)
    begun, problem = _pending(generations[-1])
    trail = tuple(entry for data in generations for entry in journal.trail(data))
    entries = tuple(entry for entry in trail if entry is not None)
    last_lost = undo.is_last_lost(trail, view.state.operation)
    beside = await _beside(host, view)
    uid = (await host.machine.whoami()).uid
    places = {place: await host.files.stat(place) for place in _places(view)}
    copies = {path: await _copy(host, path, view.spelled) for path in beside if names.is_sidecar(path)}
    doubted = {path: trust.against_file(path, beside[path], places[directory(path)], uid) for path in copies}
    copies |= dict.fromkeys((path for path, doubt in doubted.items() if doubt), None)
    stored = await host.files.listing(store.directory)
    decided = last_decided(entries, view.domain.uuid) is not None
    if view.state_problem or ("domain.libxl-json" not in stored and (view.snapshots or decided)):
        stats = {path: await host.files.stat(path) for path in _claimed(view, copies, entries)}
        view = msgspec.structs.replace(view, state=rebuilt(view, entries, stats, await _which(host, stats)))
    removable = {*beside, *(f"{store.directory}/{name}" for name, stat in stored.items() if stat.is_regular)}
    strays = {path: await _stray(host, path) for path in beside if names.is_overlay(path) and path not in view.images}
    missing = any(image is None for image in view.images.values()) or any(disk.problem for disk in view.disks)
    return Survey(
        view=view,
        fresh=await host.machine.fresh_id(),
        entries=entries,
        begun=begun,
        journal_problem=problem,
        stored=stored,
        beside=beside,
        copies=copies,
        doubted={path: doubt for path, doubt in doubted.items() if doubt},
        elsewhere=await _written_elsewhere(host, view, filter(names.is_half_written, beside)),
        strays=strays,
        stats=await _stats(host, view),
        generations=await _which(host, {*removable, *(each.path for each in view.state.ours if each.generation)}),
        around=await _around(host, view) if missing else {},
        checks=await _checks(host, view) if check else {},
        flags=await _flags(host, view),
        doubts=await trust.against_store(host, store),
        places={place: stat for place, stat in places.items() if stat is not None},
        uid=uid,
        watched=await host.toolstack.watched(view.domain),
        lock=lock,
        last_lost=last_lost,
    )


async def _generations(host: Hypervisor, store: Store) -> list[bytes]:
    """The journal after the generation before it: a torn tail of that one is no beginning of a line of this one."""
    generations = []
    for path in (f"{store.journal}.1", store.journal):
        try:
            generations.append(await host.files.read(path))
        except XensnapError:
            generations.append(b"")
    return generations


def _pending(data: bytes) -> tuple[Begin | None, str]:
    try:
        return journal.pending(data), ""
    except Damaged as error:
        return None, error.cause


async def _beside(host: Hypervisor, view: View) -> dict[str, FileStat]:
    """Files that bear our names, in every directory that an image of this domain is in or was.

    Where one directory is spelled in several ways, each file in it is called what it is called everywhere.
    """
    called = {*view.images, *(entry.path for entry in view.state.ours)}
    called |= {path for snapshot in view.snapshots.values() for path in sidecar_paths(snapshot)}
    found: dict[tuple[str, FileId], tuple[str, FileStat]] = {}
    for place in _places(view):
        for name in await host.files.names(place):
            path = f"{place}/{name}"
            if names.is_overlay(path) or names.is_sidecar(path) or names.is_half_written(path):
                stat = await host.files.stat(path)
                if stat is not None and not stat.is_dir and ((name, stat.file) not in found or path in called):
                    found[name, stat.file] = (path, stat)
    return dict(found.values())


def _places(view: View) -> tuple[str, ...]:
    layers = [disk.image for snapshot in view.snapshots.values() for disk in snapshot.disks]
    layers += [disk.overlay for snapshot in view.snapshots.values() for disk in snapshot.disks if disk.overlay]
    paths = {layer.path for layer in layers} | set(view.images) | {entry.path for entry in view.state.ours}
    paths |= {disk.path for disk in view.domain.disks if disk.path}
    return tuple(sorted({directory(path) for path in paths}))


async def _written_elsewhere(host: Hypervisor, view: View, halves: Iterable[str]) -> frozenset[str]:
    """What operations on other domains have begun to write in the directories of this one's images."""
    left, found = set(halves), set[str]()
    for uuid in await host.files.names(view.root) if left else ():
        if uuid == view.domain.uuid:
            continue
        try:
            begun = journal.pending(await journal.read(host, Store.of(host, DomainUuid(uuid)).journal))
        except XensnapError:
            return frozenset(left)  # nobody knows what is being done there
        found |= {_last(names.half_written(path)) for path in plans.copies(begun.plan)} if begun else set()
    return frozenset(path for path in left if _last(path) in found)


def _last(path: str) -> str:
    """What a file is called within its directory, which others may spell otherwise."""
    return path.rpartition("/")[2]


async def _which(host: Hypervisor, paths: Iterable[str]) -> dict[str, int]:
    """The generation of each of these files; without those of which nobody can tell."""
    found: dict[str, int] = {}
    for path in sorted(paths):
        with suppress(FileFailed):
            found[path] = await host.files.generation(path)
    return found


async def _stats(host: Hypervisor, view: View) -> dict[str, FileStat]:
    paths = set(view.images) | {entry.path for entry in view.state.ours}
    paths |= {disk.path for disk in view.domain.disks if disk.path}
    stats = {path: await host.files.stat(path) for path in sorted(paths)}
    return {path: stat for path, stat in stats.items() if stat is not None}


async def _around(host: Hypervisor, view: View) -> dict[str, FileStat]:
    found: dict[str, FileStat] = {}
    for place in _places(view):
        found |= {f"{place}/{name}": stat for name, stat in (await host.files.listing(place)).items()}
    return found


async def _copy(host: Hypervisor, path: str, spelled: Mapping[str, str]) -> Snapshot | None:
    try:
        return snapshot_as(snapshot_record.decode(await host.files.read(path), path=path), spelled)
    except XensnapError:
        return None


def _claimed(view: View, copies: Mapping[str, Snapshot | None], entries: Iterable[Entry]) -> tuple[str, ...]:
    """Paths that may have to enter a ledger that is made anew."""
    snapshots = [*view.snapshots.values(), *(copy for copy in copies.values() if copy)]
    paths = {disk.overlay.path for snapshot in snapshots for disk in snapshot.disks if disk.overlay}
    plans = [entry.plan for entry in entries if isinstance(entry, Begin)]
    paths |= {entry.path for plan in plans for entry in plan.state.ours}
    return tuple(sorted(paths | set(copies) | {path for path in view.images if names.is_overlay(path)}))


async def _stray(host: Hypervisor, path: str) -> Stray:
    layer = Layer(path, Format.QCOW2)
    try:
        return Stray(await host.images.inspect(layer), await host.images.holds_data(layer))
    except (NotFound, Damaged, Refused):
        return Stray(None)


async def _checks(host: Hypervisor, view: View) -> dict[str, CheckResult]:
    """Of every image that nobody has open; a check of one that is written meanwhile would tell nonsense."""
    found: dict[str, CheckResult] = {}
    for path, image in view.images.items():
        if image is not None and image.layer.format is Format.QCOW2:
            with suppress(XensnapError):
                await host.images.require_unused(image.layer)
                found[path] = await host.images.check(image.layer)
    return found


async def _flags(host: Hypervisor, view: View) -> dict[str, bool]:
    if view.domain.described_by is not DescribedBy.OPERATOR or Capability.IMMUTABLE not in view.capabilities:
        return {}
    frozen = sorted({path for disk in view.domain.disks for path in view.frozen(disk.vdev)})
    return {path: await host.files.is_immutable(path) for path in frozen if view.images.get(path)}
