"""The `Toolstack` port for domains that are off, and the loud refusal of everything that needs a running one."""

# ruff: noqa: ARG002 -- what is not modelled needs none of its arguments

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager

import msgspec

from simulator.core.effects import declare
from simulator.core.unmodelled import NotModelled
from simulator.ports.seat import Seat
from simulator.world import World
from simulator.xen import domains as xen
from xensnap.errors import NotFound, Reason, Refused
from xensnap.hypervisor import Action, Job, Node, Saving, Watcher
from xensnap.model import Domain, DomainUuid, Layer

_DOMAINS = declare("toolstack.domains", "all domains are listed", writes=False)
_INSPECT = declare("toolstack.inspect", "one domain is looked up", writes=False)
_CONFIGURATION = declare("toolstack.configuration", "a domain's stored configuration is read", writes=False)
_SET_LAYERS = declare("toolstack.set-layers", "a domain is switched to other active layers", writes=True)


class SimulatedToolstack:
    """Domains as their stored configuration tells them."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def domains(self) -> tuple[Domain, ...]:
        """All of them, by name."""
        world = await self._seat.look(_DOMAINS)
        return tuple(sorted(world.domains.values(), key=lambda domain: domain.name))

    async def inspect(self, ref: str) -> Domain:
        """By UUID, then name, then domid."""
        return looked_up(await self._seat.look(_INSPECT, ref), ref)

    async def configuration(self, uuid: DomainUuid) -> str:
        """As libxl would store it."""
        world = await self._seat.look(_CONFIGURATION, uuid)
        return xen.configuration(looked_up(world, uuid))

    async def set_layers(self, uuid: DomainUuid, layers: Mapping[str, Layer]) -> None:
        """All at once, durable at once."""

        def switched(world: World) -> tuple[World, None]:
            try:
                domain = xen.with_layers(looked_up(world, uuid), layers)
            except KeyError as error:
                raise NotFound(f"the domain has no disk {error.args[0]}", id="disk-not-found") from None
            return msgspec.structs.replace(world, domains=world.domains.set(uuid, domain)), None

        await self._seat.change(_SET_LAYERS, uuid, switched)

    async def destroy(self, domain: Domain) -> None:
        """Fine: it is off."""

    async def hold_watcher(self, domain: Domain) -> Watcher | None:
        """Nobody watches a domain that is off."""

    async def create(self, uuid: DomainUuid, *, paused: bool = False) -> Domain:
        """Not modelled yet."""
        raise _needs_running("Toolstack.create")

    async def shutdown(self, domain: Domain, *, timeout_s: float) -> None:
        """Not modelled yet."""
        raise _needs_running("Toolstack.shutdown")

    async def pause(self, domain: Domain) -> None:
        """Not modelled yet."""
        raise _needs_running("Toolstack.pause")

    async def unpause(self, domain: Domain) -> None:
        """Not modelled yet."""
        raise _needs_running("Toolstack.unpause")

    async def resume(self, domain: Domain) -> None:
        """Not modelled yet."""
        raise _needs_running("Toolstack.resume")

    async def rename(self, domain: Domain, name: str) -> None:
        """Not modelled yet."""
        raise _needs_running("Toolstack.rename")

    async def restore(
        self, memory: str, *, uuid: DomainUuid, layers: Mapping[str, Layer], paused: bool, configuration: str = ""
    ) -> Domain:
        """Not modelled yet."""
        raise _needs_running("Toolstack.restore")

    def saving(self, domain: Domain, *, to: str, live: bool = False) -> AbstractAsyncContextManager[Saving]:
        """Not modelled yet."""
        raise _needs_running("Toolstack.saving")


class SimulatedBlocks:
    """The block layer of running domains, which there are none of yet."""

    async def nodes(self, domain: Domain) -> tuple[Node, ...]:
        """Not modelled yet."""
        raise _needs_running("BlockLayer.nodes")

    async def transaction(self, domain: Domain, actions: Sequence[Action]) -> None:
        """Not modelled yet."""
        raise _needs_running("BlockLayer.transaction")

    async def delete_internal(self, domain: Domain, vdev: str, *, tag: str, snapshot_id: str) -> None:
        """Not modelled yet."""
        raise _needs_running("BlockLayer.delete_internal")

    async def commit(self, domain: Domain, vdev: str, *, top: Layer, base: Layer, job_id: str) -> Job:
        """Not modelled yet."""
        raise _needs_running("BlockLayer.commit")

    async def stream(self, domain: Domain, vdev: str, *, layer: Layer, base: Layer | None, job_id: str) -> Job:
        """Not modelled yet."""
        raise _needs_running("BlockLayer.stream")

    async def job(self, domain: Domain, job_id: str) -> Job:
        """Not modelled yet."""
        raise _needs_running("BlockLayer.job")


def _needs_running(method: str) -> NotModelled:
    return NotModelled(f"{method}: the simulated host has no running domains yet")


def looked_up(world: World, ref: str) -> Domain:
    """The domain that this reference means."""
    found = world.domains.get(ref.lower())
    if found is not None:
        return found
    named = [domain for domain in world.domains.values() if domain.name == ref]
    if len(named) > 1:
        uuids = ", ".join(sorted(domain.uuid for domain in named))
        raise Refused([Reason("ambiguous-domain", f"{ref!r} is the name of {uuids}", "Name the UUID.")])
    if named:
        return named[0]
    for domain in world.domains.values():
        if domain.domid is not None and str(domain.domid) == ref:
            return domain
    names = ", ".join(sorted(domain.name for domain in world.domains.values())) or "none"
    raise NotFound(f"no domain {ref!r}; there are: {names}", id="domain-not-found")
