"""The `Toolstack` port: domains that are off and domains that run, as xl handles them."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import msgspec

from simulator.core.effects import Effect, declare
from simulator.ports.children import Child, xl
from simulator.ports.domains import SimulatedDomains
from simulator.ports.saving import SimulatedSaving
from simulator.ports.seat import Seat
from simulator.qemu.graph import Qemu
from simulator.world import World, life
from simulator.world.life import XlError
from simulator.world.programs import Build
from simulator.xen import configurations, save_file
from simulator.xen import domains as xen
from simulator.xen.incarnations import Traits
from simulator.xen.save_file import SavedError
from xensnap.errors import Effect as Known
from xensnap.errors import ExitCode, Failed, NotFound, Reason, Refused, Usage, no_domain
from xensnap.hypervisor import Saving, Watcher
from xensnap.model import Backend, Described, Disk, Domain, DomainUuid, Layer, RunState

replace = msgspec.structs.replace

_DOMAINS = declare("toolstack.domains", "all domains are listed", writes=False)
_INSPECT = declare("toolstack.inspect", "one domain is looked up", writes=False)
_CONFIGURATION = declare("toolstack.configuration", "a domain's stored configuration is read", writes=False)
_DESCRIBED = declare("toolstack.described", "a configuration file is read", writes=False)
_SET_CONFIGURATION = declare("toolstack.set-configuration", "a domain's stored configuration is replaced", writes=True)
_SET_LAYERS = declare("toolstack.set-layers", "a domain is switched to other active layers", writes=True)
_DEFINE = declare("toolstack.define", "a domain that is off is made known", writes=True)
_REQUIRE_DEFINABLE = declare("toolstack.require-definable", "a new domain is looked at before", writes=False)
_CREATE = declare("xl.create", "a domain is made and started", writes=True)
_RESTORE = declare("xl.restore", "a domain is made out of a save file", writes=True)
_LOOK = declare("xl.look-at-disks", "a new domain's QEMU is asked which disks it has", writes=False)
_RENAME = declare("xl.rename", "a domain gets another name", writes=True)
_WATCHED = declare("watcher.look", "the daemon that watches a domain is looked for", writes=False)
_HOLD = declare("watcher.stop", "the daemon that watches a domain is stopped", writes=True)
_STAND_IN = declare("watcher.stand-in", "somebody stands in for a daemon that was lost", writes=True)
_CONTINUE = declare("watcher.continue", "the daemon that watches a domain goes on", writes=True)


class SimulatedToolstack:
    """Domains as xl and their stored configuration tell them."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._running = SimulatedDomains(seat)

    async def domains(self) -> tuple[Domain, ...]:
        """All of them, by name."""
        world = await self._seat.look(_DOMAINS)
        return tuple(sorted(every_domain(world), key=lambda domain: domain.name))

    async def inspect(self, ref: str) -> Domain:
        """By UUID, then name, then domid."""
        return looked_up(await self._seat.look(_INSPECT, ref), ref)

    async def configuration(self, uuid: DomainUuid) -> str:
        """As libxl would store it."""
        world = await self._seat.look(_CONFIGURATION, uuid)
        return configurations.text(_stored(world, uuid), _traits(world, uuid).items)

    async def described(self, text: str, *, source: str) -> Described:
        """As xl reads an operator's file, or as libxl's JSON has it."""
        await self._seat.look(_DESCRIBED, source)
        told = configurations.read(text, source=source)
        domain = Domain(DomainUuid(told.uuid or ""), told.name, RunState.OFF, told.disks, kind=told.kind)
        return Described(configurations.text(domain, told.items), told.name, told.uuid or "", told.disks)

    async def set_configuration(self, uuid: DomainUuid, text: str, *, file: str = "") -> None:
        """In what is stored. The active layers stay."""
        told = configurations.read(text, source="the configuration")

        def changed(world: World) -> tuple[World, None]:
            known = replace(_stored(world, uuid), kind=told.kind, described_in=file)
            traits = replace(_traits(world, uuid), kind=told.kind, items=told.items)
            known_to_xen = replace(world.xen, traits=world.xen.traits.set(uuid, traits))
            domains = world.domains.set(uuid, xen.off(known, name=told.name))
            return replace(world, domains=domains, xen=known_to_xen), None

        await self._seat.change(_SET_CONFIGURATION, uuid, changed)

    async def set_layers(self, uuid: DomainUuid, layers: Mapping[str, Layer]) -> None:
        """In the stored configuration and in what the watcher reboots with; durable. An operator's file stays."""
        wanted = dict(layers)

        def switched(world: World) -> tuple[World, None]:
            try:
                return life.with_layers(world, _stored(world, uuid), wanted), None
            except KeyError as error:
                raise NotFound(f"the domain has no disk {error.args[0]}", id="disk-not-found") from None

        def only_stored(world: World) -> World:
            try:
                return life.with_layers(world, _stored(world, uuid), wanted, watcher=False)
            except KeyError:
                return world

        halves = (only_stored,) if self._seat.world.xen.of(uuid) else ()
        await self._seat.change(_SET_LAYERS, uuid, switched, halves)

    async def require_definable(self, domain: Domain, *, configuration: str, file: str) -> None:
        """Whether it would be a domain here; there are no files for xl, since descriptions are ours here."""
        del file
        world = await self._seat.look(_REQUIRE_DEFINABLE, domain.name)
        _defined(world, domain, configuration)

    async def define(self, domain: Domain, *, configuration: str, file: str) -> None:
        """In what is stored. Of the configuration kind and disks are modelled, and the memory that the domain tells."""
        del file
        await self._seat.change(_DEFINE, domain.name, lambda world: (_defined(world, domain, configuration), None))

    async def create(self, uuid: DomainUuid, *, paused: bool = False) -> Domain:
        """From the stored configuration; its uuid is given, so it keeps it."""
        stored = _stored(self._seat.world, uuid)
        if self._seat.world.xen.of(uuid):
            raise Failed(f"{stored.name} is there already", id="domain-exists", remedy="Look at it again.")
        program = Build(uuid, stored.name, _traits(self._seat.world, uuid), stored.disks, paused=paused)
        return await self._built(_CREATE, program)

    async def destroy(self, domain: Domain) -> None:
        """Fine where it is off."""
        await self._running.destroy(domain)

    async def shutdown(self, domain: Domain, *, timeout_s: float) -> None:
        """The guest powers off if it answers."""
        await self._running.shutdown(domain, timeout_s=timeout_s)

    async def pause(self, domain: Domain) -> None:
        """One pause more."""
        await self._running.pause(domain)

    async def unpause(self, domain: Domain) -> None:
        """One pause less."""
        await self._running.unpause(domain)

    async def resume(self, domain: Domain) -> None:
        """A suspended guest runs again."""
        await self._running.resume(domain)

    async def rename(self, domain: Domain, name: str) -> None:
        """Another name, running or not; a number is fine (xen.md 12)."""

        def renamed(world: World) -> tuple[World, None]:
            stored = _stored(world, domain.uuid)
            taken = any(each.name == name and each.uuid != domain.uuid for each in every_domain(world))
            if taken:
                raise Refused([Reason("name-taken", f"there is a domain {name!r} already", "Choose another name.")])
            after = xen.off(stored, name=name)
            known = world.xen
            for incarnation in known.of(domain.uuid):
                known = known.putting(replace(incarnation, name=name))
            return replace(world, xen=known, domains=world.domains.set(stored.uuid, after)), None

        await self._seat.change(_RENAME, domain.name, renamed)

    async def restore(
        self, memory: str, *, uuid: DomainUuid, layers: Mapping[str, Layer], paused: bool, configuration: str = ""
    ) -> Domain:
        """`xl restore CONFIG SAVE`: the configuration names these disks, whatever the save file says (xen.md 14)."""
        world = self._seat.world
        if world.xen.of(uuid):
            raise Failed(f"a domain {uuid} is there already", id="domain-exists", remedy="Destroy it first.")
        try:
            header = save_file.read_header(_bytes(world, memory))
        except SavedError as error:
            raise Failed(f"{memory}: {error}", id="not-a-save-file") from None
        known = world.domains.get(uuid)
        try:
            disks = xen.with_layers(known or Domain(uuid, header.name, RunState.OFF, header.disks), layers).disks
        except KeyError as error:
            raise Failed(f"{memory}: the domain has no disk {error.args[0]}", id="disk-not-found") from None
        given = configurations.read(configuration, source=memory).items if configuration else header.items
        items = configurations.restored(header.items, given)
        traits = replace(_traits(world, uuid), kind=header.kind, items=items, served=header.served)
        program = Build(uuid, known.name if known else header.name, traits, disks, memory, paused)
        return await self._built(_RESTORE, program)

    def saving(
        self, domain: Domain, *, to: str, live: bool = False, max_downtime_s: float | None = None
    ) -> AbstractAsyncContextManager[Saving]:
        """`xl save -p`, or the live stream; a domain that is not there is told by `suspended`."""
        return SimulatedSaving(self._seat, self._running, domain, to=to, live=live, max_downtime_s=max_downtime_s)

    async def watched(self, domain: Domain) -> bool | None:
        """As the list of processes tells it."""
        world = await self._seat.look(_WATCHED, domain.name)
        found = world.xen.of(domain.uuid)
        return all(each.watcher for each in found) if found else None

    async def hold_watcher(self, domain: Domain) -> Watcher | None:
        """SIGSTOP; one that is stopped already can be held again."""
        found = [each for each in self._seat.world.xen.of(domain.uuid) if each.watcher]
        if not found:
            return None
        domid = found[-1].domid
        await self._seat.change(_HOLD, domain.name, lambda world: (_stopping(world, domid, stopped=True), None))
        return _HeldWatcher(self._seat, domain, domid)

    async def watch(self, domain: Domain) -> None:
        """Where nobody does, a program of ours."""

        def replaced(world: World) -> tuple[World, None]:
            for each in world.xen.of(domain.uuid):
                world = life.stood_in(world, each.domid)
            return world, None

        if await self.watched(domain) is False:
            await self._seat.change(_STAND_IN, domain.name, replaced)

    async def _built(self, effect: Effect, program: Build) -> Domain:
        """Run xl, and look at each disk: xl says that all is well where QEMU could not open one (xen.md 8)."""
        seat = self._seat
        child = Child(seat)
        try:
            await child.run(effect, program.name, xl(program, seat.pid))
        except XlError as error:
            raise Failed(f"{program.name} was not started: {error.words}", id="not-started") from None
        except Failed as error:
            await self._swept(program, child.pid)
            raise Failed(f"{program.name} was not started: {error.cause}", id="not-started") from error
        world = await seat.look(_LOOK, program.name)
        found = [each for each in world.xen.of(program.uuid) if each.builder == child.pid]
        if not found:
            raise Failed(f"{program.name} was started and has gone already", id="not-started")
        domain = world.xen.told(_stored(world, program.uuid), found[0])
        qemu = world.qemus.get(found[0].domid)
        for disk in program.disks:
            if disk.path and disk.backend is Backend.QDISK and (qemu is None or not _opened(qemu, disk)):
                words = next((line for line in qemu.log if f" {disk.vdev}: " in line), "") if qemu else "QEMU is gone"
                await self._running.destroy(domain)
                cause = f"{program.name} came up without its disk {disk.vdev} ({disk.path}): {words}"
                raise Failed(cause, id="disk-not-opened", remedy="Look at the image.")
        return domain

    async def _swept(self, program: Build, builder: int) -> None:
        """What an xl that was killed has left half built is no domain of anybody."""
        for incarnation in self._seat.world.xen.of(program.uuid):
            if incarnation.builder == builder:
                world = self._seat.world
                await self._running.destroy(world.xen.told(world.domains[program.uuid], incarnation))


