"""All domains of a Xen host: those that run, from xl, and those that are off, from what is remembered of them."""

import msgspec

from xensnap.backends.xen import listing
from xensnap.backends.xen.listing import Line
from xensnap.backends.xen.remembered import Description, Remembered, Source, digest, heard, renewed
from xensnap.backends.xen.userdata import Userdata
from xensnap.backends.xen.xl import Xl
from xensnap.errors import Failed, FileFailed, NotFound, Reason, Refused, no_domain
from xensnap.formats import libxl_json
from xensnap.formats.device_disk import device_number
from xensnap.formats.libxl_json import Config
from xensnap.hypervisor import Capability, Files
from xensnap.model import Backend, DescribedBy, Disk, Domain, DomainUuid, DomId, GuestKind, Layer, RunState

_CAN_DO = {GuestKind.PV: ("shadow",), GuestKind.PVH: ("hap", "shadow"), GuestKind.HVM: ("hap", "shadow")}
"""What Xen needs, any of it, to log the pages that a guest of this kind dirties."""


class Found(msgspec.Struct, frozen=True):
    """A domain, with what xl calls it.

    `uuid` is the one that xl knows it under now. A configuration file without a UUID makes a new one at each start; the
    domain keeps the one that its snapshots are under.
    """

    domain: Domain
    config: Config
    uuid: DomainUuid
    source: Source = Source()


class _Known(msgspec.Struct, frozen=True):
    """What xl told of a domain, and of which name and which file of libxl's. An empty file is never the same."""

    of: tuple[str, bytes]
    config: Config


class XenDomains:
    """The domains.

    Args:
        xl: tells those that run.
        files: reads the operator's own files.
        remembered: tells those that are off.
        userdata: tells when xl has to be asked for a configuration again.
    """

    def __init__(self, xl: Xl, files: Files, remembered: Remembered, userdata: Userdata) -> None:
        self._xl = xl
        self._files = files
        self._remembered = remembered
        self._userdata = userdata
        self._known: dict[DomId, _Known] = {}
        self._capabilities: frozenset[str] | None = None

    async def all(self) -> tuple[Found, ...]:
        """All domains but dom0, by name."""
        known = {uuid: told for uuid in await self._remembered.uuids() if (told := await self._remembered.get(uuid))}
        lines = await self._xl.lines()
        configs = await self._configurations(lines)
        found = []
        for line in lines:
            config = configs.get(line.domid, {"c_info": {"name": line.name}})
            recorded = _recorded(line, config, known)
            source = known.pop(recorded).source if recorded in known else Source()
            domain = msgspec.structs.replace(
                await self._running(line, config, recorded),
                described_in=source.path,
                uuid_not_pinned=not source.pinned or recorded != line.uuid,
            )
            found.append(Found(domain, config, line.uuid, source))
        for uuid, told in known.items():
            now = await self._heard_again(told)
            if now is not told:
                self._remembered.tell(uuid, now)
            found.append(Found(_off(uuid, now), now.config, uuid, now.source))
        return tuple(sorted(found, key=lambda one: one.domain.name))

    async def find(self, ref: str) -> Found:
        """The domain with this UUID, name or domid.

        Raises:
            NotFound: there is none; its remedy names those that there are.
            Refused: id `ambiguous-domain`: two have this name, and not one of them alone is there: two restores of one
                file at once make such, and a file without a UUID that was started from more than once.
        """
        found = await self.all()
        for one in found:
            if ref.lower() in (one.domain.uuid, one.uuid):
                return one
        named = [one for one in found if one.domain.name == ref]
        there = [one for one in named if one.domain.state is not RunState.OFF]
        if len(named) > 1 and len(there) != 1:
            cause = f"{len(named)} domains are called {ref!r}: {', '.join(one.domain.uuid for one in named)}"
            remedy = "Name the one that you mean by its UUID. Whether they are one guest, `xensnap doctor UUID` tells."
            raise Refused([Reason("ambiguous-domain", cause, remedy)])
        for one in (*there, *named, *(one for one in found if str(one.domain.domid) == ref)):
            return one
        otherwise = "One that is off is known by the file that it is started from: --domain-config FILE."
        raise no_domain(ref, (one.domain.name for one in found), otherwise=otherwise)

    async def learn(self, path: str, *, remember: bool) -> None:
        """Hear from the operator's own file, as xl reads it, of the domain that it describes.

        What it starts from next is what we switched it to, if we did; the file then says what it was before.

        Args:
            path: absolute.
            remember: write it down at once, so that the domain is known from now on.

        Raises:
            Failed: xl cannot read the file.
        """
        text = await self._files.read(path)
        config = await self._xl.read_file(path)
        pinned = libxl_json.uuid(await self._xl.read_file(path)) == libxl_json.uuid(config)
        uuid, name = libxl_json.uuid(config), libxl_json.name(config)
        source = heard(path, text, config, pinned=pinned)
        known = [one for one in await self.all() if (one.domain.uuid == uuid if pinned else one.domain.name == name)]
        for one in known[:1]:
            uuid = one.domain.uuid
            off = one.domain.state is RunState.OFF
            config = renewed(one.config, one.source, config) if off else one.config
        description = Description(libxl_json.with_identity(config, uuid=uuid, name=name), source)
        if remember:
            await self._remembered.put(uuid, description)
        else:
            self._remembered.tell(uuid, description)

    async def _heard_again(self, told: Description) -> Description:
        """What is remembered of a domain that is off, with what its operator has changed in its file since.

        A file that is gone, that xl cannot read now, or that describes another domain by now, changes nothing.
        """
        try:
            text = await self._files.read(told.source.path) if told.source.digest else b""
            if not text or told.source.digest == digest(text):
                return told
            config = await self._xl.read_file(told.source.path)
        except (NotFound, FileFailed, Failed):
            return told
        if libxl_json.name(config) != libxl_json.name(told.config):
            return told
        pinned = libxl_json.uuid(config) == libxl_json.uuid(told.config)
        source = heard(told.source.path, text, config, pinned=pinned)
        config = renewed(told.config, told.source, config)
        uuid, name = libxl_json.uuid(told.config), libxl_json.name(told.config)
        return Description(libxl_json.with_identity(config, uuid=uuid, name=name), source)

    async def _configurations(self, lines: tuple[Line, ...]) -> dict[int, Config]:
        """Those of the domains that are there, by domid.

        `xl list -l` costs twice what `xl list -v` does and grows with every domain, and each step of an operation looks
        anew. Whatever changes a configuration changes libxl's file of it, too (4.17), so xl is asked again when one of
        these files, or the name, which is not in it, is another than when it was asked last.
        """
        stored = {line.domid: (line.name, await self._userdata.stored(line.domid, line.uuid)) for line in lines}
        if any(not of[1] or domid not in self._known or self._known[domid].of != of for domid, of in stored.items()):
            told = await self._xl.configurations()
            self._known = {DomId(each): _Known(stored[DomId(each)], told[each]) for each in told if each in stored}
        return {domid: known.config for domid, known in self._known.items() if domid in stored}

    async def state(self, domid: DomId) -> RunState:
        """What one incarnation is doing now; `OFF` when it is gone."""
        return next((line.state for line in await self._xl.lines() if line.domid == domid), RunState.OFF)

    async def _running(self, line: Line, config: Config, uuid: DomainUuid) -> Domain:
        kind = libxl_json.kind(config)
        disks = libxl_json.disks(config)
        told = {}
        if line.state is RunState.PAUSED or any(libxl_json.leaves_backend_open(config, disk.vdev) for disk in disks):
            told = await self._xl.blocks(line.domid)
        drivers = any(block.connected for block in told.values())
        return Domain(
            uuid=uuid,
            name=line.name,
            state=line.state,
            disks=tuple(_served(disk, told) for disk in disks),
            domid=line.domid,
            described_by=DescribedBy.OPERATOR,
            kind=kind,
            no_live_save=await self._no_live_save(line, kind),
            no_paused_save=_no_paused_save(kind, drivers=drivers, never_ran=line.never_ran),
            memory_bytes=libxl_json.memory_bytes(config),
            never_ran=line.never_ran,
        )

    async def _no_live_save(self, line: Line, kind: GuestKind | None) -> str:
        """Asked of Xen, once: Debian's is built without shadow paging, so it cannot log what a PV guest dirties."""
        if await self._userdata.stream_was_cut(line.domid, line.uuid):
            return (
                "a live save of this guest broke off, and may have left Xen logging what it writes; another live save "
                "was seen to find such a guest dead. A reboot or a revert of the guest ends that"
            )
        if self._capabilities is None:
            self._capabilities = await self._xl.capabilities()
        needed = _CAN_DO.get(kind, ()) if kind else ()
        if self._capabilities & set(needed):
            return ""
        paging = " or ".join({"shadow": "shadow paging"}.get(each, each) for each in needed) or "way"
        return f"Xen here has no {paging} to log the pages that a {kind or 'such a'} guest dirties"


