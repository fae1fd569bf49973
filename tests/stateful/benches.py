"""Two workbenches for the same sequences: a simulated host, and a directory of real images with the real qemu-img."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

from simulator import SimulatedHost, pattern
from xensnap.backends.qemu.host import QemuHost
from xensnap.engine.engine import Engine
from xensnap.engine.view import View
from xensnap.hypervisor import Hypervisor
from xensnap.model import Disk, DiskSnapshot, Format, Kind, Layer

CLUSTER = 64 * 1024
DOMAIN = "guest"
UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"

SECTOR = 512

Content = tuple[int, ...]
"""Everything a guest could read from a disk: for each sector the number of the write that it is from, 0 for zeros."""


class Bench(Protocol):
    """A domain with disks that can be written, and a way to see what any snapshot holds without reverting to it."""

    host: Hypervisor
    engine: Engine

    def add_disk(self, vdev: str, layer_format: Format, size_bytes: int, **options: object) -> None:
        """One more disk, before the domain is made."""

    def make_domain(self) -> None:
        """Define the domain with the disks that were added."""

    def write(self, vdev: str, sector: int, count: int, number: int) -> None:
        """What a guest would write into the active layer: the write of this number."""

    def resize(self, vdev: str, size_bytes: int) -> None:
        """What an operator would do to the active layer."""

    def content(self, layer: Layer) -> Content:
        """Everything that this layer shows."""

    def kept(self, disk: DiskSnapshot) -> Content:
        """Everything that a snapshot holds of a disk."""

    def files(self) -> frozenset[str]:
        """All files outside the snapshot store."""

    def check(self, view: View) -> None:
        """All images of the domain are whole and leak nothing."""


class RealBench:
    """A directory with real images; contents are read with the real tools."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host: Hypervisor = QemuHost(directory)
        self.engine = Engine(self.host)
        self._disks: list[Disk] = []

    def add_disk(self, vdev: str, layer_format: Format, size_bytes: int, **options: object) -> None:
        path = self.directory / f"{vdev}.{layer_format}"
        argv = ["qemu-img", "create", "-q", "-f", layer_format.value]
        if options:
            argv += ["-o", ",".join(f"{key}={value}" for key, value in options.items())]
        _run([*argv, str(path), str(size_bytes)])
        self._disks.append(Disk(vdev, str(path), layer_format))

    def make_domain(self) -> None:
        lines = [f'name = "{DOMAIN}"', f'uuid = "{UUID}"']
        for disk in self._disks:
            name = Path(disk.path).name
            lines += ["[[disk]]", f'vdev = "{disk.vdev}"', f'path = "{name}"', f'format = "{disk.format}"']
        (self.directory / "guest.toml").write_text("\n".join(lines) + "\n")

    def write(self, vdev: str, sector: int, count: int, number: int) -> None:
        layer = self._active(vdev)
        source = self.directory / "pattern.tmp"
        offset, length = sector * SECTOR, count * SECTOR
        source.write_bytes(pattern(number, offset, length))
        _run(["qemu-io", "-f", layer.format, "-c", f"write -q -s {source} {offset} {length}", layer.path])
        source.unlink()

    def resize(self, vdev: str, size_bytes: int) -> None:
        layer = self._active(vdev)
        _run(["qemu-img", "resize", "-q", "--shrink", "-f", layer.format, layer.path, str(size_bytes)])

    def content(self, layer: Layer) -> Content:
        return self._converted(["-f", layer.format, layer.path])

    def kept(self, disk: DiskSnapshot) -> Content:
        if disk.kind is Kind.EXTERNAL:
            return self.content(disk.image)
        # `qemu-img convert -l` gives a snapshot in the size that the disk has now (7.2.22): a copy is reverted instead.
        copy = self.directory / "copy.tmp"
        shutil.copyfile(disk.image.path, copy)
        _run(["qemu-img", "snapshot", "-a", disk.fingerprint.snapshot_id, str(copy)])
        content = self.content(Layer(str(copy), Format.QCOW2))
        copy.unlink()
        return content

    def files(self) -> frozenset[str]:
        return frozenset(str(path) for path in self.directory.iterdir() if path.is_file())

    def check(self, view: View) -> None:
        for path, image in view.images.items():
            if image is not None and image.layer.format is Format.QCOW2:
                done = subprocess.run(["qemu-img", "check", "--output=json", path], capture_output=True, check=False)
                assert done.returncode == 0, (path, done.stdout, done.stderr)
                assert json.loads(done.stdout)["check-errors"] == 0

    def _active(self, vdev: str) -> Layer:
        disk = self.host.run(self.host.toolstack.inspect(DOMAIN)).disk(vdev)
        assert disk is not None
        return disk.layer

    def _converted(self, source: list[str]) -> Content:
        target = self.directory / "content.tmp"
        _run(["qemu-img", "convert", "-O", "raw", *source, str(target)])
        content = target.read_bytes()
        target.unlink()
        return numbers(content)