class _HeldWatcher:
    """A stopped daemon."""

    def __init__(self, seat: Seat, domain: Domain, domid: int) -> None:
        self._seat = seat
        self._domain = domain
        self._domid = domid

    async def resume(self) -> None:
        """SIGCONT: it acts on what it finds (xen-live.md C1)."""

        def continued(world: World) -> tuple[World, None]:
            return life.watchers_looked(_stopping(world, self._domid, stopped=False)), None

        await self._seat.change(_CONTINUE, self._domain.name, continued)


def _stopping(world: World, domid: int, *, stopped: bool) -> World:
    incarnation = world.xen.there.get(domid)
    if incarnation is None:
        return world
    return replace(world, xen=world.xen.putting(replace(incarnation, stopped=stopped)))


def _defined(world: World, domain: Domain, configuration: str) -> World:
    told = configurations.read(configuration, source="the configuration")
    if (told.uuid, told.name) != (domain.uuid, domain.name):
        raise Usage("the configuration is one of another domain", id="bad-description")
    if any(domain.uuid == each.uuid or domain.name == each.name for each in every_domain(world)):
        cause = f"there is a domain {domain.name!r} already, or one with its UUID"
        raise Refused([Reason("domain-exists", cause, "Choose another name, or give it a new UUID.", ExitCode.BUSY)])
    stored = replace(xen.off(domain), kind=told.kind, disks=told.disks)
    traits = Traits(told.kind, memory_bytes=domain.memory_bytes or Traits().memory_bytes, items=told.items)
    known = replace(world.xen, traits=world.xen.traits.set(domain.uuid, traits))
    return replace(world, xen=known, domains=world.domains.set(domain.uuid, stored))


