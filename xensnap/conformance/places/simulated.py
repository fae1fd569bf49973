"""A simulated host made ready to be tried: a world of its own for every case."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from msgspec.structs import replace

import simulator
from simulator import SimulatedHost
from simulator.checkers.guests import torn
from simulator.disk.content import SECTOR
from simulator.tools.img.run import run as qemu_img
from xensnap import hosts
from xensnap.conformance.places.images import our_command
from xensnap.conformance.workplace import BLOCK_BYTES, Content, Program, Wish
from xensnap.hypervisor import Hypervisor
from xensnap.model import Disk

SECTORS = BLOCK_BYTES // SECTOR
_TICK_S = 0.01


class SimulatedPlace:
    """The `Workplace` of one simulated world.

    Args:
        seed: of that world; the same seed, the same everything.
        on: a host made before, instead of a fresh one.
    """

    def __init__(self, seed: int = 0, *, on: SimulatedHost | None = None) -> None:
        self._sim = on or SimulatedHost.fresh(seed)
        self.host: Hypervisor = self._sim
        self._writes: dict[int, int] = {}
        self._images = 0

    def versions(self) -> Mapping[str, str]:
        """See Workplace."""
        return {"simulator": simulator.__xensnap__}

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        """See Workplace. Every simulated domain has a guest."""
        del guest
        self._sim.add_domain(name, disks=[self._disk(name, wish) for wish in disks], kind="pvh")

    def write(self, name: str, vdev: str, block: int, blocks: int, number: int) -> None:
        """See Workplace. The simulator counts writes itself, so numbers are translated."""
        disk = self.host.run(self.host.toolstack.inspect(name)).disk(vdev)
        assert disk is not None, f"{name} has no {vdev}"
        made = self._sim.write_layer(disk.layer, block * BLOCK_BYTES, blocks * BLOCK_BYTES)
        self._writes[made] = number

    def shows(self, disk: Disk) -> Content:
        """See Workplace."""
        size_bytes, runs = self._sim.visible_layer(disk.layer)
        sectors = [0] * (size_bytes // SECTOR)
        for low, high, number in runs:
            sectors[low:high] = [self._writes.get(number, -number)] * (high - low)
        blocks = [sectors[at : at + SECTORS] for at in range(0, len(sectors), SECTORS)]
        # A block that is from several writes is from none.
        return tuple(block[0] if len({*block}) == 1 else -1 for block in blocks)

    def counter(self, name: str) -> int:
        """See Workplace. Asking takes time, in which the guest goes on."""
        self._sim.run(self._sim.machine.sleep(_TICK_S))
        return self._sim.memory(name).counter

    def first_counter(self, name: str) -> int:
        """See Workplace. It is kept from when the guest was last let go on."""
        return self._sim.world.guests[self._sim.incarnation(name).domid].memory.counter

    def sound(self, name: str) -> str:
        """See Workplace."""
        found = [each for each in torn(self._sim.world) if each.subject.split()[0] == name]
        return "; ".join(f"{each.subject}: {each.text}" for each in found)

    @contextmanager
    def command(self) -> Iterator[Program]:
        """See Commands. The world is kept in a directory meanwhile."""
        with tempfile.TemporaryDirectory(prefix="xensnap-conformance-") as directory:
            place = hosts.SimulatedPlace(directory)
            before = self._sim.world
            place.write(before)
            yield self._called(directory)
            after = place.read()
            # What runs there takes a process that it does not find on this machine for one that was killed.
            us = before.processes[self._sim.pid]
            self._sim.cell.world = replace(after, processes=after.processes.set(self._sim.pid, us))

    def _called(self, directory: str) -> Program:
        return our_command(host=f"sim:{directory}")

    def small(self) -> AbstractContextManager[None]:
        """See Room. Every simulated world has a file system of its own."""
        return nullcontext()

    @contextmanager
    def leaving(self, free_bytes: int) -> Iterator[None]:
        """See Room."""
        capacity = self._sim.world.fs.capacity_bytes
        self._sim.set_capacity(free_bytes=free_bytes)
        try:
            yield
        finally:
            self._sim.set_capacity(capacity)

    def attach(self, name: str, wish: Wish) -> None:
        """See Drives."""
        self._sim.attach(name, self._disk(name, wish))

    def detach(self, name: str, vdev: str) -> None:
        """See Drives."""
        self._sim.detach(name, vdev)

    def qemu_img(self, *words: str) -> None:
        """See Strangers."""
        done = qemu_img(self._sim.world.fs, words)
        if done.returncode:
            raise RuntimeError(f"qemu-img {' '.join(words)}: {done.stderr}")
        self._sim.cell.world = self._sim.world.with_fs(done.fs)

    def inventory(self) -> frozenset[str]:
        """See Workplace. The world is thrown away, so nothing on it is anybody's."""
        return frozenset()

    def close(self) -> None:
        """See Workplace."""

    def _disk(self, name: str, wish: Wish) -> Disk:
        if wish.empty:
            return Disk(wish.vdev, "", wish.format, readonly=True, cdrom=True)
        self._images += 1
        path = f"/images/{name}-{wish.vdev}-{self._images}.{wish.format}"
        layer = self._sim.create_image(path, wish.format.value, wish.blocks * BLOCK_BYTES)
        return Disk(wish.vdev, layer.path, layer.format, readonly=wish.readonly, cdrom=wish.cdrom)
