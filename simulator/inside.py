"""What a test may do as the guest itself, and what the guest knows: its writes, its page cache, its memory, its end."""

from collections.abc import Callable, Iterator

import msgspec

from simulator.disk.content import SECTOR, Run
from simulator.guest import AgentManner, Cache, Memory, Writer, shown
from simulator.ports.domains import powered_off
from simulator.ports.seat import Cell
from simulator.ports.toolstack import looked_up
from simulator.world import World, life
from simulator.xen.incarnations import Incarnation, Shutdown
from xensnap.errors import NotFound, Usage

replace = msgspec.structs.replace

Visible = tuple[int, tuple[Run, ...]]
"""What a guest finds on a disk, comparable whatever the layers: the size, and the runs that are not zero."""


class Inside:
    """The guests of a host, as they are from within. A domain is meant by name, uuid or domid, and must run."""

    _cell: Cell

    @property
    def world(self) -> World:
        """The whole state as a value. Keep it, compare it, make a host of it."""
        return self._cell.world

    def incarnation(self, domain: str) -> Incarnation:
        """The running domain that is meant, by name, uuid or domid."""
        found = looked_up(self.world, domain)
        if found.domid is None:
            raise Usage(f"{domain} is off")
        return self.world.xen.there[found.domid]

    def guest_writes(
        self, domain: str, vdev: str, offset_bytes: int = 0, length_bytes: int = 65536, *, flush: bool = False
    ) -> int:
        """The guest writes into its page cache, and with `flush` on to its disk; the number of the write."""
        one = self._executing(domain)
        if one.disks and all(disk.vdev != vdev for disk in one.disks):
            raise NotFound(f"{domain} has no disk {vdev}", id="disk-not-found")
        low, high = life.sector_range(offset_bytes, length_bytes)
        self._cell.world = life.guest_wrote(self.world, one.domid, vdev, low, high, flush=flush)
        return self.world.writes

    def guest_flush(self, domain: str) -> None:
        """The guest writes out its page cache, all disks; see `memory(domain).io_errors`."""
        one = self._executing(domain)
        for cache in self.memory(domain).caches:
            self._cell.world = life.guest_flushed(self.world, one.domid, cache.vdev)

    def guest_unmounts(self, domain: str, vdev: str) -> None:
        """The guest writes out what it has cached of a disk and forgets it."""
        one = self._executing(domain)
        self._cell.world = life.guest_flushed(self.world, one.domid, vdev)
        caches = tuple(cache for cache in self.memory(domain).caches if cache.vdev != vdev)
        self._change_guest(domain, lambda memory: replace(memory, caches=caches))

    def guest_never_rests(self, domain: str, vdev: str, *, length_bytes: int = 65536, end_bytes: int = 1 << 20) -> None:
        """From now on a program in the guest writes, flushed, whenever anything on the host happens or time passes."""
        one = self._executing(domain)
        low, high = life.sector_range(0, end_bytes)
        guest, now = self.world.guests[one.domid], self.world.clock.monotonic_ns
        memory = guest.at(now)
        memory = replace(memory, writers=(*memory.writers, Writer(vdev, low, high, length_bytes // SECTOR)))
        guests = self.world.guests.set(one.domid, guest.remembering(memory, now))
        self._cell.world = replace(self.world, guests=guests, busy=True)

    def guest_rests(self, domain: str) -> None:
        """Such programs have ended."""
        self._change_guest(domain, lambda memory: replace(memory, writers=()))

    def guest_answers(self, domain: str, *, answers: bool) -> None:
        """Whether the guest does what it is asked: to suspend itself, to shut down."""
        domid = self.incarnation(domain).domid
        guests = self.world.guests.set(domid, replace(self.world.guests[domid], answers=answers))
        self._cell.world = replace(self.world, guests=guests)

    def guest_agent(self, domain: str, manner: AgentManner | str) -> None:
        """How the agent in the guest behaves from now on."""
        domid = self.incarnation(domain).domid
        guest = replace(self.world.guests[domid], agent=AgentManner(manner))
        self._cell.world = replace(self.world, guests=self.world.guests.set(domid, guest))

    def guest_poweroff(self, domain: str) -> None:
        """The guest flushes its disks and powers off by itself."""
        self._cell.world = powered_off(self.world, self._executing(domain).domid)

    def guest_reboot(self, domain: str) -> None:
        """The guest flushes its disks and reboots: the watcher, if there is one, starts it anew."""
        self.guest_flush(domain)
        self._cell.world = life.shut(self.world, self._executing(domain).domid, Shutdown.REBOOT)

    def guest_crash(self, domain: str) -> None:
        """The guest crashes; what it had not flushed is lost."""
        self._cell.world = life.shut(self.world, self._executing(domain).domid, Shutdown.CRASH)

    def memory(self, domain: str) -> Memory:
        """What the guest remembers now."""
        world = self.world
        return world.guests[self.incarnation(domain).domid].at(world.clock.monotonic_ns)

    def guest_sees(self, domain: str) -> dict[str, Visible]:
        """What the guest itself reads from each of its running disks, through its page cache."""
        return {vdev: (size, shown(cache, runs)) for vdev, (size, runs), cache in self._running_disks(domain)}

    def running_disks(self, domain: str) -> dict[str, Visible]:
        """What the QEMU of a running domain reads from each disk."""
        return {vdev: visible for vdev, visible, _ in self._running_disks(domain)}

    def _running_disks(self, domain: str) -> Iterator[tuple[str, Visible, Cache]]:
        one, memory = self.incarnation(domain), self.memory(domain)
        for disk in one.disks:
            shows = life.shown(self.world, one.domid, disk.vdev)
            if shows is not None:
                yield disk.vdev, shows, memory.cache(disk.vdev)

    def _executing(self, domain: str) -> Incarnation:
        one = self.incarnation(domain)
        if not one.executes:
            raise Usage(f"the guest {domain} is {one.state} and does nothing")
        return one

    def _change_guest(self, domain: str, change: Callable[[Memory], Memory]) -> None:
        domid = self.incarnation(domain).domid
        guest = self.world.guests[domid]
        guest = replace(guest, memory=change(guest.memory))
        self._cell.world = replace(self.world, guests=self.world.guests.set(domid, guest))
