"""Domains that come up: created from a file, or restored from memory, and looked at before anybody believes it.

xl calls a start successful when the domain is there. Whether QEMU could open the disks it does not know: the guest then
runs without them (Xen 4.17.7).
"""

# ruff: noqa: PTH118, PTH120 -- paths are text in the model

import os
from collections.abc import Mapping

from xensnap.backends.local.qmp import connected
from xensnap.backends.xen import xl_cfg
from xensnap.backends.xen.block_layer import XenBlocks
from xensnap.backends.xen.domains import Found, XenDomains
from xensnap.backends.xen.remembered import Description, Source
from xensnap.backends.xen.supervisor import Feed, Supervisor
from xensnap.backends.xen.xl import Xl, words
from xensnap.errors import Effect, Failed, FileFailed, NotFound, Refused, XensnapError
from xensnap.formats import libxl_json, savefile
from xensnap.formats.libxl_json import Config
from xensnap.hypervisor import Files, ImageTool, Machine, MonitorConnector
from xensnap.model import Backend, Domain, DomainUuid, DomId, Layer, RunState

_START_S_MAX = 3600.0
"""A restore reads all of a guest's memory from a disk."""
_DISKS_S_MAX = 20.0
# libxl gives a new QEMU ten seconds for each answer, which a busy host does not always keep; the domain is gone then.
_TIMED_OUT, _MORE_ATTEMPTS = "rc=-9", 2
_ASK_AGAIN_S = 0.1


