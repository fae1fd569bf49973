"""Domains of the plain QEMU host that can run: descriptions from the directory, states from their QEMUs.

Whether a domain runs is asked of the machine each time: nothing is kept in this process, and one that starts tomorrow
finds all that runs today.
"""

# ruff: noqa: PTH118, ASYNC240 -- paths are text in the model; a look at one makes nobody wait

import contextlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager

import msgspec
from msgspec.structs import replace

from xensnap.backends.local import waiting
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.qmp import CommandFailed, LocalMonitor, SocketConnector, connected
from xensnap.backends.local.replies import Device, Migration, Status, ask
from xensnap.backends.qemu import memory
from xensnap.backends.qemu.block_layer import QemuBlocks
from xensnap.backends.qemu.domains import OffDomains
from xensnap.backends.qemu.machine_args import Boot, command_line
from xensnap.backends.qemu.memory import MemorySave
from xensnap.backends.qemu.processes import Process, Processes
from xensnap.errors import Effect, Failed, FileFailed, NotFound, Reason, Refused, Unknown, XensnapError
from xensnap.formats import domain_toml
from xensnap.formats.domain_toml import DomainEntry
from xensnap.hypervisor import Files, ImageTool, Saving, Watcher
from xensnap.model import Described, Domain, DomainUuid, Layer, RunState

# QEMU's words (qapi/run-state.json). What is not here has stopped for a reason of its own, and `cont` may help.
_STATES = {
    "running": RunState.RUNNING,
    "suspended": RunState.RUNNING,  # asleep by its own wish (S3), and woken by its own devices
    "finish-migrate": RunState.SUSPENDED,
    "inmigrate": RunState.SUSPENDED,
    "save-vm": RunState.SUSPENDED,
    "restore-vm": RunState.SUSPENDED,
    "shutdown": RunState.SHUTDOWN,
    "guest-panicked": RunState.CRASHED,
    "internal-error": RunState.CRASHED,
}
LEAVING_S = 10.0
"""How long a QEMU that has hung up is given to be gone."""
_FLOPPY_BYTES_MAX = 2880 << 10
_ASK_AGAIN_S = 0.005


