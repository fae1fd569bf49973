"""What can be done to a running domain: pausing, reviving, ending it. Exit codes are never believed (xen.md 5)."""

from collections.abc import Callable

import msgspec

from simulator.core.effects import declare
from simulator.ports.blocks import domid_of
from simulator.ports.seat import Seat
from simulator.world import World, life
from simulator.world.life import XlError
from simulator.world.programs import Migrate, Save
from simulator.xen.incarnations import Incarnation, Shutdown
from xensnap.errors import Effect, Failed
from xensnap.hypervisor import Then
from xensnap.model import Domain, RunState

replace = msgspec.structs.replace

_DESTROY = declare("xl.destroy", "a domain is ended at once", writes=True)
_SHUTDOWN = declare("xl.shutdown", "a guest is asked to power off", writes=True)
_PAUSE = declare("xl.pause", "a domain is paused once more", writes=True)
_UNPAUSE = declare("xl.unpause", "a pause of a domain is taken back", writes=True)
_RESUME = declare("xl.resume", "a suspended guest is revived", writes=True)
_STATE = declare("xl.state", "a domain's state is read back", writes=False)

_SHUTDOWN_NS = 2_000_000_000
_REVIVE_NS = 600_000_000


class SimulatedDomains:
    """Running domains as one process of the host handles them."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def destroy(self, domain: Domain) -> None:
        """The incarnation that is meant, or whatever it has become, with its QEMU; halfway QEMU has the images open."""
        there = [incarnation.domid for incarnation in self._seat.world.xen.of(domain.uuid)]
        # A guest that has rebooted is the same domain under another domid; one of two twins is meant by its domid.
        for domid in [domain.domid] if domain.domid in there else there:

            def halfway(world: World, domid: int = int(domid)) -> World:
                return life.dying(world, domid) if domid in world.xen.there else world

            def destroyed(world: World, domid: int = int(domid)) -> tuple[World, None]:
                return life.destroyed(world, domid), None

            await self._seat.change(_DESTROY, domain.name, destroyed, (halfway,))

    async def shutdown(self, domain: Domain, *, timeout_s: float) -> None:
        """A guest that answers flushes its disks and powers off; one that nobody watches stays as it is then."""
        domid = domid_of(self._seat.world, domain)

        def asked(world: World) -> tuple[World, bool]:
            incarnation, guest = life.require(world, domid), world.guests.get(domid)
            obeys = incarnation.executes and guest is not None and guest.answers and timeout_s * 1e9 >= _SHUTDOWN_NS
            if incarnation.executes and not obeys:
                world = world.slept(int(timeout_s * 1e9))
            return (powered_off(world.slept(_SHUTDOWN_NS), domid), True) if obeys else (world, False)

        if not await self._seat.change(_SHUTDOWN, domain.name, asked):
            now = self._seat.world.xen.there.get(domid)
            if now is not None and now.shutdown in {Shutdown.NO, Shutdown.SUSPEND}:
                cause = f"{domain.name} was asked to power off and is {now.state} after {timeout_s} s"
                raise Failed(cause, id="shutdown-timeout", remedy="Destroy it, or wait.", effect=Effect.UNKNOWN)

    async def pause(self, domain: Domain) -> None:
        """Once more, however often it was paused before (xen.md 4)."""
        domid = domid_of(self._seat.world, domain)
        state = life.require(self._seat.world, domid).state
        if state not in {RunState.RUNNING, RunState.PAUSED}:
            raise Failed(f"{domain.name} is {state} and cannot be paused", id="not-running")
        await self._seat.change(_PAUSE, domain.name, lambda world: (_if_there(world, domid, life.paused), None))
        await self._read_back(domain, domid, RunState.PAUSED)

    async def pause_standing(self, domain: Domain) -> None:
        """A pause of a guest that is suspended: it stays still when it is resumed."""
        domid = domid_of(self._seat.world, domain)
        await self._seat.change(_PAUSE, domain.name, lambda world: (_if_there(world, domid, life.paused), None))

    async def unpause(self, domain: Domain, *, last: bool = True) -> None:
        """One pause less; with `last` the domain must run then."""
        domid = domid_of(self._seat.world, domain)
        await self._seat.change(_UNPAUSE, domain.name, lambda world: (_unpaused(world, domid), None))
        if last:
            await self._read_back(domain, domid, RunState.RUNNING)

    async def revived(self, domain: Domain, *, pauses: int) -> None:
        """From whatever a save has left, back to being paused this many times."""
        world = self._seat.world
        for incarnation in world.xen.of(domain.uuid):
            if incarnation.state is RunState.SUSPENDED:
                await self.resume(domain)
            now = self._seat.world.xen.there.get(incarnation.domid)
            for _ in range(now.pauses - pauses if now else 0):
                await self.unpause(domain, last=False)

    async def resume(self, domain: Domain) -> None:
        """A save into a pipe that nobody reads to its end: the fastest way that needs no library (xen-live.md E2)."""
        domid = domid_of(self._seat.world, domain)
        if life.require(self._seat.world, domid).state is not RunState.SUSPENDED:
            return
        for activity in self._seat.world.agenda:
            if isinstance(activity.program, Save | Migrate) and activity.program.domid == domid:
                cause = f"xl (pid {activity.pid}) is still saving {domain.name}"
                raise Failed(cause, id="save-under-way", remedy="Wait until it has ended, or end it.")

        def resumed(world: World) -> tuple[World, None]:
            world = replace(world, clock=world.clock.after(_REVIVE_NS))
            return _if_there(world, domid, life.resumed), None

        await self._seat.change(_RESUME, domain.name, resumed)
        state = (await self._state(domain, domid)).state
        if state is RunState.SUSPENDED:
            raise Failed(f"{domain.name} is still suspended", id="still-suspended", effect=Effect.NONE)

    async def _read_back(self, domain: Domain, domid: int, wanted: RunState) -> None:
        state = (await self._state(domain, domid)).state
        if state is not wanted:
            cause = f"{domain.name} is {state}, not {wanted}"
            raise Failed(cause, id=f"not-{wanted}", remedy="Look at the domain.", effect=Effect.UNKNOWN)

    async def _state(self, domain: Domain, domid: int) -> Incarnation:
        world = await self._seat.look(_STATE, domain.name)
        found = world.xen.there.get(domid)
        if found is None:
            raise Failed(f"{domain.name} has gone", id="not-running", effect=Effect.UNKNOWN)
        return found


def powered_off(world: World, domid: int) -> World:
    """The guest has written out its caches and powered off."""
    incarnation = world.xen.there.get(domid)
    if incarnation is None or not incarnation.executes:
        return world
    for cache in world.guests[domid].memory.caches:
        world = life.guest_flushed(world, domid, cache.vdev)
    return life.shut(world, domid, Shutdown.POWEROFF)


async def outcome(seat: Seat, domain: Domain, wanted: Then) -> None:
    """A domain is as an operation should leave it. `Failed`, effect unknown, says how it is instead."""
    world = await seat.look(_STATE, domain.name)
    found = world.xen.of(domain.uuid)
    state = found[-1].state if found else RunState.OFF
    right = {Then.RUNNING: RunState.RUNNING, Then.PAUSED: RunState.PAUSED, Then.STOPPED: RunState.OFF}[wanted]
    # A guest that was let go may have rebooted, ended or crashed by itself since.
    if state is right or (wanted is Then.RUNNING and state not in {RunState.PAUSED, RunState.SUSPENDED}):
        return
    cause = f"the memory of {domain.name} is saved, but the domain is {state}, not {right}"
    raise Failed(cause, id="not-as-asked", remedy="Look at the domain.", effect=Effect.UNKNOWN)


def _if_there(world: World, domid: int, change: Callable[[World, int], World]) -> World:
    """Xl exits 0 for a domid that does not exist (xen.md 5); the state that is read back tells."""
    try:
        return change(world, domid)
    except XlError:
        return world


def _unpaused(world: World, domid: int) -> World:
    return _if_there(world, domid, life.unpaused)