class Starts:
    """Brings domains up, standing still, with their disks looked at.

    Args:
        xl: tells what there is.
        domains: finds what has come up.
        supervisor: runs the xl whose children stay behind.
        blocks: looks at the disks.
        connector: reaches QEMU for that.
        files: reads save files and logs, writes configurations for xl.
        images: makes sure that nobody else has a disk open.
        machine: waits.
        root: the directory of all stores; what xl reads goes into the domain's.
        logs: the directory of QEMU's logs.
    """

    def __init__(
        self,
        xl: Xl,
        domains: XenDomains,
        *,
        supervisor: Supervisor,
        blocks: XenBlocks,
        connector: MonitorConnector,
        files: Files,
        images: ImageTool,
        machine: Machine,
        root: str,
        logs: str,
    ) -> None:
        self._xl = xl
        self._domains = domains
        self._supervisor = supervisor
        self._blocks = blocks
        self._connector = connector
        self._files = files
        self._images = images
        self._machine = machine
        self._root = root
        self._logs = logs

    async def create(self, uuid: DomainUuid, description: Description) -> Domain:
        """Start a domain that is off, paused. Errors as `Toolstack.create`."""
        path = await self._configuration(uuid, description)
        try:
            return await self._start(uuid, description.config, ["create", "-p", path], None)
        finally:
            await self._files.remove(path)

    async def require_startable(self, uuid: DomainUuid, description: Description) -> None:
        """`Failed`, id `needs-domain-config`: xl could not start the domain as it is remembered."""
        await self._files.remove(await self._configuration(uuid, description))

    async def restore(
        self, memory: str, *, uuid: DomainUuid, name: str, layers: Mapping[str, Layer], given: Config | None = None
    ) -> Domain:
        """Bring a saved domain back, paused, under this identity and on these disks. Errors as `Toolstack.restore`.

        What may differ from what was saved is taken from the configuration that is given.
        """
        head = await self._head(memory)
        saved = head.config if given is None else libxl_json.with_what_may_differ(head.config, given)
        config = libxl_json.with_identity(libxl_json.with_layers(saved, layers), uuid=uuid, name=name)
        feed = Feed(savefile.encode(_with(head, config)), memory, head.length_bytes)
        return await self._start(uuid, config, ["restore", "-p", "/dev/stdin"], feed)

    async def _start(self, uuid: DomainUuid, config: Config, argv: list[str], feed: Feed | None) -> Domain:
        name, attempts = libxl_json.name(config), _MORE_ATTEMPTS
        before = await self._require_free(uuid, name)
        for disk in libxl_json.disks(config):
            if disk.path and disk.backend is Backend.QDISK:
                await self._images.chain(disk.layer)  # xl restores a guest without its disk where this fails
                if not disk.readonly:
                    await self._images.require_unused(disk.layer)
        command = [self._xl.program, *argv]
        done = await self._supervisor.start(command, feed=feed, timeout_s=_START_S_MAX)
        while (found := await self._found(uuid)) is None and _TIMED_OUT in words(done) and attempts:
            attempts -= 1
            done = await self._supervisor.start(command, feed=feed, timeout_s=_START_S_MAX)
        if found is None:
            raise Failed(f"{name} did not start: {words(done)}", id="start-failed", remedy="Look at what xl says.")
        try:
            if done.returncode:
                raise Failed(words(done))
            await self._look_at_disks(found.domain)
        except XensnapError as error:
            left = await self._end(uuid, before)
            complaints = await self._complaints(name)
            cause = f"{name} did not start: {error.cause}" + (f"; QEMU says: {complaints}" if complaints else "") + left
            raise Failed(cause, id="start-failed", remedy="Look at the disk's image and at what xl says.") from error
        return found.domain

    async def _require_free(self, uuid: DomainUuid, name: str) -> frozenset[DomId]:
        """Two restores of one file at once both succeed: then two domains of one name are on the same images.

        Returns:
            All domains that are there before the start.
        """
        lines = await self._xl.lines()
        for line in lines:
            if line.name == name or line.uuid == uuid:
                cause = f"the domain {line.name} ({line.uuid}, domid {line.domid}) is there already"
                raise Failed(cause, id="running-already", remedy="Destroy it first.")
        return frozenset(line.domid for line in lines)

    async def _end(self, uuid: DomainUuid, before: frozenset[DomId]) -> str:
        """End what has come up; what cannot be ours stays, and is told of.

        Ours is new, stands still and has executed nothing. xl takes back itself what it could not start, so whatever is
        there may as well have been started by somebody else meanwhile.
        """
        found = await self._found(uuid)
        if found is None:
            return ""
        domain = found.domain
        if domain.domid not in before and domain.state is RunState.PAUSED and domain.never_ran:
            await self._xl.tell("destroy", str(domain.domid))
            return ""
        return f"; {domain.name} (domid {domain.domid}), which is {domain.state}, is not what was started, and stays"

    async def _look_at_disks(self, domain: Domain) -> None:
        """Every disk that QEMU serves is open with the image that was meant. xl does not wait for that."""
        wanted = {d.vdev: d.layer for d in domain.disks if d.path and d.backend is Backend.QDISK}
        waited_s = 0.0
        while True:
            try:
                async with connected(self._connector, domain) as monitor:
                    await self._blocks.require_layers(monitor, domain, wanted)
            except Failed:
                if waited_s >= _DISKS_S_MAX or await self._complaints(domain.name):
                    raise
            else:
                return
            await self._machine.sleep(_ASK_AGAIN_S)
            waited_s += _ASK_AGAIN_S

    async def _found(self, uuid: DomainUuid) -> Found | None:
        try:
            found = await self._domains.find(uuid)
        except (NotFound, Refused):
            return None
        return found if found.domain.state is not RunState.OFF else None

    async def _complaints(self, name: str) -> str:
        """What the QEMU of the domain of this name has complained of since its start."""
        try:
            text = await self._files.read(os.path.join(self._logs, f"qemu-dm-{name}.log"))
        except XensnapError:
            return ""
        lines = text.decode("utf-8", "replace").splitlines()
        return "; ".join(line for line in lines if "failed to create" in line or "Could not open" in line)

    async def _head(self, memory: str) -> savefile.Head:
        fixed = await self._files.read_part(memory, offset=0, length_bytes=savefile.FIXED_BYTES)
        whole = savefile.length(fixed, path=memory)
        return savefile.parse(await self._files.read_part(memory, offset=0, length_bytes=whole), path=memory)

    async def _operators(self, source: Source) -> bytes:
        """The operator's own file; nothing where none is known, or where it is gone: what it said is remembered."""
        if not source.path:
            return b""
        try:
            return await self._files.read(source.path)
        except (NotFound, FileFailed):
            return b""

    async def _configuration(self, uuid: DomainUuid, description: Description) -> str:
        """A file that xl reads as the very configuration that we remember, in the domain's own store."""
        path = os.path.join(self._root, uuid, "start.cfg")
        await self._files.mkdir(os.path.dirname(path))
        text = await self._operators(description.source)
        if text:
            await self._files.replace(path, text + xl_cfg.changes(description.config))
        else:
            await self._files.replace(path, xl_cfg.write(description.config))
            told = await self._xl.read_file(path)
            if missing := xl_cfg.differences(description.config, told):
                await self._files.remove(path)
                cause = f"{libxl_json.name(description.config)} cannot be described for xl: {', '.join(missing)}"
                remedy = "Say which file it is started from: --domain-config FILE."
                raise Failed(cause, id="needs-domain-config", remedy=remedy, effect=Effect.NONE)
        return path


def _with(head: savefile.Head, config: Config) -> savefile.Head:
    return savefile.Head(config, head.mandatory_flags, head.optional_flags, head.rest, head.length_bytes)
