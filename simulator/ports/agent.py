"""The `GuestAgent` port: software in the guest that freezes its file systems, or does not do so in one of many ways."""

import msgspec

from simulator.core.effects import declare
from simulator.guest import AgentManner
from simulator.ports.seat import Seat
from simulator.world import World, life
from xensnap.errors import Failed, Unknown
from xensnap.model import Domain

replace = msgspec.structs.replace

_FREEZE = declare("agent.freeze", "a guest is asked to freeze its file systems", writes=True)
_THAW = declare("agent.thaw", "a guest is asked to thaw its file systems", writes=True)

PATIENCE_NS = 5_000_000_000
"""How long is waited for an agent to say that it is there, and for a thaw."""

_LATE = frozenset({AgentManner.SLOW, AgentManner.HANGS})


class SimulatedAgent:
    """The agents of all guests, each with its manner; one file system for each disk."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def freeze(self, domain: Domain, *, timeout_s: float) -> int:
        """All that the guest has cached gets written, and then nothing until it thaws."""
        domid = domain.domid or 0

        def asked(world: World) -> tuple[World, AgentManner]:
            manner = _manner(world, domid)
            if manner is AgentManner.FAILING:
                return world, manner
            if manner is AgentManner.ABSENT:
                return world.slept(PATIENCE_NS), manner
            world = _frozen(world.slept(int(timeout_s * 1e9)) if manner in _LATE else world, domid)
            return (_thawed(world, domid) if manner is AgentManner.SHORT else world), manner

        manner = await self._seat.change(_FREEZE, domain.name, asked)
        words = {AgentManner.ABSENT: "no agent answers", AgentManner.FAILING: "Device or resource busy"}
        if manner in words:
            raise Failed(f"{domain.name} cannot make its file systems quiet: {words[manner]}", id="agent-failed")
        if manner in _LATE:
            raise Unknown(f"the agent of {domain.name} did not say within {timeout_s} s that it has frozen")
        return len(life.require(self._seat.world, domid).disks)

    async def thaw(self, domain: Domain) -> int:
        """All go on; one whose agent hangs stays as it is."""
        domid = domain.domid or 0

        def asked(world: World) -> tuple[World, int | None]:
            if _manner(world, domid) in {AgentManner.ABSENT, AgentManner.HANGS}:
                return world.slept(PATIENCE_NS), None
            count = len(life.require(world, domid).disks) if world.guests[domid].frozen else 0
            return _thawed(world, domid), count

        count = await self._seat.change(_THAW, domain.name, asked)
        if count is None:
            raise Failed(f"no agent answers in {domain.name}", id="agent-failed")
        return count


def _manner(world: World, domid: int) -> AgentManner:
    """A guest that executes nothing answers nothing; nor does one that has rebooted since, by another door."""
    incarnation = world.xen.there.get(domid)
    return world.guests[domid].agent if incarnation and incarnation.executes else AgentManner.ABSENT


def _frozen(world: World, domid: int) -> World:
    for cache in world.guests[domid].memory.caches:
        world = life.guest_flushed(world, domid, cache.vdev)
    return replace(world, guests=world.guests.set(domid, replace(world.guests[domid], frozen=True)))


def _thawed(world: World, domid: int) -> World:
    return replace(world, guests=world.guests.set(domid, replace(world.guests[domid], frozen=False)))