class RunningDomains:
    """The `Toolstack` port for domains that may run.

    Args:
        directory: the host's directory, which paths in descriptions are relative to.
        off: descriptions, and all that needs nothing else.
        processes: the QEMUs.
        connector: their monitors.
        blocks: looks at what they have open.
        images: makes sure that nobody else has an image open.
        files: looks at boot media.
        accelerator: `tcg` or `kvm`.
    """

    def __init__(
        self,
        directory: str,
        off: OffDomains,
        *,
        processes: Processes,
        connector: SocketConnector,
        blocks: QemuBlocks,
        images: ImageTool,
        files: Files,
        accelerator: str = "tcg",
    ) -> None:
        self._directory = directory
        self._off = off
        self._processes = processes
        self._connector = connector
        self._blocks = blocks
        self._images = images
        self._files = files
        self._accelerator = accelerator

    async def domains(self) -> tuple[Domain, ...]:
        """See `Toolstack.domains`. `Busy`: a running one's monitor is not to be had. `Failed`: it has none."""
        return tuple(await waiting.gather(*[self._live(domain) for domain in await self._off.domains()]))

    async def inspect(self, ref: str) -> Domain:
        """See `Toolstack.inspect`. `Busy`: a running one's monitor is not to be had. `Failed`: it has none."""
        try:
            return await self._live(await self._off.inspect(ref))
        except NotFound:
            for domain in await self._off.domains():
                process = await self._processes.find(domain.uuid)
                if process and str(process.domid) == ref:
                    return await self._live(domain)
            raise

    async def configuration(self, uuid: DomainUuid) -> str:
        """See `Toolstack.configuration`."""
        return await self._off.configuration(uuid)

    async def described(self, text: str, *, source: str) -> Described:
        """See `Toolstack.described`."""
        return await self._off.described(text, source=source)

    async def set_configuration(self, uuid: DomainUuid, text: str, *, file: str = "") -> None:
        """See `Toolstack.set_configuration`."""
        await self._off.set_configuration(uuid, text, file=file)

    async def set_layers(self, uuid: DomainUuid, layers: Mapping[str, Layer]) -> None:
        """See `Toolstack.set_layers`."""
        await self._off.set_layers(uuid, layers)

    async def require_definable(self, domain: Domain, *, configuration: str, file: str) -> None:
        """See `Toolstack.require_definable`."""
        await self._off.require_definable(domain, configuration=configuration, file=file)

    async def define(self, domain: Domain, *, configuration: str, file: str) -> None:
        """See `Toolstack.define`."""
        await self._off.define(domain, configuration=configuration, file=file)

    async def create(self, uuid: DomainUuid, *, paused: bool = False) -> Domain:
        """See `Toolstack.create`. `Busy`: it runs already, or an image is open elsewhere: none."""
        entry = self._entry(await self._off.configuration(uuid))
        async with self._started(uuid, entry, self._layers(entry)) as domain:
            if not paused:
                await self._go_on(domain)
        return await self.inspect(uuid)

    async def destroy(self, domain: Domain) -> None:
        """See `Toolstack.destroy`."""
        await self._processes.end(domain.uuid)

    async def shutdown(self, domain: Domain, *, timeout_s: float) -> None:
        """See `Toolstack.shutdown`. One that is off is fine."""
        process = await self._processes.find(domain.uuid)
        if process is None:
            return
        async with connected(self._connector, domain) as monitor:
            await monitor.execute("system_powerdown")
        if not await self._processes.ended(process, timeout_s=timeout_s):
            cause = f"{domain.name} was asked to power off and still runs after {timeout_s} s"
            raise Failed(cause, id="still-running", remedy="Wait longer, or destroy it.", effect=Effect.DONE)
        await self._processes.sweep(domain.uuid)

    async def pause(self, domain: Domain) -> None:
        """See `Toolstack.pause`. QEMU does not count pauses."""
        async with connected(self._connector, domain) as monitor:
            await monitor.execute("stop")
        await self._require(domain, RunState.PAUSED, "still-running")

    async def unpause(self, domain: Domain) -> None:
        """See `Toolstack.unpause`."""
        await self._go_on(domain)

    async def resume(self, domain: Domain) -> None:
        """See `Toolstack.resume`. The migration that the killed save left behind is ended first."""
        async with connected(self._connector, domain) as monitor:
            await memory.cancel(monitor)
        await self._go_on(domain)

    async def rename(self, domain: Domain, name: str) -> None:
        """See `Toolstack.rename`."""
        await self._off.rename(domain, name)

    async def restore(
        self, memory: str, *, uuid: DomainUuid, layers: Mapping[str, Layer], paused: bool, configuration: str = ""
    ) -> Domain:
        """See `Toolstack.restore`. The machine is the one of `configuration` where that is given."""
        entry = self._entry(configuration or await self._off.configuration(uuid))
        fd = _opened(memory, os.O_RDONLY)
        try:
            async with self._started(uuid, entry, self._layers(entry) | dict(layers), incoming=fd) as domain:
                if not paused:
                    await self._go_on(domain)
        finally:
            os.close(fd)
        return await self.inspect(uuid)

    def saving(
        self, domain: Domain, *, to: str, live: bool = False, max_downtime_s: float | None = None
    ) -> AbstractAsyncContextManager[Saving]:
        """See `Toolstack.saving`. Under TCG memory is copied in one pass only, which takes what it takes."""
        if max_downtime_s is not None and self._accelerator == "tcg":
            cause = (
                "under TCG the memory of a guest is copied in one pass, and what changes meanwhile takes what it takes"
            )
            raise Refused([Reason("no-downtime-limit", cause, "Leave out the limit.")])
        return self._saving(domain, to, live=live, max_downtime_s=max_downtime_s)

    async def watched(self, domain: Domain) -> bool | None:
        """See `Toolstack.watched`: a QEMU needs nobody for that."""
        return await self._off.watched(domain)

    async def hold_watcher(self, domain: Domain) -> Watcher | None:
        """See `Toolstack.hold_watcher`: a QEMU that reboots its guest does so by itself.

        But a save whose program was killed goes on in it, and would stop the guest for good when all is copied.
        """
        if await self._processes.find(domain.uuid) is not None:
            async with connected(self._connector, domain) as monitor:
                await memory.cancel(monitor)
        return await self._off.hold_watcher(domain)

    async def watch(self, domain: Domain) -> None:
        """See `Toolstack.watch`: a QEMU needs nobody for that."""
        await self._off.watch(domain)

    @contextlib.asynccontextmanager
    async def _saving(
        self, domain: Domain, to: str, *, live: bool, max_downtime_s: float | None
    ) -> AsyncIterator[Saving]:
        fd = _opened(to, os.O_RDWR)
        try:
            if os.fstat(fd).st_size:
                cause = f"{to} is not empty, so it is not the file that was made for this memory"
                raise Refused([Reason("not-empty", cause, "Give an empty file.")])
            save = MemorySave(
                self._connector,
                domain,
                path=to,
                fd=fd,
                live=live,
                one_pass=self._accelerator == "tcg",
                max_downtime_s=max_downtime_s,
                complaints=lambda: self._processes.complaints(domain.uuid),
                destroy=lambda: self.destroy(domain),
            )
            try:
                yield save
            finally:
                if not save.finished:
                    await save.undo()
        finally:
            os.close(fd)

    @contextlib.asynccontextmanager
    async def _started(
        self, uuid: DomainUuid, entry: DomainEntry, layers: dict[str, Layer], *, incoming: int | None = None
    ) -> AsyncIterator[Domain]:
        """The domain with its QEMU up, its guest standing still and every disk looked at; gone again after an error."""
        for disk in entry.disks:
            if disk.vdev in layers:
                await self._images.chain(layers[disk.vdev])  # that each format is told, so that QEMU probes none
                if not disk.readonly:
                    await self._images.require_unused(layers[disk.vdev])
        argv = command_line(
            entry,
            layers,
            serial=self._processes.serial(uuid),
            boot=await self._boot(entry),
            accelerator=self._accelerator,
            incoming=incoming is not None,
        )
        process = await self._processes.start(uuid, argv)
        domain = await self._bare(uuid, process)
        try:
            async with connected(self._connector, domain) as monitor:
                if incoming is not None:
                    await self._load(monitor, uuid, incoming)
                await self._blocks.require_layers(monitor, domain, layers)
            yield domain
        except BaseException as error:
            complaints = self._processes.complaints(uuid)
            await self._processes.end(uuid, polite_s=1.0)
            if not isinstance(error, XensnapError):
                raise
            cause = f"{entry.name} did not start: {complaints or error.cause}"
            raise Failed(cause, id="start-failed", remedy="Look at what QEMU says.") from error

    async def _load(self, monitor: LocalMonitor, uuid: DomainUuid, fd: int) -> None:
        """Read the memory image; QEMU ends itself when it cannot."""
        await monitor.give("memory", fd)
        await monitor.execute("migrate-incoming", {"uri": "fd:memory"})
        while (answer := await ask(monitor, "query-migrate", Migration)).status != "completed":
            if answer.status == "failed":
                raise Failed(f"the memory was not read: {answer.error_desc or 'QEMU does not say why'}")
            await sleep(_ASK_AGAIN_S)
        # An image that it cannot get for itself now (locked by another) it only complains of (7.2.22).
        if complaints := self._processes.complaints(uuid):
            raise Failed(f"QEMU complains: {complaints}", id="restore-failed")

    async def _live(self, domain: Domain) -> Domain:
        """The domain with what its QEMU says."""
        process = await self._processes.find(domain.uuid)
        if process is None:
            return domain
        try:
            async with connected(self._connector, domain) as monitor:
                doing = await _doing(monitor)
        except (Failed, Unknown):
            # Who is on its way out has hung up before. Of one that stays nobody can tell: its guest may run.
            if not await self._processes.ended(process, timeout_s=LEAVING_S):
                raise
            return domain
        return replace(domain, state=doing.state, domid=process.domid, never_ran=doing.never_ran, halted=doing.halted)

    async def _bare(self, uuid: DomainUuid, process: Process) -> Domain:
        return replace(await self._off.inspect(uuid), state=RunState.PAUSED, domid=process.domid)

    async def _go_on(self, domain: Domain) -> None:
        async with connected(self._connector, domain) as monitor:
            try:
                await monitor.execute("cont")
            except CommandFailed as error:
                raise Failed(f"{domain.name} is still paused: {error.words}", id="still-paused") from error
        await self._require(domain, RunState.RUNNING, "still-paused")

    async def _require(self, domain: Domain, wanted: RunState, id: str) -> None:
        now = await self._live(replace(domain, state=RunState.OFF))
        if now.state is not wanted:
            why = f": {now.halted}" if now.halted else ""
            raise Failed(f"{domain.name} is {now.state}, not {wanted}{why}", id=id, effect=Effect.UNKNOWN)

    def _entry(self, text: str) -> DomainEntry:
        return domain_toml.parse(text, source="the configuration", fresh_uuid="")

    def _layers(self, entry: DomainEntry) -> dict[str, Layer]:
        disks = [disk for disk in entry.disks if disk.path]
        return {disk.vdev: Layer(os.path.join(self._directory, disk.path), disk.format) for disk in disks}

    async def _boot(self, entry: DomainEntry) -> Boot | None:
        if not entry.boot:
            return None
        path = os.path.join(self._directory, entry.boot)
        stat = await self._files.stat(os.path.realpath(path))
        if stat is None:
            raise NotFound(f"{path}: no such boot medium", id="no-such-image")
        return Boot(path, floppy=stat.length_bytes <= _FLOPPY_BYTES_MAX)


