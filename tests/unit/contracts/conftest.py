"""The hosts on which every contract is tried, behind one workbench: what a test needs beside the ports themselves."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from simulator.faults.damage import Link, damaged
from simulator.host import SimulatedHost
from simulator.ports.seat import Seat
from simulator.serve.low.runner import SimulatedRunner
from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.machine import sleep
from xensnap.backends.qemu.host import QemuHost
from xensnap.doors import DoorHost
from xensnap.hypervisor import Capability, Files, Hypervisor, drive
from xensnap.model import DescribedBy, Domain, DomainUuid, Format, Layer

CLUSTER = 65536


class Workbench(Protocol):
    """A host, and what an operator, a guest or another process may do to it."""

    @property
    def host(self) -> Hypervisor: ...

    @property
    def directory(self) -> str: ...

    @property
    def described_by(self) -> DescribedBy: ...

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine of a port."""

    def image(self, name: str, format: str = "qcow2", *, size_bytes: int = 1 << 20, backing: Layer | None = None,
              cluster_size_bytes: int = CLUSTER, compat: str = "1.1") -> Layer:  # fmt: skip
        """A new image in the directory, empty."""

    def write(self, layer: Layer, offset_bytes: int, length_bytes: int) -> None:
        """Bytes that nobody has written before."""

    def content(self, layer: Layer) -> object:
        """All that an image shows, to compare."""

    def duplicate_tag(self, layer: Layer, tag: str) -> None:
        """One more snapshot under a tag that may be taken, as qemu-img allows and we do not."""

    def domain(self, name: str, disks: dict[str, Layer]) -> Domain:
        """A domain that is off."""

    def opened(self, path: str, *, writing: bool) -> contextlib.AbstractContextManager[int]:
        """Another process has this file open; its pid."""

    def second_name(self, path: str, to: str) -> None:
        """`ln`."""

    def another_process(self) -> Files:
        """The files as another process of ours sees them."""


class SimulatedBench:
    directory = "/images"

    def __init__(self, kind: type[SimulatedHost] = SimulatedHost) -> None:
        self.host = kind.fresh(seed=0)
        # xl knows domains that are off only from what the operator keeps of them.
        self.described_by = DescribedBy.OPERATOR if kind is DoorHost else DescribedBy.US

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.host.run(work)

    def image(self, name: str, format: str = "qcow2", **options: Any) -> Layer:
        return self.host.create_image(f"{self.directory}/{name}", format, **options)

    def write(self, layer: Layer, offset_bytes: int, length_bytes: int) -> None:
        self.host.write_layer(layer, offset_bytes, length_bytes)

    def content(self, layer: Layer) -> object:
        return self.host.visible_layer(layer)

    def duplicate_tag(self, layer: Layer, tag: str) -> None:
        done = drive(SimulatedRunner(Seat(self.host.cell, 1)).run(["qemu-img", "snapshot", "-c", tag, layer.path]))
        assert not done.returncode, done.stderr

    def domain(self, name: str, disks: dict[str, Layer]) -> Domain:
        return self.host.add_domain(name, disks={vdev: layer.path for vdev, layer in disks.items()})

    @contextlib.contextmanager
    def opened(self, path: str, *, writing: bool) -> Iterator[int]:
        pid = self.host.open_image(path, writing=writing)
        yield pid
        self.host.end_process(pid)

    def second_name(self, path: str, to: str) -> None:
        self.host.cell.world = damaged(self.host.world, Link(path, to))

    def another_process(self) -> Files:
        return self.host.another().files


class QemuBench:
    described_by = DescribedBy.US

    def __init__(self, directory: Path, require: Callable[[str], object]) -> None:
        self.directory = str(directory)
        self.host = QemuHost(directory)
        self._require = require
        self._writes = 0

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.host.run(work)

    def image(self, name: str, format: str = "qcow2", **options: Any) -> Layer:
        path = f"{self.directory}/{name}"
        backing = options.get("backing")
        command = ["create", "-q", "-f", format]
        if format == "qcow2":
            cluster, compat = options.get("cluster_size_bytes", CLUSTER), options.get("compat", "1.1")
            command += ["-o", f"cluster_size={cluster},compat={compat}"]
        if backing:
            command += ["-b", backing.path, "-F", backing.format]
        self._tool("qemu_img", *command, path, str(options.get("size_bytes", 1 << 20)))
        return Layer(path, Format(format))

    def write(self, layer: Layer, offset_bytes: int, length_bytes: int) -> None:
        self._writes += 1
        pattern = f"write -P {self._writes} {offset_bytes} {length_bytes}"
        self._tool("qemu_io", "-f", layer.format, "-c", pattern, layer.path)

    def content(self, layer: Layer) -> object:
        with tempfile.TemporaryDirectory() as directory:
            self._tool("qemu_img", "convert", "-f", layer.format, "-O", "raw", layer.path, f"{directory}/raw")
            return (Path(directory) / "raw").read_bytes()

    def duplicate_tag(self, layer: Layer, tag: str) -> None:
        self._tool("qemu_img", "snapshot", "-c", tag, layer.path)

    def domain(self, name: str, disks: dict[str, Layer]) -> Domain:
        uuid = self.run(self.host.machine.fresh_id())
        lines = [f'name = "{name}"', f'uuid = "{uuid}"']
        for vdev, layer in disks.items():
            lines += ["[[disk]]", f'vdev = "{vdev}"', f'path = "{layer.path}"', f'format = "{layer.format}"']
        Path(self.directory, f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return self.run(self.host.toolstack.inspect(DomainUuid(uuid)))

    @contextlib.contextmanager
    def opened(self, path: str, *, writing: bool) -> Iterator[int]:
        fd = os.open(path, os.O_RDWR if writing else os.O_RDONLY)
        with subprocess.Popen(["sleep", "60"], stdin=fd) as process:
            os.close(fd)
            yield process.pid
            process.kill()

    def second_name(self, path: str, to: str) -> None:
        Path(to).hardlink_to(path)

    def another_process(self) -> Files:
        # flock is held by descriptors: a second opening of the same file is as foreign as a second process.
        return LocalFiles(sleep)

    def _tool(self, fixture: str, *arguments: str) -> None:
        program = str(self._require(fixture))
        subprocess.run([program, *arguments], check=True, capture_output=True, timeout=60)


SIMULATED = {"sim": SimulatedHost, "door": DoorHost}


@pytest.fixture(params=[*SIMULATED, "qemu"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Workbench:
    """Each implementation in turn; `door` is the code of the real Xen host over a simulated machine."""
    if request.param in SIMULATED:
        return SimulatedBench(SIMULATED[request.param])
    return QemuBench(tmp_path, request.getfixturevalue)


@pytest.fixture
def directory(bench: Workbench) -> str:
    return bench.directory


@pytest.fixture
def files(bench: Workbench) -> Files:
    return bench.host.files


@pytest.fixture
def flags(bench: Workbench) -> None:
    if Capability.IMMUTABLE not in bench.host.capabilities:
        pytest.skip("capability missing: immutable")
