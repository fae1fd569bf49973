"""A host of plain QEMU with guests that run, and what an operator looks at beside it."""

import contextlib
import inspect
import json
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.real.lab import tool
from xensnap.backends.local.qmp import connected
from xensnap.backends.qemu.host import QemuHost
from xensnap.backends.qemu.running import RunningDomains
from xensnap.conformance.places import boot_guest as guest
from xensnap.hypervisor import BlockLayer
from xensnap.model import Backing, Domain, DomainUuid, Format, Layer

ROOT = Path(__file__).parents[3]

T = TypeVar("T")

PATIENCE_S = 120.0
"""For whatever takes a moment: other tests may have all processors."""


class Lab:
    """One host in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = QemuHost(directory)
        toolstack = self.host.toolstack
        assert isinstance(toolstack, RunningDomains)
        self.toolstack = toolstack
        self.processes = toolstack._processes
        self.connector = toolstack._connector
        self.blocks: BlockLayer = self.host.blocks
        guest.floppy(directory / "guest.img")

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run one coroutine of a port."""
        return self.host.run(work)

    def again(self) -> "Lab":
        """The same host as a process that has just started sees it."""
        return Lab(self.directory)

    def describe(self, name: str = "guest", **formats: str) -> DomainUuid:
        """A domain that is off, with a new disk of 1 MiB for each of these vdevs."""
        uuid = self.run(self.host.machine.fresh_id())
        lines = [f'name = "{name}"', f'uuid = "{uuid}"', 'memory = "32M"', 'boot = "guest.img"']
        for vdev, format in (formats or {"xvda": "qcow2", "xvdb": "qcow2"}).items():
            file = f"{name}-{vdev}.{format}"
            subprocess.run(["qemu-img", "create", "-q", "-f", format, self.directory / file, "1M"], check=True)
            lines += ["[[disk]]", f'vdev = "{vdev}"', f'path = "{file}"', f'format = "{format}"']
        Path(self.directory, f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return DomainUuid(uuid)

    def start(self, uuid: DomainUuid | None = None) -> Domain:
        """A guest that runs and has reported."""
        domain: Domain = self.run(self.toolstack.create(uuid or self.describe()))
        self.heard(domain)
        return domain

    def seen(self, domain: Domain) -> Domain:
        """The domain as it is now."""
        found: Domain = self.run(self.toolstack.inspect(domain.uuid))
        return found

    def said(self, domain: Domain) -> list[tuple[int, int]]:
        """Every (n, bad) that the guest told since its last start."""
        path = Path(self.processes.serial(domain.uuid))
        return guest.reports(path.read_bytes().decode("ascii", "replace")) if path.exists() else []

    def heard(self, domain: Domain, *, reports: int = 2) -> int:
        """Wait until the guest has told so many more times, and always that nothing is bad; its n."""
        before = told = len(self.said(domain))
        deadline = time.monotonic() + PATIENCE_S
        while len(said := self.said(domain)) < before + reports:
            if len(said) != told:  # a guest that is traced on a busy machine is slow, and not silent
                told, deadline = len(said), time.monotonic() + PATIENCE_S
            assert time.monotonic() < deadline, f"the guest is silent after {said[-1:]}"
            time.sleep(0.005)
        assert [bad for _, bad in said if bad] == []
        return said[-1][0]

    def execute(self, domain: Domain, command: str, **arguments: Any) -> Any:
        """One command to the domain's monitor."""

        async def work() -> Any:
            async with connected(self.connector, domain) as monitor:
                return await monitor.execute(command, arguments)

        return self.run(work())

    def empty(self, name: str) -> str:
        """A file as the engine makes it for a memory image or an overlay."""
        path = self.directory / name
        self.run(self.host.files.create(str(path)))
        return str(path)

    def overlay(self, domain: Domain, vdev: str, name: str) -> Layer:
        """A prepared overlay for a disk."""
        top = next(node for node in self.run(self.blocks.nodes(domain)) if node.vdev == vdev)
        return self.overlay_of(top.layer, name)

    def overlay_of(self, base: Layer, name: str) -> Layer:
        """A prepared overlay for an image."""
        path = self.empty(name)
        backing = Backing(Path(base.path).name, base.path, base.format)
        self.run(self.host.images.create_overlay(path, backing=backing, size_bytes=1 << 20))
        return Layer(path, Format.QCOW2)

    def chain(self, domain: Domain, vdev: str) -> list[str]:
        """Names of the images of a running disk, top first."""
        node = next(node for node in self.run(self.blocks.nodes(domain)) if node.vdev == vdev)
        names = []
        while node is not None:
            names.append(Path(node.layer.path).name)
            node = node.backing
        return names

    def on_disk(self, layer: Layer, n: int) -> int:
        """The number in the sector that should hold `n`, of a disk whose QEMU is gone."""
        where = f"{guest.sector_of(n) * guest.SECTOR_BYTES}"
        done = tool("qemu-io", "-r", "-f", layer.format, "-c", f"read -v {where} 4", layer.path)
        return int.from_bytes(bytes.fromhex("".join(done.stdout.split(":")[1].split()[:4])), "little")

    def in_the_file(self, layer: Layer) -> bytes:
        """What an image shows to who knows its file only, also while QEMU has it open."""
        to = self.directory / "read.raw"
        tool("qemu-img", "convert", "-U", "-f", layer.format, "-O", "raw", layer.path, str(to))
        data = to.read_bytes()
        to.unlink()
        return data

    def check(self, layer: Layer) -> None:
        """Nothing is wrong with an image that nobody has open, not even a leak."""
        answer = json.loads(
            subprocess.run(
                ["qemu-img", "check", "-f", layer.format, "--output=json", layer.path],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        assert {key for key in answer if key.startswith(("leaks", "corruptions"))} == set()

    def close(self) -> None:
        """End all guests that still run."""
        for domain in self.run(self.toolstack._off.domains()):
            self.run(self.processes.end(domain.uuid, polite_s=1.0))


def kill_when(argv: Sequence[str], reached: Callable[[], T]) -> T:
    """Kill a program as soon as it has come so far, which it must not pass; how it was known."""
    process = subprocess.Popen(argv, cwd=ROOT)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not (found := reached()):
            assert process.poll() is None, "it has ended"
            assert time.monotonic() < deadline, "it has not come so far"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    return found


@contextlib.contextmanager
def small_file_system(path: Path, size_kib: int) -> Iterator[None]:
    """A file system of so many KiB, which only root can make."""
    path.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", path], check=False)
    if made.returncode:
        pytest.skip("capability missing: no right to mount a small file system")
    try:
        yield
    finally:
        # Whoever has just failed to write there, or was killed, may have a file open for a moment more.
        subprocess.run(["umount", "-l", path], check=True)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A monitor that does not answer for five seconds is held by a stranger, or its QEMU is not let run."""
    monkeypatch.setitem(inspect.unwrap(connected).__kwdefaults__, "timeout_s", PATIENCE_S)


@pytest.fixture
def lab(tmp_path: Path, qemu_system: Path, qemu_img: Path, qemu_io: Path) -> Iterator[Lab]:
    made = Lab(tmp_path)
    yield made
    made.close()