CAPABILITIES = frozenset(
    {
        Capability.INTERNAL,
        Capability.EXTERNAL,
        Capability.RUNNING,
        Capability.MEMORY,
        Capability.LIVE_SAVE,
        Capability.SAVE_PAUSED,
    }
)
"""What a Xen host can do with some guest; each domain tells what cannot be done with it."""


def _no_paused_save(kind: GuestKind | None, *, drivers: bool, never_ran: bool) -> str:
    """A guest with drivers for Xen has to suspend itself: xl waits a minute for one that is paused, and fails.

    Whether it has any is seen by what they have connected to, which they cannot before it has run.
    """
    if kind is GuestKind.HVM and not drivers:
        return "whether it has drivers for Xen is not known before it has run" if never_ran else ""
    return "under Xen a guest suspends itself, which it cannot while it is paused"


def _recorded(line: Line, config: Config, off: dict[DomainUuid, Description]) -> DomainUuid:
    """The UUID that a domain's snapshots are under: its own, or that of a domain of its name with the very images."""
    if line.uuid in off:
        return line.uuid
    layers = _written(config)
    for uuid, told in off.items():
        if layers and _written(told.config) == layers and libxl_json.name(told.config) == line.name:
            return uuid
    return line.uuid


def _written(config: Config) -> dict[str, Layer]:
    """The images that a domain may write to, by which it is known. What lies in a drive says nothing."""
    disks = (disk for disk in libxl_json.disks(config) if disk.path and not disk.readonly and not disk.cdrom)
    return {disk.vdev: disk.layer for disk in disks}


def _off(uuid: DomainUuid, told: Description) -> Domain:
    return Domain(
        uuid=uuid,
        name=libxl_json.name(told.config),
        state=RunState.OFF,
        disks=libxl_json.disks(told.config),
        described_by=DescribedBy.OPERATOR,
        kind=libxl_json.kind(told.config),
        memory_bytes=libxl_json.memory_bytes(told.config),
        described_in=told.source.path,
        uuid_not_pinned=not told.source.pinned,
    )


def _served(disk: Disk, told: dict[int, listing.Block]) -> Disk:
    """The disk with the backend that serves it: a raw file without one goes to blkback, of which QEMU knows nothing."""
    number = device_number(disk.vdev)
    block = told.get(number) if number is not None else None
    if block is None or not block.backend or block.backend == "qdisk":
        return disk
    return msgspec.structs.replace(disk, backend=Backend.PHY)