def _opened(qemu: Qemu, disk: Disk) -> bool:
    drive = qemu.drive(disk.vdev)
    return drive is not None and drive.root.layer == disk.layer


def _bytes(world: World, path: str) -> bytes:
    try:
        stored = world.fs.inode(path).stored
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}", id="not-a-save-file", effect=Known.NONE) from None
    return stored if isinstance(stored, bytes) else b""


def _traits(world: World, uuid: str) -> Traits:
    return world.xen.traits.get(uuid, Traits())


# --- looking up ------------------------------------------------------------------------------------------------------


def every_domain(world: World) -> list[Domain]:
    """Each domain as often as it is there, and once where it is off."""
    found: list[Domain] = []
    for stored in world.domains.values():
        there = world.xen.of(stored.uuid) if world.xen.there else ()
        found += [world.xen.told(stored, incarnation) for incarnation in there] or [stored]
    return found


def _stored(world: World, uuid: str) -> Domain:
    """What is stored of a domain."""
    found = world.domains.get(uuid)
    return found if found is not None else looked_up(world, uuid)


def looked_up(world: World, ref: str) -> Domain:
    """The domain that this reference means."""
    every = every_domain(world)
    for found in ([d for d in every if d.uuid == ref.lower()], [d for d in every if d.name == ref]):
        if len(found) > 1:
            which = ", ".join(sorted(f"{d.uuid} (domid {d.domid})" if d.domid else d.uuid for d in found))
            raise Refused([Reason("ambiguous-domain", f"{ref!r} means {which}", "Name the UUID, or destroy one.")])
        if found:
            return found[0]
    for domain in every:
        if domain.domid is not None and str(domain.domid) == ref:
            return domain
    raise no_domain(ref, (domain.name for domain in every), otherwise="`xensnap sim domain add` makes one.")
