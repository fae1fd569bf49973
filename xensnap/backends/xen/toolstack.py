"""The domains of a Xen host, through xl. What it says is kept for the errors; what is true is read back."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager

from xensnap.backends.local.install import install, require_free, require_unknown
from xensnap.backends.xen import xl_cfg
from xensnap.backends.xen.domains import Found, XenDomains
from xensnap.backends.xen.live import LiveSave, Receivers
from xensnap.backends.xen.remembered import Description, Remembered, Source, heard
from xensnap.backends.xen.saving import Guest, PlainSave
from xensnap.backends.xen.starting import Starts
from xensnap.backends.xen.supervisor import Supervisor
from xensnap.backends.xen.userdata import Userdata
from xensnap.backends.xen.watcher import Watchers
from xensnap.backends.xen.xl import Xl, words
from xensnap.errors import Busy, Effect, ExitCode, Failed, FileFailed, NotFound, Reason, Refused
from xensnap.formats import libxl_json
from xensnap.formats.libxl_json import Config
from xensnap.hypervisor import Files, ImageTool, Machine, Saving, Watcher
from xensnap.model import Backend, Described, Domain, DomainUuid, DomId, Layer, RunState

_GONE_S_MAX = 60.0
_REVIVE_S_MAX = 120.0
_FIRST_PAUSE_S, _PAUSE_S_MAX = 0.02, 1.0


class XenToolstack:
    """The `Toolstack` port.

    Args:
        xl: tells and does.
        domains: all domains.
        remembered: what is known of those that are off.
        userdata: what libxl starts a domain from next.
        starts: brings domains up.
        supervisor: revives suspended guests.
        watchers: the daemons of running domains.
        receivers: take live streams.
        images: tells when nobody has an image open any more.
        files: looks at save files.
        machine: waits.
    """

    def __init__(
        self,
        xl: Xl,
        domains: XenDomains,
        *,
        remembered: Remembered,
        userdata: Userdata,
        starts: Starts,
        supervisor: Supervisor,
        watchers: Watchers,
        receivers: Receivers,
        images: ImageTool,
        files: Files,
        machine: Machine,
    ) -> None:
        self._xl = xl
        self._domains = domains
        self._remembered = remembered
        self._userdata = userdata
        self._starts = starts
        self._supervisor = supervisor
        self._watchers = watchers
        self._receivers = receivers
        self._images = images
        self._files = files
        self._machine = machine

    async def domains(self) -> tuple[Domain, ...]:
        """See `Toolstack.domains`."""
        return tuple(found.domain for found in await self._domains.all())

    async def inspect(self, ref: str) -> Domain:
        """See `Toolstack.inspect`."""
        return (await self._domains.find(ref)).domain

    async def configuration(self, uuid: DomainUuid) -> str:
        """See `Toolstack.configuration`."""
        config = (await self._domains.find(uuid)).config
        return libxl_json.dump(config).decode("utf-8", "surrogateescape")

    async def described(self, text: str, *, source: str) -> Described:
        """See `Toolstack.described`: as xl itself reads the file, which must hold that text still.

        Where the file gives no UUID, xl makes one up, another one each time.
        """
        if (await self._files.read(source)).decode("utf-8", "surrogateescape") != text:
            cause = f"{source} is not what it was when it was read"
            raise Refused([Reason("configuration-moved", cause, "Try again.", ExitCode.BUSY)])
        config, again = await self._xl.read_file(source), await self._xl.read_file(source)
        uuid = libxl_json.uuid(config)
        told = libxl_json.dump(config).decode("utf-8", "surrogateescape")
        pinned = uuid if uuid == libxl_json.uuid(again) else ""
        return Described(told, libxl_json.name(config), pinned, libxl_json.disks(config))

    async def set_configuration(self, uuid: DomainUuid, text: str, *, file: str = "") -> None:
        """See `Toolstack.set_configuration`: what is remembered. libxl's own of a guest that runs stays as it is."""
        found = await self._domains.find(uuid)
        told = libxl_json.parse(text.encode("utf-8", "surrogateescape"), source="the configuration")
        config = libxl_json.with_layers(told, {disk.vdev: disk.layer for disk in found.domain.disks if disk.path})
        config = libxl_json.with_identity(config, uuid=found.uuid, name=libxl_json.name(config))
        source = heard(file, await self._files.read(file), told) if file else Source()
        await self._remembered.put(uuid, Description(config, source))

    async def set_layers(self, uuid: DomainUuid, layers: Mapping[str, Layer]) -> None:
        """See `Toolstack.set_layers`. The operator's own file is out of reach.

        What is remembered is written last: once it tells the new layers, all sources do.
        """
        found = await self._domains.find(uuid)
        for vdev in layers:
            if found.domain.disk(vdev) is None:
                raise NotFound(f"{found.domain.name} has no disk {vdev!r}", id="disk-not-found")
        if found.domain.domid is not None:
            await self._userdata.set_layers(found.domain.domid, found.uuid, layers)
        config = libxl_json.with_layers(found.config, layers)
        await self._remembered.put(uuid, Description(config, found.source))

    async def require_definable(self, domain: Domain, *, configuration: str, file: str) -> None:
        """See `Toolstack.require_definable`."""
        text = xl_cfg.write(_configuration(configuration))
        require_unknown(domain, await self.domains())
        await require_free(self._files, file, text)

    async def define(self, domain: Domain, *, configuration: str, file: str) -> None:
        """See `Toolstack.define`. xl keeps nothing of a domain that is off: we remember it, and write a file for xl.

        The file is written first, and what makes the domain known last.
        """
        await self.require_definable(domain, configuration=configuration, file=file)
        config = _configuration(configuration)
        text = xl_cfg.write(config)
        await install(self._files, file, text)
        await self._remembered.put(domain.uuid, Description(config, heard(file, text, config)))

    async def create(self, uuid: DomainUuid, *, paused: bool = False) -> Domain:
        """See `Toolstack.create`."""
        found = await self._domains.find(uuid)
        if found.domain.state is not RunState.OFF:
            raise Busy(f"{found.domain.name} runs already", id="running-already")
        domain = await self._starts.create(uuid, Description(found.config, found.source))
        if not paused:
            await self.unpause(domain)
        return await self.inspect(uuid)

    async def destroy(self, domain: Domain) -> None:
        """See `Toolstack.destroy`. It is remembered as it was, so that it can be found when it is off."""
        found = await self._present(domain)
        if found is None or found.domain.domid is None:
            return
        await self._remember(found)
        done = await self._xl.tell("destroy", str(found.domain.domid))
        if not await self._gone(found.domain.domid):
            cause = f"{domain.name} is still there: {words(done)}"
            raise Failed(cause, id="not-destroyed", remedy="Look at what xl says.", effect=Effect.UNKNOWN)
        await self._closed(found.domain)

    async def shutdown(self, domain: Domain, *, timeout_s: float) -> None:
        """See `Toolstack.shutdown`. A guest without drivers for Xen is asked by its ACPI.

        Its watcher cleans up after it; where that has been lost, the guest that has shut down is destroyed here.
        """
        found = await self._present(domain)
        if found is None or found.domain.domid is None:
            return
        await self._remember(found)
        domid = found.domain.domid
        done = await self._xl.tell("shutdown", "-F", str(domid))
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while (state := await self._domains.state(domid)) is not RunState.OFF:
            if state is RunState.SHUTDOWN and waited_s > _PAUSE_S_MAX:
                await self.destroy(found.domain)
                return
            if waited_s >= timeout_s:
                cause = f"{domain.name} was asked to power off and still runs after {timeout_s} s: {words(done)}"
                raise Failed(cause, id="still-running", remedy="Wait longer, or destroy it.", effect=Effect.DONE)
            await self._machine.sleep(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(pause_s * 2, _PAUSE_S_MAX)
        await self._closed(found.domain)

    async def pause(self, domain: Domain) -> None:
        """See `Toolstack.pause`. xl exits 0 even where there is no such domain (4.17.7)."""
        done = await self._xl.tell("pause", str(_domid(domain)))
        state = await self._domains.state(_domid(domain))
        if state is not RunState.PAUSED:
            cause = f"{domain.name} is {state}, not paused: {words(done)}"
            raise Failed(cause, id="still-running", effect=Effect.UNKNOWN)

    async def unpause(self, domain: Domain) -> None:
        """See `Toolstack.unpause`. Where it was paused by others, too, one unpause of ours does not let it run."""
        done = await self._xl.tell("unpause", str(_domid(domain)))
        state = await self._domains.state(_domid(domain))
        if state in (RunState.PAUSED, RunState.SUSPENDED):
            remedy = f"If nobody else has paused it for a reason, let it run: xl unpause {domain.name}"
            raise Failed(f"{domain.name} is still {state}: {words(done)}", id="still-paused", remedy=remedy)

    async def resume(self, domain: Domain) -> None:
        """See `Toolstack.resume`. xl 4.17 has no command for it, but its save resumes the guest when it fails."""
        argv = [self._xl.program, "save", "-c", str(_domid(domain))]
        done = await self._supervisor.revive(argv, timeout_s=_REVIVE_S_MAX)
        state = await self._domains.state(_domid(domain))
        if state is RunState.SUSPENDED:
            cause = f"{domain.name} is still suspended: {words(done)}"
            raise Failed(cause, id="still-suspended", remedy=f"Destroy it: xl destroy {_domid(domain)}")

    async def rename(self, domain: Domain, name: str) -> None:
        """See `Toolstack.rename`."""
        found = await self._domains.find(domain.uuid)
        if any(other.domain.name == name for other in await self._domains.all()):
            reason = Reason("name-taken", f"there is a domain {name!r} already", "Choose another.", ExitCode.BUSY)
            raise Refused([reason])
        if found.domain.domid is not None:
            done = await self._xl.tell("rename", str(found.domain.domid), name)
            if (await self._domains.find(domain.uuid)).domain.name != name:
                raise Failed(f"{domain.name} was not renamed: {words(done)}", id="not-renamed")
        config = libxl_json.with_identity(found.config, uuid=found.uuid, name=name)
        await self._remembered.put(domain.uuid, Description(config, found.source))

    async def restore(
        self,
        memory: str,
        *,
        uuid: DomainUuid,
        layers: Mapping[str, Layer],
        paused: bool,
        configuration: str = "",
    ) -> Domain:
        """See `Toolstack.restore`. The memory file has the configuration of its machine, which xl restores with."""
        name = (await self._domains.find(uuid)).domain.name
        text = configuration.encode("utf-8", "surrogateescape")
        given = libxl_json.parse(text, source="the configuration") if text else None
        domain = await self._starts.restore(memory, uuid=uuid, name=name, layers=layers, given=given)
        if not paused:
            await self.unpause(domain)
        return await self.inspect(uuid)

    def saving(
        self, domain: Domain, *, to: str, live: bool = False, max_downtime_s: float | None = None
    ) -> AbstractAsyncContextManager[Saving]:
        """See `Toolstack.saving`. xl itself stops the guest, after five rounds or when few pages are left."""
        if max_downtime_s is not None:
            cause = "xl decides itself when it stops a guest: after five rounds, or when fewer than 50 pages are left"
            raise Refused([Reason("no-downtime-limit", cause, "Leave out the limit.")])
        return self._saving(domain, to, live=live)

    async def watched(self, domain: Domain) -> bool | None:
        """See `Toolstack.watched`."""
        if domain.domid is None:
            return None
        watches = await self._watchers.watches(domain.domid)
        # Who has ended since he was looked at has lost nobody.
        gone = watches is False and await self._domains.state(domain.domid) is RunState.OFF
        return None if gone else watches

    async def hold_watcher(self, domain: Domain) -> Watcher | None:
        """See `Toolstack.hold_watcher`."""
        return None if domain.domid is None else await self._watchers.hold(domain.domid)

    async def watch(self, domain: Domain) -> None:
        """See `Toolstack.watch`. xl watches only what it has started: a program of ours does, until the guest ends.

        That one has to be able to start the guest anew, which is tried out first.
        """
        found = await self._present(domain)
        if found is not None and await self.watched(found.domain) is False:
            await self._starts.require_startable(found.domain.uuid, Description(found.config, found.source))
            await self._watchers.replace(found.domain)

    @contextlib.asynccontextmanager
    async def _saving(self, domain: Domain, to: str, *, live: bool) -> AsyncIterator[Saving]:
        stat = await self._files.stat(to)
        if stat is None or stat.length_bytes:
            cause = f"{to} is not the empty file that was made for this memory"
            raise Refused([Reason("not-empty", cause, "Give an empty file.")])
        guest = Guest(
            domain,
            state=lambda: self._domains.state(_domid(domain)),
            pause=lambda: self.pause(domain),
            unpause=lambda: self.unpause(domain),
            revive=lambda: self.resume(domain),
            destroy=lambda: self.destroy(domain),
        )
        if not live:
            plain = PlainSave(self._xl, guest, to, self._files, self._machine)
            try:
                yield plain
            finally:
                if not plain.finished:
                    await plain.undo()
            return
        save = LiveSave(self._xl, guest, to, self._files, self._receivers)
        stream = _domid(domain), (await self._domains.find(domain.uuid)).uuid
        await self._userdata.stream_begins(*stream)
        try:
            yield save
        finally:
            if not save.finished:
                await save.undo()
            if not save.cut_short:
                await self._userdata.stream_is_over(*stream)

    async def _present(self, domain: Domain) -> Found | None:
        """The domain as it is now, if it is there: the incarnation that is meant, or what a reboot has made of it.

        Two restores of one file at once make twins, of which only the domid tells the one that is meant.
        """
        ours = [each for each in await self._domains.all() if domain.uuid in (each.domain.uuid, each.uuid)]
        there = [each for each in ours if each.domain.state is not RunState.OFF]
        return next((each for each in there if each.domain.domid == domain.domid), there[0] if there else None)

    async def _remember(self, found: Found) -> None:
        if found.domain.disks:  # one that is just being made has none yet
            await self._remembered.put(found.domain.uuid, Description(found.config, found.source))

    async def _gone(self, domid: DomId) -> bool:
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while await self._domains.state(domid) is not RunState.OFF:
            if waited_s >= _GONE_S_MAX:
                return False
            await self._machine.sleep(pause_s)
            waited_s, pause_s = waited_s + pause_s, min(pause_s * 2, _PAUSE_S_MAX)
        return True

    async def _closed(self, domain: Domain) -> None:
        """Return when the images that the domain wrote are closed: xl does not promise that QEMU has gone with it."""
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        for disk in domain.disks:
            while disk.path and not disk.readonly and disk.backend is Backend.QDISK:
                try:
                    await self._images.require_unused(disk.layer)
                    break
                except (NotFound, FileFailed):
                    break
                except Busy as error:
                    if waited_s >= _GONE_S_MAX:
                        cause = f"{domain.name} has ended, and {error.cause}"
                        raise Failed(cause, id=error.id, remedy=error.remedy, effect=Effect.DONE) from error
                await self._machine.sleep(pause_s)
                waited_s, pause_s = waited_s + pause_s, min(pause_s * 2, _PAUSE_S_MAX)


def _configuration(text: str) -> Config:
    return libxl_json.parse(text.encode("utf-8", "surrogateescape"), source="the configuration")


def _domid(domain: Domain) -> DomId:
    if domain.domid is None:
        raise Failed(f"{domain.name} is off", id="domain-is-off")
    return domain.domid
