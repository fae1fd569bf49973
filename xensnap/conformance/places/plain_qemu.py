"""Real images and real QEMUs made ready to be tried: a directory of its own for every case."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.qemu.host import QemuHost
from xensnap.backends.qemu.processes import Processes
from xensnap.conformance.places import boot_guest, images
from xensnap.conformance.places.telling import Listen, TellingGuests
from xensnap.conformance.workplace import Content, Missing, Program, Wish
from xensnap.errors import Failed
from xensnap.hypervisor import Capability, Hypervisor
from xensnap.model import Disk

_BOOT = "guest.img"
_TABLE = "[[disk]]"
_TOOLS = {"qemu-img": "qemu-img", "QEMU": "qemu-system-x86_64"}


class QemuPlace(TellingGuests):
    """The `Workplace` of one directory on `qemu:DIR`.

    Args:
        below: directory to make it in; the system's for temporary files where none is given.
    """

    def __init__(self, below: str | None = None) -> None:
        super().__init__()
        self._directory = Path(tempfile.mkdtemp(prefix="xensnap-conformance-", dir=below))
        boot_guest.floppy(self._directory / _BOOT)
        self.host: Hypervisor = QemuHost(self._directory)

    def versions(self) -> Mapping[str, str]:
        """See Workplace."""
        return {name: images.version(program) for name, program in _TOOLS.items() if shutil.which(program)}

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        """See Workplace."""
        uuid = self.host.run(self.host.machine.fresh_id())
        lines = [f'name = "{name}"', f'uuid = "{uuid}"']
        if guest:
            lines += ['memory = "32M"', f'boot = "{_BOOT}"']
        lines += [line for wish in disks for line in self._disk(name, wish)]
        self._file(name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def attach(self, name: str, wish: Wish) -> None:
        """See Drives."""
        text = self._file(name).read_text(encoding="utf-8")
        self._file(name).write_text(text + "\n".join(self._disk(name, wish)) + "\n", encoding="utf-8")

    def detach(self, name: str, vdev: str) -> None:
        """See Drives."""
        head, *tables = self._file(name).read_text(encoding="utf-8").split(_TABLE)
        kept = [table for table in tables if f'vdev = "{vdev}"' not in table]
        self._file(name).write_text(_TABLE.join([head, *kept]), encoding="utf-8")

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}.toml"

    def _disk(self, name: str, wish: Wish) -> list[str]:
        """The lines of its description; its image is made."""
        path = "" if wish.empty else f"{name}-{wish.vdev}.{wish.format}"
        if path:
            images.run(*images.creating(str(self._directory / path), wish))
        lines = [_TABLE, f'vdev = "{wish.vdev}"', f'path = "{path}"', f'format = "{wish.format}"']
        lines += ['mode = "ro"'] if wish.readonly else []
        return lines + (["cdrom = true"] if wish.cdrom or wish.empty else [])

    def write(self, name: str, vdev: str, block: int, blocks: int, number: int) -> None:
        """See Workplace."""
        disk = self.host.run(self.host.toolstack.inspect(name)).disk(vdev)
        assert disk is not None, f"{name} has no {vdev}"
        images.write(disk, block, blocks, number, scratch=self._directory)

    def shows(self, disk: Disk) -> Content:
        """See Workplace."""
        return images.shows(disk, scratch=self._directory)

    def qemu_img(self, *words: str) -> None:
        """See Strangers."""
        images.run("qemu-img", *words)

    @contextlib.contextmanager
    def command(self) -> Iterator[Program]:
        """See Commands."""
        yield images.our_command(host=f"qemu:{self._directory}")

    def small(self) -> contextlib.AbstractContextManager[None]:
        """See Room."""
        return images.small_file_system(self._directory)

    def leaving(self, free_bytes: int) -> contextlib.AbstractContextManager[None]:
        """See Room."""
        return images.ballast(self._directory, free_bytes)

    def monitor(self, name: str) -> str:
        """See Monitors. Where this directory's path is too long for a socket it is elsewhere; a note tells."""
        processes = Processes(str(self._directory / "run"), self.host.files, self.host.machine, LocalRunner())
        process = self.host.run(processes.find(self.host.run(self.host.toolstack.inspect(name)).uuid))
        if process is None:
            raise Missing(f"{name} does not run")
        return process.monitor

    def inventory(self) -> frozenset[str]:
        """See Workplace. The directory is ours alone, so nothing on it is anybody's."""
        return frozenset()

    def close(self) -> None:
        """See Workplace."""
        runs = Capability.RUNNING in self.host.capabilities
        for domain in self.host.run(self.host.toolstack.domains()) if runs else ():
            with contextlib.suppress(Failed):
                self.host.run(self.host.toolstack.destroy(domain))
        for path in self._directory.rglob("*"):
            if path.is_file() and Capability.IMMUTABLE in self.host.capabilities:
                self.host.run(self.host.files.set_immutable(str(path), on=False))
        shutil.rmtree(self._directory)

    def listen(self, name: str) -> Listen:
        """See TellingGuests."""
        domain = self.host.run(self.host.toolstack.inspect(name))
        serial = self._directory / "run" / domain.uuid / "serial.log"

        def told() -> list[tuple[int, int]]:
            try:
                return boot_guest.reports(serial.read_bytes().decode("ascii", "replace"))
            except FileNotFoundError:
                return []

        return told
