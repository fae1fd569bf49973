"""A host of somebody's own: domains that are off, on disks that are plain files; snapshots are copies beside them.

It inherits nothing from xensnap. It implements the ports that it needs and declares the one thing that it can do,
`internal`: snapshots that stay with their image. What it does not declare is refused by the engine before any port is
called, so the ports for running guests are not here at all.
"""

import filecmp
import json
import os
from pathlib import Path

import msgspec

from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.machine import LocalMachine
from xensnap.errors import Busy, NotFound, Reason, Refused
from xensnap.hypervisor import Capability, CheckResult, drive
from xensnap.model import Chain, Disk, Domain, DomainUuid, FileId, Format, Image, InternalSnapshot, RunState


class PlainHost:
    """The hypervisor of one directory: `NAME.json` describes a domain, `*.img` are its disks."""

    capabilities = frozenset({Capability.INTERNAL})
    agent = hooks = blocks = None

    def __init__(self, directory: Path) -> None:
        self.name, self.root = f"plain:{directory}", str(directory / "snapshots")
        self.machine = LocalMachine()
        self.files = LocalFiles(self.machine.sleep)
        self.images = Images()
        self.toolstack = Domains(directory)

    async def gather(self, *work):
        """One after the other: nothing here ever waits."""
        return [await each for each in work]

    def run(self, work):
        """Nothing waits, so nothing has to be driven by an event loop."""
        return drive(work)


class Domains:
    """The toolstack, as much as domains need that are always off."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def define(self, name: str, uuid: str, disks) -> None:
        """Write a domain down."""
        told = {disk.vdev: [disk.path, disk.format.value, disk.readonly, disk.cdrom] for disk in disks}
        text = json.dumps({"uuid": uuid, "disks": told})
        _replace(str(self.directory / f"{name}.json"), text.encode())

    async def domains(self):
        """Every domain that is written down, by name."""
        return tuple(self._read(path) for path in sorted(self.directory.glob("*.json")))

    async def inspect(self, ref: str) -> Domain:
        """By UUID or by name."""
        every = await self.domains()
        for domain in every:
            if ref in (domain.uuid, domain.name):
                return domain
        raise NotFound(f"there is no domain {ref}; there are {[each.name for each in every]}", id="domain-not-found")

    async def configuration(self, uuid: DomainUuid) -> str:
        """What is kept with each snapshot."""
        return (self.directory / f"{(await self.inspect(uuid)).name}.json").read_text()

    async def set_layers(self, uuid: DomainUuid, layers) -> None:
        """From now on the domain starts from these."""
        domain = await self.inspect(uuid)
        disks = [
            msgspec.structs.replace(disk, path=layers[disk.vdev].path, format=layers[disk.vdev].format)
            if disk.vdev in layers
            else disk
            for disk in domain.disks
        ]
        self.define(domain.name, uuid, disks)

    async def watched(self, domain):
        return None

    async def hold_watcher(self, domain):
        """Nobody watches a domain that is off."""

    async def watch(self, domain):
        """Nor needs to."""

    def _read(self, path: Path) -> Domain:
        told = json.loads(path.read_text())
        disks = [Disk(vdev, d[0], Format(d[1]), readonly=d[2], cdrom=d[3]) for vdev, d in told["disks"].items()]
        return Domain(DomainUuid(told["uuid"]), path.stem, RunState.OFF, tuple(disks))


class Images:
    """Plain files, each with a table of its snapshots in `IMAGE.table` and their content in `IMAGE.ID`.

    To the engine they are called qcow2, which is its word for an image that can hold snapshots.
    """

    async def inspect(self, layer) -> Image:
        """Size and table of one image."""
        try:
            stat = os.stat(layer.path)
        except FileNotFoundError:
            raise NotFound(f"{layer.path}: no such image", id="no-such-image") from None
        size, file = stat.st_size, FileId(stat.st_dev, stat.st_ino)
        table = tuple(InternalSnapshot(**entry) for entry in self._table(layer))
        compat = "1.1" if layer.format is Format.QCOW2 else ""
        return Image(layer, file, size, size, stat.st_blocks * 512, 65536, compat, 16, snapshots=table)

    async def chain(self, layer) -> Chain:
        """An image stands on nothing."""
        return Chain((await self.inspect(layer),))

    async def require_unused(self, layer) -> None:
        """Whoever works on an image by hand says so with `IMAGE.busy`."""
        if os.path.exists(f"{layer.path}.busy"):
            raise Busy(f"{layer.path} is in use")

    async def in_use(self, layer) -> bool:
        """The same, without a complaint."""
        return os.path.exists(f"{layer.path}.busy")

    async def check(self, layer, *, repair_leaks=False) -> CheckResult:
        """There is nothing that could leak."""
        return CheckResult()

    async def resize(self, layer, *, size_bytes) -> None:
        """What is new reads as zeros."""
        await self.require_unused(layer)
        os.truncate(layer.path, size_bytes)

    async def snapshot_create(self, layer, *, tag) -> InternalSnapshot:
        """The copy first, and durable; then the table tells of it."""
        await self.require_unused(layer)
        table = self._table(layer)
        if any(entry["tag"] == tag for entry in table):
            raise Refused([Reason("tag-taken", f"{layer.path} has a snapshot {tag!r}", "Take another name.")])
        number = str(max((int(entry["id"]) for entry in table), default=0) + 1)
        _copy(layer.path, f"{layer.path}.{number}")
        stat = os.stat(f"{layer.path}.{number}")
        seconds, rest = divmod(stat.st_mtime_ns, 10**9)
        entry = {"id": number, "tag": tag, "date_s": seconds, "date_ns": rest, "disk_size_bytes": stat.st_size}
        self._write_table(layer, [*table, entry])
        return InternalSnapshot(**entry)

    async def snapshot_apply(self, layer, *, snapshot_id) -> None:
        """A copy of the snapshot takes the image's place, at once."""
        await self.require_unused(layer)
        self._require(layer, snapshot_id)
        _copy(f"{layer.path}.{snapshot_id}", layer.path)

    async def is_at(self, layer, *, snapshot_id) -> bool:
        """Every byte is compared; there are few."""
        self._require(layer, snapshot_id)
        return filecmp.cmp(layer.path, f"{layer.path}.{snapshot_id}", shallow=False)

    async def snapshot_delete(self, layer, *, tag, snapshot_id) -> None:
        """The table forgets it first."""
        await self.require_unused(layer)
        self._require(layer, snapshot_id)
        self._write_table(layer, [entry for entry in self._table(layer) if entry["id"] != snapshot_id])
        os.unlink(f"{layer.path}.{snapshot_id}")

    def _table(self, layer) -> list[dict]:
        path = Path(f"{layer.path}.table")
        return json.loads(path.read_text()) if path.exists() else []

    def _write_table(self, layer, table) -> None:
        _replace(f"{layer.path}.table", json.dumps(table).encode())

    def _require(self, layer, snapshot_id) -> None:
        if snapshot_id not in [entry["id"] for entry in self._table(layer)]:
            raise NotFound(f"{layer.path} has no snapshot {snapshot_id}", id="no-such-snapshot")


def _copy(source: str, target: str) -> None:
    _replace(target, Path(source).read_bytes())


def _replace(path: str, data: bytes) -> None:
    """Durable, and at once for every reader."""
    with open(f"{path}.new", "wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)
