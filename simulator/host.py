"""The simulated host: a `Hypervisor` over a world, and what a test or the operator of a simulation may do to it.

Everything is deterministic and nothing is shared: two hosts made with the same seed do the same, and forks never see
each other.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from errno import ENOSPC
from typing import Any, Self, TypeVar

import msgspec

from simulator.core.effects import Cut
from simulator.core.rng import Rng
from simulator.disk import chain as chains
from simulator.disk.content import SECTOR, bytes_of
from simulator.disk.files import Stored
from simulator.disk.filesystem import split
from simulator.disk.image import Raw, fresh_qcow2
from simulator.disk.operations import resized, written
from simulator.faults import points
from simulator.faults.crash import CrashPoint
from simulator.faults.watch import Fault, Watching, distinct
from simulator.inside import Inside, Visible
from simulator.ports.agent import SimulatedAgent
from simulator.ports.blocks import SimulatedBlocks
from simulator.ports.files import SimulatedFiles, failure
from simulator.ports.images import SimulatedImageTool
from simulator.ports.machine import SimulatedMachine
from simulator.ports.seat import GIVE_WAY, Cell, Seat
from simulator.ports.toolstack import SimulatedToolstack, every_domain, looked_up
from simulator.tools.qemu_img import Program, ToolError
from simulator.world import World, life, programs
from simulator.world.life import XlError
from simulator.xen import configurations
from simulator.xen import domains as stored_domains
from simulator.xen.incarnations import Traits
from xensnap.errors import NotFound, Usage, XensnapError
from xensnap.hypervisor import (
    BlockLayer,
    Capability,
    Files,
    GuestAgent,
    Hooks,
    ImageTool,
    Machine,
    Toolstack,
    drive,
)
from xensnap.model import DescribedBy, Disk, Domain, DomainUuid, Format, GuestKind, Layer, RunState

T = TypeVar("T")

replace = msgspec.structs.replace


class SimulatedHost(Inside):
    """One process on a simulated Xen host, with the ports it works through.

    Args:
        world: the host's state. The new process joins it.
        pid: sit where this process sits already, instead of joining as a new one.
    """

    name: str = "sim"
    root: str = "/var/lib/xen/snapshots"
    capabilities: frozenset[Capability] = frozenset(Capability)

    def __init__(self, world: World, *, pid: int | None = None) -> None:
        if pid is None:
            world, pid = world.started("xensnap", engine=True)
        self._sit(Cell(world), pid)

    def _sit(self, cell: Cell, pid: int) -> None:
        self._cell = cell
        self._seat = Seat(cell, pid)
        self._order: Rng | None = None
        self.toolstack: Toolstack = SimulatedToolstack(self._seat)
        self.blocks: BlockLayer = SimulatedBlocks(self._seat)
        self.images: ImageTool = SimulatedImageTool(self._seat)
        self.files: Files = SimulatedFiles(self._seat)
        self.machine: Machine = SimulatedMachine(self._seat)
        self.agent: GuestAgent | None = SimulatedAgent(self._seat)
        self.hooks: Hooks | None = None

    @classmethod
    def fresh(cls, seed: int = 0, *, shadow_paging: bool = False) -> Self:
        """An empty host that has just booted, with `/images` and the store's root.

        Args:
            seed: what random numbers are drawn from.
            shadow_paging: whether its Xen is built with it, as Debian's is not; PV guests are saved live only then.
        """
        world = World.fresh(seed)
        if shadow_paging:
            world = replace(world, xen=replace(world.xen, virt_caps=(*world.xen.virt_caps, "shadow")))
        return cls(world)

    @property
    def pid(self) -> int:
        """The process that works through these ports."""
        return self._seat.pid

    def fork(self) -> Self:
        """The same process in a world of its own from here on. Costs the same however large the world is."""
        forked = type(self)(self.world, pid=self.pid)
        forked._order = self._order  # noqa: SLF001 - one's own kind
        return forked

    def another(self) -> Self:
        """A second engine process on this very host: both see what the other does."""
        other = type(self).__new__(type(self))
        self._cell.world, pid = self.world.started("xensnap", engine=True)
        other._sit(self._cell, pid)  # noqa: SLF001 - one's own kind
        return other

    # --- running -----------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine to its end; nothing here ever waits for anything outside."""
        return drive(work)

    def interleaving(self, seed: int | None) -> None:
        """From now on `gather` mixes its work in an order drawn from this seed; None is one after the other."""
        self._order = None if seed is None else Rng(seed)

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """All results in order, or the first error after all have ended."""
        outcomes: list[Any] = [None] * len(work)
        errors: dict[int, BaseException] = {}
        waiting = {index: _steps(one) for index, one in enumerate(work)}
        while waiting:
            index = self._next(list(waiting))
            try:
                waiting[index].send(None)
            except StopIteration as end:
                outcomes[index] = end.value
                del waiting[index]
            except Exception as error:  # noqa: BLE001 - raised below, when all have ended
                errors[index] = error
                del waiting[index]
            else:
                await GIVE_WAY
        if errors:
            raise errors[min(errors)]
        return outcomes

    def _next(self, indices: list[int]) -> int:
        if self._order is None:
            return indices[0]
        self._order, drawn = self._order.below(len(indices))
        return indices[drawn]

    # --- setting up --------------------------------------------------------------------------------------------------

    def add_domain(
        self,
        name: str,
        uuid: str | None = None,
        disks: Iterable[Disk] | Mapping[str, str] = (),
        *,
        kind: str = "pv",
        drivers: bool = True,
        pinned: bool = True,
        described_by: DescribedBy = DescribedBy.US,
        memory_bytes: int = 16384,
    ) -> Domain:
        """A domain that is off. Disks are given whole, or as vdev and path with the format told by the image.

        Args:
            name: a number is fine.
            uuid: drawn where it is not given.
            disks: what it starts from.
            kind: pv, pvh or hvm.
            drivers: whether an HVM guest has PV drivers.
            pinned: whether the operator's file has `uuid=`; without, `start` gives a new one each time (design 5.8).
            described_by: with an operator's own file, `start` reads that, whatever is stored.
            memory_bytes: length of its memory in a save file.
        """
        if any(domain.name == name for domain in self.world.domains.values()):
            raise Usage(f"there is a domain {name!r} already")
        world = self.world
        if uuid is None:
            rng, uuid = world.rng.uuid()
            world = replace(world, rng=rng)
        if isinstance(disks, Mapping):
            disks = [Disk(vdev, path, self._format(path)) for vdev, path in disks.items()]
        domain = Domain(
            DomainUuid(uuid),
            name,
            RunState.OFF,
            tuple(disks),
            described_by=described_by,
            kind=GuestKind(kind),
            memory_bytes=memory_bytes,
        )
        theirs = domain.disks if described_by is DescribedBy.OPERATOR or not pinned else None
        traits = Traits(GuestKind(kind), drivers, pinned, theirs, memory_bytes)
        xen = replace(world.xen, traits=world.xen.traits.set(uuid, traits))
        self._describe(replace(world, xen=xen, domains=world.domains.set(uuid, domain)), uuid)
        return self.run(self.toolstack.inspect(uuid))

    def _describe(self, world: World, ref: str) -> None:
        """Have this world, in which a domain has other disks than before. A host may remember it elsewhere, too."""
        del ref
        self._cell.world = world

    def _format(self, path: str) -> Format:
        return Format.RAW if isinstance(self.world.fs.inode(path).stored, Raw) else Format.QCOW2

    def create_image(
        self,
        path: str,
        format: str = "qcow2",
        size_bytes: int = 1 << 20,
        cluster_size_bytes: int = 65536,
        compat: str = "1.1",
        backing: Layer | None = None,
        refcount_bits: int = 16,
        *,
        extended_l2: bool = False,
    ) -> Layer:
        """A new image, durable, as an operator had made it before. Directories are made as needed."""
        self.make_directory(split(path)[0])
        stored: Stored
        if format == Format.RAW:
            stored = Raw(size_bytes)
        elif format == Format.QCOW2:
            stored = fresh_qcow2(
                size_bytes,
                cluster_bytes=cluster_size_bytes,
                compat=compat,
                refcount_bits=refcount_bits,
                backing_name=backing.path if backing else "",
                backing_format=backing.format.value if backing else "",
                extended_l2=extended_l2,
            )
        else:
            raise Usage(f"no images in {format} format are simulated")
        try:
            fs = self.world.fs.create(path, stored).sync(path).sync_dir(split(path)[0])
        except OSError as error:
            raise failure(error, "create", path) from None
        self._cell.world = self.world.with_fs(fs)
        return Layer(path, Format(format))

    def add_image(self, path: str, stored: Stored) -> None:
        """An image as it is, durable, under a free name."""
        self.make_directory(split(path)[0])
        try:
            self._cell.world = self.world.with_fs(
                self.world.fs.create(path, stored).sync(path).sync_dir(split(path)[0])
            )
        except OSError as error:
            raise failure(error, "create", path) from None

    def make_directory(self, path: str) -> None:
        """A directory and all above it, durable."""
        if path in self.world.fs.dirs:
            return
        upper, _ = split(path)
        self.make_directory(upper)
        self._cell.world = self.world.with_fs(self.world.fs.mkdir(path).sync_dir(upper))

    def write_configuration(self, domain: str) -> str:
        """The operator's file for a domain, from which `xl create` makes it; its path, `/etc/xen/NAME.cfg`."""
        found = looked_up(self.world, domain)
        kind = found.kind or GuestKind.PV
        disks = [
            f"'format={disk.format},vdev={disk.vdev},access={'r' if disk.readonly else 'w'}"
            f"{',devtype=cdrom' if disk.cdrom else ''}"
            f"{f',backendtype={disk.backend}' if disk.backend is not configurations.taken(disk, kind) else ''}"
            f"{f',target={disk.path}' if disk.path else ''}'"
            for disk in found.disks
        ]
        text = f'name = "{found.name}"\nuuid = "{found.uuid}"\ntype = "{kind}"\ndisk = [ {", ".join(disks)} ]\n'
        path = f"/etc/xen/{found.name}.cfg"
        self.make_directory("/etc/xen")
        fs = self.world.fs
        fs = (
            fs.create(path, text.encode(), mode=0o644)
            if fs.find(path) is None
            else fs.update(path, lambda _: text.encode())
        )
        self._cell.world = self.world.with_fs(fs.sync(path).sync_dir("/etc/xen"))
        return path

    @property
    def cell(self) -> Cell:
        """Where this host's world is kept; who serves the world to others works on it, too."""
        return self._cell

    def set_capacity(self, total_bytes: int | None = None, *, free_bytes: int | None = None) -> None:
        """How large the file system is, or how much is left of it from now on."""
        fs = self.world.fs
        capacity = total_bytes if total_bytes is not None else fs.used_bytes + (free_bytes or 0)
        self._cell.world = self.world.with_fs(replace(fs, capacity_bytes=capacity))

    # --- going wrong -------------------------------------------------------------------------------------------------

    @contextmanager
    def recording(self) -> Iterator[Watching]:
        """Keep the world at each cut of each effect meanwhile; `crash_points` tells them, `trace` what happened."""
        watch = self._watch(fresh=True)
        watch.recording = True
        try:
            yield watch
        finally:
            watch.recording = False

    def fail_at(
        self,
        at: int | str,
        cut: Cut | str = Cut.BEFORE,
        error: int | XensnapError | None = ENOSPC,
        *,
        nth: int = 1,
        late_s: float = 0.0,
    ) -> Fault:
        """Let one effect fail: the `at`-th from now on, or the `nth` of a name.

        An errno is told in the port's own kind of error, with what is known of the effect; an error is raised as it is.
        Before that `late_s` seconds pass; without an error nothing else is wrong with it.
        """
        if isinstance(at, str) and at not in {effect.name for effect in points.effects()}:
            raise Usage(f"there is no effect {at!r}")
        if cut == Cut.AFTER:
            raise Usage("an effect whose caller knows of it can fail no more; let the next one fail before")
        fault = Fault(at, Cut(cut), error, nth, late_s)
        self._watch().arm(fault)
        return fault

    def meanwhile(
        self, at: int | str, what: Callable[[], object], cut: Cut | str = Cut.BEFORE, *, nth: int = 1
    ) -> None:
        """Let something happen on this host just before an effect, or in the middle of it.

        The effect is the `at`-th from now on, or the `nth` of a name. What has no middle, since it is no child's work,
        lets nothing happen there.
        """
        self._watch().happening(at, Cut(cut), what, nth=nth)

    @property
    def unmet_faults(self) -> tuple[Fault, ...]:
        """Faults that are armed and were never met: a test that leaves one has not tested what it says."""
        watch = self._cell.watch
        return watch.faults if isinstance(watch, Watching) else ()

    @property
    def recorded(self) -> tuple[CrashPoint, ...]:
        """Every cut of the last recording, those with the very same world included."""
        watch = self._cell.watch
        return tuple(watch.points) if isinstance(watch, Watching) else ()

    def _watch(self, *, fresh: bool = False) -> Watching:
        watch = self._cell.watch
        if fresh or not isinstance(watch, Watching):
            former, watch = watch, Watching()
            for fault in former.faults if isinstance(former, Watching) else ():
                watch.arm(fault)
            self._cell.watch = watch
        return watch

    # --- being the guest ---------------------------------------------------------------------------------------------

    def _disk(self, domain: str, vdev: str) -> Layer:
        found = looked_up(self.world, domain).disk(vdev)
        if found is None:
            raise NotFound(f"{domain} has no disk {vdev}", id="disk-not-found")
        return found.layer

    def write(self, domain: str, vdev: str, offset_bytes: int = 0, length_bytes: int = 65536) -> int:
        """Write to a disk as the guest would, flushed; the number of the write tells its bytes (`pattern`)."""
        if looked_up(self.world, domain).domid is not None:
            return self.guest_writes(domain, vdev, offset_bytes, length_bytes, flush=True)
        return self.write_layer(self._disk(domain, vdev), offset_bytes, length_bytes)

    def write_layer(self, layer: Layer, offset_bytes: int = 0, length_bytes: int = 65536) -> int:
        """Write to an image as qemu-io would."""
        if offset_bytes % SECTOR or length_bytes % SECTOR:
            raise Usage(f"writes are in whole sectors of {SECTOR} bytes")
        world = self.world
        links = chains.chain(world.fs, layer)
        images = tuple(link.image for link in links)
        if offset_bytes < 0 or offset_bytes + length_bytes > images[0].size_bytes:
            raise Usage(f"the disk ends at {images[0].size_bytes}")
        number = world.writes + 1
        run = (offset_bytes // SECTOR, (offset_bytes + length_bytes) // SECTOR, number)
        try:
            fs = world.fs.store(links[0].number, written(images, [run]), layer.path).sync(layer.path)
        except OSError as error:
            raise failure(error, "write", layer.path) from None
        self._cell.world = replace(world, fs=fs, writes=number)
        return number

    def read(self, domain: str, vdev: str, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        """The bytes that the guest would read."""
        return self.read_layer(self._disk(domain, vdev), offset_bytes, length_bytes)

    def read_layer(self, layer: Layer, offset_bytes: int = 0, length_bytes: int | None = None) -> bytes:
        """The bytes that a chain shows."""
        images = tuple(link.image for link in chains.chain(self.world.fs, layer))
        if length_bytes is None:
            length_bytes = images[0].size_bytes - offset_bytes
        if offset_bytes < 0 or offset_bytes + length_bytes > images[0].size_bytes:
            raise Usage(f"the disk ends at {images[0].size_bytes}")
        low, high = offset_bytes // SECTOR, -(-(offset_bytes + length_bytes) // SECTOR)
        return bytes_of(chains.between(images, low, high), offset_bytes, length_bytes)

    def visible(self, domain: str) -> dict[str, Visible]:
        """What each disk of a domain shows, comparable across layers, cluster sizes and forks."""
        disks = looked_up(self.world, domain).disks
        return {disk.vdev: self.visible_layer(disk.layer) for disk in disks if disk.path}

    def visible_layer(self, layer: Layer) -> Visible:
        """What a chain shows."""
        return chains.visible(self.world.fs, layer)

    def visible_snapshot(self, layer: Layer, snapshot_id: str) -> Visible | None:
        """What an internal snapshot would give back now; None if it is not there."""
        return chains.visible_at(self.world.fs, layer, snapshot_id)

    def resize(self, domain: str, vdev: str, size_bytes: int) -> None:
        """Make a disk larger or smaller, as an operator would with qemu-img."""
        layer = self._disk(domain, vdev)
        links = chains.chain(self.world.fs, layer)
        image = resized(tuple(link.image for link in links), size_bytes)
        fs = self.world.fs.store(links[0].number, image, layer.path).sync(layer.path)
        self._cell.world = self.world.with_fs(fs)

    def operate(self, program: Program) -> str:
        """Run qemu-img as an operator would, outside of our ports; what it says on stderr, empty where it went well."""
        try:
            self._cell.world, pid = self.world.spawned(program, parent=1)
        except ToolError as error:
            return error.words
        try:
            while not self.world.at_end(pid):
                self._cell.world = self.world.advanced(pid)
        except ToolError as error:
            left = self.world if error.fs is None else self.world.with_fs(error.fs)
            self._cell.world = left.ended(pid)
            return error.words
        self._cell.world = self.world.ended(pid)
        return ""

    # --- running guests ----------------------------------------------------------------------------------------------

    def start(self, domain: str, *, paused: bool = False) -> Domain:
        """`xl create` by the operator, with his own file where he has one; so it may have a new uuid."""
        found = looked_up(self.world, domain)
        world = self.world
        traits = world.xen.traits.get(found.uuid, Traits())
        uuid: str = found.uuid
        if found.domid is None and not traits.pinned:
            rng, uuid = world.rng.uuid()
            # xl knows a domain only while it is there: the old uuid means nothing any more.
            stored = world.domains.delete(found.uuid)
            renewed = stored_domains.off(found, uuid=uuid)
            world = replace(world, rng=rng, domains=stored.set(uuid, renewed))
        disks = found.disks if traits.operator_disks is None else traits.operator_disks
        program = programs.Build(uuid, found.name, traits, disks, paused=paused)
        self._xl(program, world)
        return looked_up(self.world, uuid)

    def xl_restore(self, domain: str, memory: str, *, paused: bool = False) -> str:
        """`xl restore` by the operator, believed as he would; what it says on stderr, empty where it went well."""
        header = programs.header_of(self.world, memory)
        traits = self.world.xen.traits.get(header.uuid, Traits())
        traits = replace(traits, kind=header.kind, items=header.items, served=header.served)
        program = programs.Build(header.uuid, domain, traits, header.disks, memory, paused)
        try:
            self._xl(program, self.world)
        except Usage as error:
            return error.cause
        return ""

    def xl_save(self, domain: str, path: str, *, then: str = "-p") -> str:
        """`xl save` by the operator; what it says on stderr, empty where it went well."""
        try:
            self._xl(programs.Save(self.incarnation(domain).domid, path, then), self.world)
        except Usage as error:
            return error.cause
        return ""

    def _xl(self, program: programs.XlProgram, world: World) -> None:
        try:
            self._cell.world = programs.tried(world, program)
        except XlError as error:
            self._cell.world = error.world or self.world
            raise Usage(error.words) from None

    def config_update(self, domain: str, disks: Mapping[str, Layer]) -> None:
        """`xl config-update`: what the watcher reboots with, and nothing else (xen-live.md B1)."""
        one = self.incarnation(domain)
        one = replace(one, reboots_from=stored_domains.switched(one.reboots_from, disks))
        self._cell.world = replace(self.world, xen=self.world.xen.putting(one))

    def kill_qemu(self, domain: str) -> None:
        """The domain's QEMU dies; xl does not notice (xen.md 25)."""
        self._cell.world = life.without_qemu(self.world, self.incarnation(domain))

    def hold_monitor(self, domain: str, which: str = "libxenstat") -> None:
        """Somebody keeps one of the domain's two monitors to himself, "libxl" or "libxenstat"; "" lets go.

        With "gone" their sockets have been removed: nobody gets in, and QEMU goes on.
        """
        domid = self.incarnation(domain).domid
        self._cell.world = life.with_qemu(self.world, domid, replace(self.world.qemus[domid], held=which))

    def xl_finds(self, *, xen: bool = True, xenstored: bool = True) -> None:
        """What an xl finds that is started from now on. Only xl itself looks; the ports go on as before.

        Without Xen it says so and ends; without xenstored `xl list` never ends (Xen 4.17.7).
        """
        self._cell.world = replace(self.world, xen=replace(self.world.xen, found=xen, answers=xenstored))

    def attach(self, domain: str, disk: Disk) -> None:
        """`xl block-attach` by the operator, or one disk more in the configuration of a domain that is off."""
        found = looked_up(self.world, domain)
        if found.disk(disk.vdev) is not None:
            raise Usage(f"{domain} has a disk {disk.vdev} already")
        if found.domid is not None and disk.path and self.world.fs.find(disk.path) is None:
            raise Usage(f"{disk.path}: no such image")
        self._describe(life.attached_disk(self.world, found, disk), domain)

    def detach(self, domain: str, vdev: str, *, mounted: bool = False) -> None:
        """`xl block-detach` by the operator; the guest has unmounted the disk before, unless it was left `mounted`."""
        self._disk(domain, vdev)
        found = looked_up(self.world, domain)
        if found.domid is not None and not mounted:
            self.guest_unmounts(domain, vdev)
        self._describe(life.detached_disk(self.world, found, vdev), domain)

    # --- being somebody else -----------------------------------------------------------------------------------------

    def open_image(self, path: str, *, command: str = "qemu-system-i386", writing: bool = True) -> int:
        """Another process has this file open from now on; its pid."""
        world, pid = self.world.started(command)
        self._cell.world = world.with_fs(world.fs.opened(path, pid, writing=writing))
        return pid

    def end_process(self, pid: int) -> None:
        """A process ends, and with it what it had open and locked."""
        self._cell.world = self.world.ended(pid)

    def show(self) -> str:
        """The host in words: domains, their disks and chains, and the store."""
        world = self.world
        lines: list[str] = []
        for domain in sorted(every_domain(world), key=lambda each: each.name):
            number = "" if domain.domid is None else f" domid {domain.domid}"
            lines.append(f"{domain.name} {domain.uuid} {domain.state}{number}")
            for disk in domain.disks:
                lines.append(f"  {disk.vdev}")
                lines += [f"    {line}" for line in self._chain_lines(disk.layer)]
        for path in sorted(world.fs.dirs):
            if path.startswith(self.root):
                lines += [f"{path}/{name}" for name in world.fs.names(path) if f"{path}/{name}" not in world.fs.dirs]
        return "\n".join(lines)

    def _chain_lines(self, layer: Layer) -> list[str]:
        try:
            links = chains.chain(self.world.fs, layer)
        except chains.OpenError as error:
            return [f"{layer.path}: {error}"]
        lines = []
        for link in links:
            tags = [entry.told.tag for entry in getattr(link.image, "table", ())]
            lines.append(f"{link.path} {link.format} {link.image.size_bytes}" + (f" snapshots {tags}" if tags else ""))
        return lines


def crash_points(host: SimulatedHost) -> tuple[CrashPoint, ...]:
    """Each different world in which an engine could have died during the last recording."""
    return distinct(list(host.recorded))


def _steps(work: Awaitable[T]) -> Coroutine[Any, Any, T]:
    async def awaited() -> T:
        return await work

    return awaited()
