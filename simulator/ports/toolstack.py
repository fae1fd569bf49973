"""The `Toolstack` port for domains that are off, and the loud refusal of everything that needs a running one."""

from collections.abc import Mapping
from typing import NoReturn

import msgspec

from simulator.core.effects import declare
from simulator.core.unmodelled import NotModelled
from simulator.ports.seat import Seat
from simulator.world import World
from simulator.xen import domains as xen
from xensnap.errors import NotFound, Reason, Refused
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
                raise NotFound(f"the domain has no disk {error.args[0]}", id="no-such-disk") from None
            return msgspec.structs.replace(world, domains=world.domains.set(uuid, domain)), None

        await self._seat.change(_SET_LAYERS, uuid, switched)

    def __getattr__(self, name: str) -> NoReturn:
        """Everything else of the port needs a running domain."""
        raise _not_modelled("Toolstack", name)


class SimulatedBlocks:
    """The block layer of running domains, which there are none of yet."""

    def __getattr__(self, name: str) -> NoReturn:
        """Every method of the port needs a running domain."""
        raise _not_modelled("BlockLayer", name)


def _not_modelled(port: str, name: str) -> Exception:
    if name.startswith("_"):
        return AttributeError(name)
    return NotModelled(f"{port}.{name}: the simulated host has no running domains yet")


def looked_up(world: World, ref: str) -> Domain:
    """The domain that this reference means."""
    found = world.domains.get(ref)
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
    names = ", ".join(sorted(domain.name for domain in world.domains.values())) or "none at all"
    raise NotFound(f"no domain {ref!r}; there are: {names}", id="no-such-domain")
