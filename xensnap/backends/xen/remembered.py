"""What is remembered of domains while they are off: xl knows a domain only as long as it is there.

Each store has a `description.json`: the last configuration, with the active layers that the domain starts from next,
and where the operator keeps the file that it is started from, if we were told. Where it is missing, the newest record
of a snapshot tells the same as of then.
"""

# ruff: noqa: PTH118, PTH120 -- paths are text in the model

import hashlib
import json
import os
import re
from contextlib import suppress

import msgspec

from xensnap.errors import Damaged, FileFailed, NotFound
from xensnap.formats import libxl_json, snapshot_record
from xensnap.formats.libxl_json import Config
from xensnap.hypervisor import Files
from xensnap.model import DomainUuid, Snapshot

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = "description.json"
_RECORD = "snapshotdata-d."


class Source(msgspec.Struct, frozen=True):
    """The operator's own file, and what it said when it was heard last.

    Attributes:
        path: absolute; empty where we know of none.
        digest: of its text.
        named: the image that it named for each vdev. Another one by now is a change of the operator's; the same is what
            the disk was before we switched it to an overlay.
        pinned: whether it gives the domain its UUID. Else xl makes up a new one at each start.
    """

    path: str = ""
    digest: str = ""
    named: dict[str, str] = {}
    pinned: bool = True


class Description(msgspec.Struct, frozen=True):
    """What a domain is when it is off."""

    config: Config
    source: Source = Source()


def heard(path: str, text: bytes, config: Config, *, pinned: bool = True) -> Source:
    """A file that says this, which xl reads as this configuration."""
    named = {disk.vdev: disk.path for disk in libxl_json.disks(config)}
    return Source(path, digest(text), named, pinned)


def digest(text: bytes) -> str:
    """By which a file is known to be another by now."""
    return hashlib.sha256(text).hexdigest()


def renewed(known: Config, source: Source, config: Config) -> Config:
    """What a domain is now that its file says `config`: with the layers that we switched it to, else as the file says.

    Args:
        known: what it was, with those layers.
        source: what the file said then.
        config: what the file says now, as xl reads it.
    """
    layers = {disk.vdev: disk.layer for disk in libxl_json.disks(known)}
    ours = {
        disk.vdev: layers[disk.vdev]
        for disk in libxl_json.disks(config)
        if disk.vdev in layers and source.named.get(disk.vdev, disk.path) == disk.path
    }
    return libxl_json.with_layers(config, ours)


class Remembered:
    """The descriptions in the stores below one root.

    Args:
        files: reads and writes them.
        root: the directory of all stores.
    """

    def __init__(self, files: Files, root: str) -> None:
        self._files = files
        self._root = root
        self._told: dict[DomainUuid, Description] = {}

    async def uuids(self) -> tuple[DomainUuid, ...]:
        """All domains that have a store, or that we were told of."""
        stores = [DomainUuid(name) for name in await self._files.names(self._root) if _UUID.fullmatch(name)]
        return tuple(dict.fromkeys((*stores, *self._told)))

    async def get(self, uuid: DomainUuid) -> Description | None:
        """What is remembered of a domain; None where nothing is.

        A description that cannot be read keeps nobody from this domain or another: it is as if it were not there.
        """
        if uuid in self._told:
            return self._told[uuid]
        path = self._path(uuid)
        try:
            return _decoded(await self._files.read(path), path)
        except (NotFound, FileFailed, Damaged):
            return await self._newest(uuid)

    def tell(self, uuid: DomainUuid, description: Description) -> None:
        """Know this for now; it is written down with the next `put`."""
        self._told[uuid] = description

    async def put(self, uuid: DomainUuid, description: Description) -> None:
        """Remember this. Durable on return; nothing is written where it stands so already."""
        self._told.pop(uuid, None)
        path = self._path(uuid)
        source = description.source
        told = {"file": source.path, "digest": source.digest, "named": source.named, "pinned": source.pinned}
        text = json.dumps({"config": description.config, **told}, indent=4).encode() + b"\n"
        try:
            if await self._files.read(path) == text:
                return
        except NotFound:
            await self._files.mkdir(os.path.dirname(path))
        await self._files.replace(path, text)
        await self._files.sync_dir(os.path.dirname(path))

    async def _newest(self, uuid: DomainUuid) -> Description | None:
        """What the newest snapshot tells whose record has a configuration of libxl's."""
        place = os.path.join(self._root, uuid)
        found: list[Snapshot] = []
        for name in await self._files.names(place):
            if name.startswith(_RECORD):
                path = os.path.join(place, name)
                with suppress(Damaged, NotFound, FileFailed):
                    found.append(snapshot_record.decode(await self._files.read(path), path=path))
        for snapshot in sorted(found, key=lambda one: one.creation_time_s, reverse=True):
            with suppress(Damaged):
                return _of_record(snapshot)
        return None

    def _path(self, uuid: DomainUuid) -> str:
        return os.path.join(self._root, uuid, _NAME)


def _decoded(text: bytes, path: str) -> Description:
    try:
        told = json.loads(text)
        config = libxl_json.parse(json.dumps(told["config"]).encode(), source=path)
        named = {str(vdev): str(path) for vdev, path in told.get("named", {}).items()}
        file, text_digest = str(told.get("file", "")), str(told.get("digest", ""))
        return Description(config, Source(file, text_digest, named, told.get("pinned") is not False))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Damaged(f"{path}: {error}", path=path) from error


def _of_record(snapshot: Snapshot) -> Description:
    config = libxl_json.parse(snapshot.domain_config.encode("utf-8", "surrogateescape"), source=snapshot.name)
    layers = {disk.vdev: disk.overlay or disk.image for disk in snapshot.disks}
    return Description(libxl_json.with_layers(config, layers))
