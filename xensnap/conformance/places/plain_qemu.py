"""Real images and real QEMUs made ready to be tried: a directory of its own for every case."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from xensnap.backends.qemu.host import QemuHost
from xensnap.conformance.places import boot_guest
from xensnap.conformance.workplace import BLOCK_BYTES, Content, Wish
from xensnap.errors import Failed
from xensnap.hypervisor import Capability, Hypervisor
from xensnap.model import Disk

PATIENCE_S = 60.0
"""How long a guest is waited for. It tells something a hundred times a second; machines may be busy."""
_POLL_S = 0.005
_BOOT = "guest.img"
_TOOLS = {"qemu-img": "qemu-img", "QEMU": "qemu-system-x86_64"}


class QemuPlace:
    """The `Workplace` of one directory on `qemu:DIR`.

    Args:
        below: directory to make it in; the system's for temporary files where none is given.
    """

    def __init__(self, below: str | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="xensnap-conformance-", dir=below))
        boot_guest.floppy(self._directory / _BOOT)
        self.host: Hypervisor = QemuHost(self._directory)

    def versions(self) -> Mapping[str, str]:
        """See Workplace."""
        found = {}
        for name, program in _TOOLS.items():
            if shutil.which(program):
                first = _run(program, "--version").splitlines()[0]
                found[name] = first.partition("version ")[2].split()[0]
        return found

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        """See Workplace."""
        uuid = self.host.run(self.host.machine.fresh_id())
        lines = [f'name = "{name}"', f'uuid = "{uuid}"']
        if guest:
            lines += ['memory = "32M"', f'boot = "{_BOOT}"']
        for wish in disks:
            path = "" if wish.empty else f"{name}-{wish.vdev}.{wish.format}"
            if path:
                size = str(wish.blocks * BLOCK_BYTES)
                _run("qemu-img", "create", "-q", "-f", wish.format.value, str(self._directory / path), size)
            lines += ["[[disk]]", f'vdev = "{wish.vdev}"', f'path = "{path}"', f'format = "{wish.format}"']
            lines += ['mode = "ro"'] if wish.readonly else []
            lines += ["cdrom = true"] if wish.cdrom or wish.empty else []
        (self._directory / f"{name}.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def write(self, name: str, vdev: str, block: int, blocks: int, number: int) -> None:
        """See Workplace."""
        disk = self.host.run(self.host.toolstack.inspect(name)).disk(vdev)
        assert disk is not None, f"{name} has no {vdev}"
        source = self._directory / "pattern.tmp"
        source.write_bytes(number.to_bytes(8, "little") * (blocks * BLOCK_BYTES // 8))
        where = f"{block * BLOCK_BYTES} {blocks * BLOCK_BYTES}"
        _run("qemu-io", "-f", disk.format.value, "-c", f"write -q -s {source} {where}", disk.path)
        source.unlink()

    def shows(self, disk: Disk) -> Content:
        """See Workplace."""
        target = self._directory / "content.tmp"
        _run("qemu-img", "convert", "-f", disk.format.value, "-O", "raw", disk.path, str(target))
        content = target.read_bytes()
        target.unlink()
        blocks = (content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES))
        # A block that is from several writes is from none.
        return tuple(int.from_bytes(one[:8], "little") if one == one[:8] * (len(one) // 8) else -1 for one in blocks)

    def counter(self, name: str) -> int:
        """See Workplace."""
        before = len(self._told(name))
        return self._wait(name, before + 1)[-1][0]

    def first_counter(self, name: str) -> int:
        """See Workplace."""
        return self._wait(name, 1)[0][0]

    def sound(self, name: str) -> str:
        """See Workplace."""
        before = len(self._told(name))
        told = self._wait(name, before + boot_guest.REPORTS_UNTIL_NOTICED)
        bad = [number for _, number in told if number]
        return f"{bad[-1]} of its looks found something else on a disk or in memory" if bad else ""

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

    def _told(self, name: str) -> list[tuple[int, int]]:
        """All that the guest has told since it was last brought up."""
        domain = self.host.run(self.host.toolstack.inspect(name))
        serial = self._directory / "run" / domain.uuid / "serial.log"
        try:
            return boot_guest.reports(serial.read_bytes().decode("ascii", "replace"))
        except FileNotFoundError:
            return []

    def _wait(self, name: str, reports: int) -> list[tuple[int, int]]:
        deadline = time.monotonic() + PATIENCE_S
        while len(told := self._told(name)) < reports:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{name} told {len(told)} times, not {reports}, within {PATIENCE_S} s")
            time.sleep(_POLL_S)
        return told


def _run(*argv: str) -> str:
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run(  # noqa: S603 -- tools by name, arguments of our own
        argv, capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