def monitor_of(processes: Processes) -> SocketConnector:
    """The connector to the monitors of these processes."""

    async def where(domain: Domain) -> str | None:
        process = await processes.find(domain.uuid)
        return process.monitor if process else None

    return SocketConnector(where)


class Doing(msgspec.Struct, frozen=True):
    """What a QEMU is doing, whether it has done nothing yet, and why its guest stands still if nobody has paused it."""

    state: RunState
    never_ran: bool = False
    halted: str = ""


async def _doing(monitor: LocalMonitor) -> Doing:
    told = (await ask(monitor, "query-status", Status)).status
    if told == "io-error":
        return Doing(RunState.PAUSED, halted=await _unwritable(monitor))
    state = _STATES.get(told, RunState.PAUSED)
    if state is RunState.PAUSED and (await ask(monitor, "query-migrate", Migration)).status in memory.UNDER_WAY:
        return Doing(RunState.SUSPENDED)
    return Doing(state, never_ran=told == "prelaunch")


async def _unwritable(monitor: LocalMonitor) -> str:
    """Which disks have let QEMU stop its guest. It does what it could not do again when the guest goes on (7.2.22)."""
    devices = await ask(monitor, "query-block", tuple[Device, ...])
    full = [device.vdev for device in devices if device.io_status == "nospace"]
    failed = [device.vdev for device in devices if device.io_status == "failed"]
    why = [f"there is no room for what it writes to {', '.join(full)}"] if full else []
    why += [f"{', '.join(failed)} cannot be read or written"] if failed else []
    return " and ".join(why) or "a disk cannot be read or written"


def _opened(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such memory file", id="no-such-file") from error
    except OSError as error:
        raise FileFailed(f"cannot open {path}: {error.strerror}", path=path, errno=error.errno or 0) from error
