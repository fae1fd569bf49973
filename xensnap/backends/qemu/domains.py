"""Domains that are off, described by the TOML files of one directory."""

# ruff: noqa: ARG002, PTH118 -- a refusal needs few of its arguments; paths are text in the model

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from xensnap.backends.local.install import install, require_free, require_unknown
from xensnap.backends.qemu.unsupported import unsupported
from xensnap.errors import NotFound, Usage, no_domain
from xensnap.formats import domain_toml
from xensnap.formats.domain_toml import DomainEntry
from xensnap.hypervisor import Files, Machine, Saving, Watcher
from xensnap.model import Described, Disk, Domain, DomainUuid, Layer, RunState

_ENDING = ".toml"


class _Described(NamedTuple):
    """One domain file: where it is, what it says, and what that means."""

    path: str
    text: str
    entry: DomainEntry
    domain: Domain


class OffDomains:
    """The `Toolstack` port for a directory of domain files. Nothing is kept: every call reads the directory.

    Args:
        directory: absolute path of the directory; disk paths in its files are relative to it.
        files: reads and writes them.
        machine: makes the UUID that is proposed where one is missing.
    """

    def __init__(self, directory: str, files: Files, machine: Machine) -> None:
        self._directory = directory
        self._files = files
        self._machine = machine

    async def domains(self) -> tuple[Domain, ...]:
        """See `Toolstack.domains`. `Usage` with id `bad-domain-file` where one of the files is wrong."""
        return tuple(sorted((one.domain for one in await self._described()), key=lambda domain: domain.name))

    async def inspect(self, ref: str) -> Domain:
        """See `Toolstack.inspect`. Nothing runs here, so nothing has a domid."""
        domains = await self.domains()
        for domain in domains:
            if domain.uuid == ref.lower():
                return domain
        for domain in domains:
            if domain.name == ref:
                return domain
        otherwise = f"A file NAME.toml in {self._directory} describes one."
        raise no_domain(ref, (domain.name for domain in domains), otherwise=otherwise)

    async def configuration(self, uuid: DomainUuid) -> str:
        """See `Toolstack.configuration`."""
        return (await self._one(uuid)).text

    async def described(self, text: str, *, source: str) -> Described:
        """See `Toolstack.described`: a domain file."""
        entry = domain_toml.parse(text, source=source, fresh_uuid=await self._machine.fresh_id())
        return Described(text, entry.name, entry.uuid, _domain(self._directory, entry).disks)

    async def set_configuration(self, uuid: DomainUuid, text: str, *, file: str = "") -> None:
        """See `Toolstack.set_configuration`. The domain's own file says it; no other one is needed."""
        found = await self._one(uuid)
        layers = {disk.vdev: Layer(disk.path, disk.format) for disk in found.entry.disks if disk.path}
        await self._write(found, domain_toml.with_layers(text, layers))

    async def set_layers(self, uuid: DomainUuid, layers: Mapping[str, Layer]) -> None:
        """See `Toolstack.set_layers`."""
        found = await self._one(uuid)
        for vdev in layers:
            if found.domain.disk(vdev) is None:
                raise NotFound(f"{found.path}: {found.entry.name} has no disk {vdev!r}", id="disk-not-found")
        stored = {vdev: Layer(self._stored(layer.path), layer.format) for vdev, layer in layers.items()}
        text = domain_toml.with_layers(found.text, stored)
        # The new text must say what was asked, whatever odd TOML it came from: looked at before anything is written.
        entry = domain_toml.parse(text, source=found.path, fresh_uuid="")
        after = _domain(self._directory, entry)
        expected = {disk.vdev: layers.get(disk.vdev, disk.layer) for disk in found.domain.disks}
        assert {disk.vdev: disk.layer for disk in after.disks} == expected
        await self._write(found, text)

    async def require_definable(self, domain: Domain, *, configuration: str, file: str) -> None:
        """See `Toolstack.require_definable`."""
        domain_toml.parse(configuration, source="the configuration", fresh_uuid=domain.uuid)
        require_unknown(domain, await self.domains())
        await require_free(self._files, self._file(domain.name), self._text(domain, configuration))

    async def define(self, domain: Domain, *, configuration: str, file: str) -> None:
        """See `Toolstack.define`. The description is a file of this directory, named after the domain."""
        await self.require_definable(domain, configuration=configuration, file=file)
        await install(self._files, self._file(domain.name), self._text(domain, configuration))

    async def create(self, uuid: DomainUuid, *, paused: bool = False) -> Domain:
        """See `Toolstack.create`."""
        raise unsupported("start domains")

    async def destroy(self, domain: Domain) -> None:
        """See `Toolstack.destroy`: one that is off is fine, and here all are."""

    async def shutdown(self, domain: Domain, *, timeout_s: float) -> None:
        """See `Toolstack.shutdown`."""
        raise unsupported("shut down domains")

    async def pause(self, domain: Domain) -> None:
        """See `Toolstack.pause`."""
        raise unsupported("pause domains")

    async def unpause(self, domain: Domain) -> None:
        """See `Toolstack.unpause`."""
        raise unsupported("unpause domains")

    async def resume(self, domain: Domain) -> None:
        """See `Toolstack.resume`."""
        raise unsupported("resume domains")

    async def rename(self, domain: Domain, name: str) -> None:
        """See `Toolstack.rename`."""
        raise unsupported("rename domains")

    async def restore(
        self, memory: str, *, uuid: DomainUuid, layers: Mapping[str, Layer], paused: bool, configuration: str = ""
    ) -> Domain:
        """See `Toolstack.restore`."""
        raise unsupported("restore memory")

    def saving(
        self, domain: Domain, *, to: str, live: bool = False, max_downtime_s: float | None = None
    ) -> AbstractAsyncContextManager[Saving]:
        """See `Toolstack.saving`."""
        raise unsupported("save memory")

    async def watched(self, domain: Domain) -> bool | None:
        """See `Toolstack.watched`: nobody watches domains that are off."""
        return None

    async def hold_watcher(self, domain: Domain) -> Watcher | None:
        """See `Toolstack.hold_watcher`: nobody watches domains that are off."""
        return None

    async def watch(self, domain: Domain) -> None:
        """See `Toolstack.watch`: nobody watches domains that are off."""

    async def _described(self) -> list[_Described]:
        names = await self._files.names(self._directory)
        found = [
            await self._read(os.path.join(self._directory, name))
            for name in names
            if name.endswith(_ENDING) and not name.startswith(".")
        ]
        for key in ("uuid", "name"):
            _distinct(found, key)
        return found

    async def _read(self, path: str) -> _Described:
        content = await self._files.read(path)
        try:
            text = content.decode()
        except UnicodeDecodeError as error:
            raise Usage(f"{path}: no UTF-8 at byte {error.start}", id="bad-domain-file") from error
        entry = domain_toml.parse(text, source=path, fresh_uuid=await self._machine.fresh_id())
        return _Described(path, text, entry, _domain(self._directory, entry))

    async def _write(self, found: _Described, text: str) -> None:
        stat = await self._files.stat(found.path)
        await self._files.replace(found.path, text.encode(), mode=stat.mode if stat else 0o600)
        await self._files.sync_dir(self._directory)

    async def _one(self, uuid: DomainUuid) -> _Described:
        for one in await self._described():
            if one.entry.uuid == uuid:
                return one
        raise NotFound(f"no domain has the UUID {uuid}", id="domain-not-found")

    def _text(self, domain: Domain, configuration: str) -> bytes:
        """The domain's file: with paths as those that `set_layers` writes."""
        layers = {disk.vdev: Layer(self._stored(disk.path), disk.format) for disk in domain.disks if disk.path}
        return domain_toml.with_layers(configuration, layers).encode()

    def _file(self, name: str) -> str:
        return os.path.join(self._directory, f"{name}{_ENDING}")

    def _stored(self, path: str) -> str:
        """A path as the file has it: relative below the directory, so that the directory can move."""
        inside = path.removeprefix(self._directory.rstrip("/") + "/")
        return inside if inside and not inside.startswith("/") else path


def _domain(directory: str, entry: DomainEntry) -> Domain:
    disks = tuple(
        Disk(
            disk.vdev,
            os.path.join(directory, disk.path) if disk.path else "",
            disk.format,
            readonly=disk.readonly,
            cdrom=disk.cdrom,
        )
        for disk in entry.disks
    )
    return Domain(entry.uuid, entry.name, RunState.OFF, disks, memory_bytes=entry.memory_bytes)


def _distinct(found: list[_Described], key: str) -> None:
    """Two files must not describe domains of one name or one identity."""
    seen: dict[str, _Described] = {}
    for one in found:
        value = getattr(one.entry, key)
        if other := seen.get(value):
            cause = f"{other.path} and {one.path} both have {key} = {value!r}"
            raise Usage(cause, id="bad-domain-file", remedy=f"Give one of them another {key}.")
        seen[value] = one
