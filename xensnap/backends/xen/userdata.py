"""What libxl and xl keep of each domain in /var/lib/xen: what it is saved, migrated and rebooted with.

`libxl-json` is the configuration that `xl list -l` tells, that goes into save files and that the watcher reboots with.
`xl` is what `xl config-update` has stored; where there is one, a reboot takes that instead, so one from before a change
of disks is stale and goes. libxl's own lock keeps both whole (libxl_internal.c): it is unlinked before it is let go.
"""

# ruff: noqa: PTH118 -- paths are text in the model

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

from xensnap.errors import Damaged, Failed, FileFailed, NotFound
from xensnap.formats import libxl_json
from xensnap.hypervisor import Files, Machine
from xensnap.model import DomainUuid, DomId, Layer

_STREAM = "xensnap-live"
_LOCK_WAIT_S = 30.0
"""libxl holds its lock for as long as it takes to attach a disk."""


class Userdata:
    """The userdata of all domains.

    Args:
        files: reads and writes it.
        place: the directory.
        machine: tells one boot of the host from another, after which domids begin anew.
    """

    def __init__(self, files: Files, place: str, machine: Machine) -> None:
        self._files = files
        self._place = place
        self._machine = machine

    async def set_layers(self, domid: DomId, uuid: DomainUuid, layers: Mapping[str, Layer]) -> None:
        """From now on the running domain is saved, migrated and rebooted with these active layers (by vdev).

        Raises:
            NotFound: the domain has no such userdata: it is gone.
            Damaged: what is there is no configuration.
        """
        async with self._locked(domid, uuid):
            path = self._path("d", domid, uuid, "libxl-json")
            config = libxl_json.parse(await self._files.read(path), source=path)
            changed = libxl_json.with_layers(config, layers)
            told = {disk.vdev: disk.layer for disk in libxl_json.disks(changed)}
            for vdev, layer in layers.items():
                if told.get(vdev) != layer:
                    raise Damaged(f"{path}: there is no disk {vdev} - at `$.disks`", path=path)
            with suppress(NotFound):
                await self._files.remove(self._path("d", domid, uuid, "xl"))
            # libxl takes the file for a string of C.
            await self._files.replace(path, libxl_json.dump(changed) + b"\0")
            await self._files.sync_dir(self._place)

    async def stored(self, domid: DomId, uuid: DomainUuid) -> bytes:
        """What libxl keeps of a running domain, as it is; nothing where that cannot be read."""
        try:
            return await self._files.read(self._path("d", domid, uuid, "libxl-json"))
        except (NotFound, FileFailed, Failed):
            return b""

    async def stream_begins(self, domid: DomId, uuid: DomainUuid) -> None:
        """Note that the memory of a domain is about to be streamed. libxl removes the note with the domain."""
        await self._files.replace(self._path("d", domid, uuid, _STREAM), await self._mark())

    async def stream_is_over(self, domid: DomId, uuid: DomainUuid) -> None:
        """Note that xl has ended the stream itself, and with it the logging of what the guest writes."""
        with suppress(NotFound):
            await self._files.remove(self._path("d", domid, uuid, _STREAM))

    async def stream_was_cut(self, domid: DomId, uuid: DomainUuid) -> bool:
        """Whether a stream began of which nobody has seen the end."""
        try:
            return await self._files.read(self._path("d", domid, uuid, _STREAM)) == await self._mark()
        except (NotFound, FileFailed, Failed):
            return False

    async def _mark(self) -> bytes:
        return (await self._machine.whoami()).boot_id.encode()

    @asynccontextmanager
    async def _locked(self, domid: DomId, uuid: DomainUuid) -> AsyncIterator[None]:
        path = self._path("l", domid, uuid, "domain-userdata-lock")
        lock = await self._files.lock(path, note=b"", wait_s=_LOCK_WAIT_S)
        try:
            yield
        finally:
            # Whoever waits for this very file sees that its name is gone, and takes a new one.
            with suppress(NotFound):
                await self._files.remove(path)
            await lock.release()

    def _path(self, kind: str, domid: DomId, uuid: DomainUuid, name: str) -> str:
        return os.path.join(self._place, f"userdata-{kind}.{domid}.{uuid}.{name}")
