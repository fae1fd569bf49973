"""The likeness of a host as a simulated world: its domains, disks, chains, snapshots and records, to try things on.

The host is only read, through its ports. Contents are stand-ins: of each image it is known which clusters it has and
which its states share, so sizes, space and depth are real and bytes are not. Memory cannot be had without its bytes: a
snapshot with memory is one of its disks here. Nobody but us starts the domains of the world, so no image has a flag
against that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count

import msgspec
from immutables import Map
from msgspec.structs import replace

from simulator import SimulatedHost, World
from simulator.disk import refcounts
from simulator.disk.content import Content
from simulator.disk.image import BLOCK, Raw, fresh_qcow2, metadata
from simulator.disk.image import Image as Stored
from simulator.disk.snapshots import Entry, Table
from xensnap.engine import records, state
from xensnap.engine.records import Contents, Store
from xensnap.engine.state import DomainState
from xensnap.engine.store_steps import fingerprint
from xensnap.errors import NotFound, XensnapError
from xensnap.formats import snapshot_record, trashed
from xensnap.hypervisor import Hypervisor
from xensnap.model import ZEROS, Consistency, DiskSnapshot, Domain, Extent, Format, Image, Layer, RunState, Snapshot

CLUSTERS_MAX = 1 << 20
"""Of one image; beyond that its clusters are taken for unallocated, or the world would be too large to keep."""


class Likeness(msgspec.Struct, frozen=True):
    """A world, and what could not be taken over into it, a line each."""

    world: World
    without: tuple[str, ...]


def likeness(source: Hypervisor, *, seed: int = 0) -> Likeness:
    """A world like this host. The host is not changed; of guests that run, images are as they were seen in passing.

    Args:
        source: the host.
        seed: what the world's random numbers are drawn from.
    """
    return _Drawing(source, SimulatedHost.fresh(seed)).drawn()


class _Drawing:
    def __init__(self, source: Hypervisor, sim: SimulatedHost) -> None:
        self.source = source
        self.sim = sim
        self.seen: dict[str, Image] = {}
        self.without: list[str] = []
        self._numbers = count(1)

    def drawn(self) -> Likeness:
        for domain in self.source.run(self.source.toolstack.domains()):
            self._domain(domain)
        world = self.sim.world.ended(self.sim.pid)
        now_ns = self.source.run(self.source.machine.now_ns())
        return Likeness(
            replace(world, writes=next(self._numbers), clock=world.clock.set_to(now_ns)), tuple(self.without)
        )

    def _domain(self, domain: Domain) -> None:
        contents = self.source.run(records.load(self.source, domain.uuid, name=domain.name))
        for damaged in contents.damaged:
            self.without.append(f"{domain.name}: {damaged.cause}")
        for layer in dict.fromkeys((*_layers(domain), *_held(contents))):
            self._chain(domain, layer)
        disks = [disk for disk in domain.disks if not disk.path or disk.path in self.seen]
        kind = {"kind": domain.kind.value} if domain.kind else {}
        memory = {"memory_bytes": domain.memory_bytes} if domain.memory_bytes else {}
        self.sim.add_domain(domain.name, domain.uuid, disks, **kind, **memory)  # type: ignore[arg-type]
        if domain.state is not RunState.OFF:
            self.sim.start(domain.name)
        self._store(domain, contents)

    def _chain(self, domain: Domain, layer: Layer) -> None:
        """All images that a disk or a snapshot stands on, lowest first."""
        try:
            found = self.source.run(self.source.images.chain(layer)).images
        except XensnapError as error:
            self.without.append(f"{domain.name}: {layer.path}: {error.cause}")
            return
        for image in reversed(found):
            if image.layer.path in self.seen:
                continue
            extents = self.source.run(self.source.images.extents(image.layer))
            self.sim.add_image(image.layer.path, self._stored(domain, image, extents))
            self.seen[image.layer.path] = image

    def _stored(self, domain: Domain, image: Image, extents: Mapping[str, tuple[Extent, ...]]) -> Stored:
        """The image with stand-ins: one number for each cluster of the file, the same in all states that share it."""
        cluster = image.cluster_size_bytes or BLOCK
        if sum(extent.length_bytes for each in extents.values() for extent in each) > CLUSTERS_MAX * cluster:
            self.without.append(f"{domain.name}: {image.layer.path} is too large for its clusters to be told apart")
            extents = {}
        numbers: dict[tuple[int, int], int] = {}

        def number(of: tuple[int, int]) -> int:
            if of[1] == ZEROS:
                return 0
            if of not in numbers:
                numbers[of] = next(self._numbers)
            return numbers[of]

        def content(of: str) -> Content:
            return Map({each[0]: number(each) for each in _clusters(extents.get(of, ()), cluster)})

        if image.layer.format is Format.RAW:
            return Raw(image.virtual_size_bytes, content(""))
        fresh = fresh_qcow2(
            image.virtual_size_bytes,
            cluster_bytes=cluster,
            compat=image.compat,
            refcount_bits=image.refcount_bits,
            backing_name=image.backing.name if image.backing else "",
            backing_format=image.backing.format.value if image.backing and image.backing.format else "",
        )
        active, table = content(""), _table(image, content)
        stored = replace(fresh, content=active, table=table, own=Map() if len(table) else active)
        stored = refcounts.recounted(stored, metadata(stored))
        length = -(-image.file_length_bytes // cluster)
        return replace(stored, end=max(stored.used, length))

    def _store(self, domain: Domain, contents: Contents) -> None:
        store = Store.of(self.sim, domain.uuid)
        here = {path: image for path in self.seen if (image := self._simulated(path)) is not None}
        told = [self._record(each, here) for each in contents.snapshots.values()]
        files = {store.record(each.name): snapshot_record.encode(each) for each in told}
        for name, thrown in contents.trashed.items():
            there = replace(thrown, snapshot=self._record(thrown.snapshot, here))
            files[store.trashed(name)] = trashed.encode(there)
        if contents.state != DomainState(domain.uuid, domain.name):
            files[store.state] = state.encode(self._state(contents.state, here))
        if files:
            self.sim.make_directory(store.directory)
        for path, data in files.items():
            self.sim.add_image(path, data)

    def _simulated(self, path: str) -> Image | None:
        try:
            return self.sim.run(self.sim.images.inspect(self.seen[path].layer))
        except NotFound:
            return None

    def _record(self, snapshot: Snapshot, here: Mapping[str, Image]) -> Snapshot:
        """The record of this world. A disk that was not what its record says is not that here, either."""

        def known(disk: DiskSnapshot) -> DiskSnapshot:
            there, image = self.seen.get(disk.image.path), here.get(disk.image.path)
            if there is None or image is None or fingerprint(disk, there) != disk.fingerprint:
                return disk
            return replace(disk, fingerprint=fingerprint(disk, image))

        disks = tuple(map(known, snapshot.disks))
        if not snapshot.memory:
            return replace(snapshot, disks=disks)
        self.without.append(f"{snapshot.domain_name}: the memory of {snapshot.name!r}")
        crash = Consistency.CRASH
        return replace(snapshot, disks=disks, memory="", memory_bytes=0, live=False, consistency=crash)

    def _state(self, known: DomainState, here: Mapping[str, Image]) -> DomainState:
        """The ledger of this world: a file that was ours there is ours here."""

        def inode(path: str, of: int) -> int:
            there, image = self.seen.get(path), here.get(path)
            return image.file.inode if there and image and of == there.file.inode else of

        ours = tuple(replace(file, inode=inode(file.path, file.inode), generation=0) for file in known.ours)
        return replace(known, ours=ours, parked=(), operation="")  # the journal that tells of it is not here


def _layers(domain: Domain) -> Iterator[Layer]:
    yield from (disk.layer for disk in domain.disks if disk.path)


def _held(contents: Contents) -> Iterator[Layer]:
    thrown = (each.snapshot for each in contents.trashed.values())
    for snapshot in (*contents.snapshots.values(), *thrown):
        yield from (disk.image for disk in snapshot.disks)
    yield from (hidden.layer for hidden in contents.state.hidden)


def _clusters(extents: Iterable[Extent], cluster: int) -> Iterator[tuple[int, int]]:
    for extent in extents:
        for number in range(-(-extent.length_bytes // cluster)):
            place = extent.place if extent.place == ZEROS else extent.place + number * cluster
            yield extent.start_bytes // cluster + number, place


def _table(image: Image, content: Callable[[str], Content]) -> Table:
    entries = {
        int(told.id): Entry(
            int(told.id),
            told.tag.encode("utf-8", "surrogateescape"),
            told.date_s * 10**9 + told.date_ns,
            told.disk_size_bytes or image.virtual_size_bytes,
            content(told.id),
            state_bytes=told.vm_state_bytes,
        )
        for told in image.snapshots
    }
    tags: dict[bytes, tuple[int, ...]] = {}
    for number in sorted(entries):
        tags[entries[number].tag] = (*tags.get(entries[number].tag, ()), number)
    return Table(Map(entries), Map(tags), max(entries, default=0))