def numbers(content: bytes) -> Content:
    """Which write each sector is from; every byte of it must be what that write has put there."""
    found = []
    for sector in range(len(content) // SECTOR):
        data = content[sector * SECTOR : (sector + 1) * SECTOR]
        number = int.from_bytes(data[:8], "little")
        assert data == pattern(number, sector * SECTOR, SECTOR), f"sector {sector} is from no single write"
        found.append(number)
    return tuple(found)


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)


class SimBench:
    """A simulated host; nothing is read but what the simulator says a guest would find."""

    def __init__(self, seed: int = 0, kind: type[SimulatedHost] = SimulatedHost) -> None:
        self.sim = kind.fresh(seed)
        self.host: Hypervisor = self.sim
        self.engine = Engine(self.sim)
        self._disks: list[Disk] = []

    def add_disk(self, vdev: str, layer_format: Format, size_bytes: int, **options: object) -> None:
        cluster_size = options.get("cluster_size", CLUSTER)
        assert isinstance(cluster_size, int)
        layer = self.sim.create_image(
            f"/images/{vdev}.{layer_format}",
            layer_format,
            size_bytes,
            cluster_size_bytes=cluster_size,
            compat=str(options.get("compat", "1.1")),
        )
        self._disks.append(Disk(vdev, layer.path, layer.format))

    def make_domain(self) -> None:
        self.sim.add_domain(DOMAIN, UUID, self._disks)

    def write(self, vdev: str, sector: int, count: int, number: int) -> None:
        assert self.sim.write(DOMAIN, vdev, sector * SECTOR, count * SECTOR) == number

    def resize(self, vdev: str, size_bytes: int) -> None:
        self.sim.resize(DOMAIN, vdev, size_bytes)

    def content(self, layer: Layer) -> Content:
        return spread(self.sim.visible_layer(layer))

    def kept(self, disk: DiskSnapshot) -> Content:
        if disk.kind is Kind.EXTERNAL:
            return self.content(disk.image)
        found = self.sim.visible_snapshot(disk.image, disk.fingerprint.snapshot_id)
        assert found is not None, f"{disk.image.path} has no snapshot {disk.tag!r}"
        return spread(found)

    def files(self) -> frozenset[str]:
        return frozenset(f"/images/{name}" for name in self.sim.world.fs.names("/images"))

    def check(self, view: View) -> None:
        for image in view.images.values():
            if image is not None:
                assert self.sim.run(self.sim.images.check(image.layer)).clean, image.layer.path


def spread(visible: tuple[int, tuple[tuple[int, int, int], ...]]) -> Content:
    """What the simulator shows, sector by sector."""
    size_bytes, runs = visible
    sectors = [0] * (size_bytes // SECTOR)
    for low, high, number in runs:
        sectors[low:high] = [number] * (high - low)
    return tuple(sectors)
