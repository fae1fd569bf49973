"""One virtual machine: QEMU started, frozen and thawed. Knows nothing of Xen but how it is booted.

The memory is a file. Frozen, the file is complete and the rest of the state is a few hundred kilobytes; thawed, the
file is mapped privately: any number of machines start from it within a fraction of a second, and none changes it.

Time inside goes by instructions that were executed (QEMU's `-icount`), and by the clock only while all inside sleep. On
a busy machine a case takes longer, and inside nobody sees it: libxl's own time-outs, ten seconds for a device model,
are as long as ever, and a pause that a guest measures is not the scheduler's.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.real.xenhost.cache import fingerprint

MEMORY_MIB = 3072
DOM0_MIB = 1024
XEN = f"console=com1 com1=115200,8n1 dom0_mem={DOM0_MIB}M,max:{DOM0_MIB}M dom0_max_vcpus=1 bootscrub=no noreboot"
XEN += " spec-ctrl=no"
DOM0 = "root=/dev/vda rw console=hvc0 loglevel=4 mitigations=off init_on_alloc=0 norandmaps"
"""TCG keeps what it has translated by address: a program that is always loaded at the same one is translated once."""
ICOUNT = "shift=1,sleep=on"
"""Two nanoseconds an instruction: faster than TCG is on an idle machine, which gives time-outs inside some slack."""
START_S = 120.0
FREEZE_S = 600.0
LOOKS = 8
BETWEEN_LOOKS_S = 0.3


@dataclass(frozen=True, slots=True)
class Frozen:
    """A machine that stands still, in files that nothing changes any more."""

    directory: Path
    image: Path

    @property
    def memory(self) -> Path:
        return self.directory / "memory"

    @property
    def devices(self) -> Path:
        return self.directory / "devices"

    @property
    def disk(self) -> Path:
        return self.directory / "disk.qcow2"


class Machine:
    """A QEMU process, its monitor, and the port that leads into dom0."""

    def __init__(self, directory: Path, image: Path, code: Path) -> None:
        self.directory = directory
        self.image = image
        self.code = code
        self.process: subprocess.Popen[bytes] | None = None
        self._monitor: Any = None

    @property
    def port(self) -> Path:
        return self.directory / "port"

    @property
    def log(self) -> str:
        """What Xen and dom0's kernel have said."""
        path = self.directory / "serial.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def cpu_s(self) -> float:
        """How long it has kept a processor busy, which another's load does not change much."""
        assert self.process is not None
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stands(self) -> str:
        """The registers of its processor, a few times: where it is, and whether a guest of Xen is (`HFL` 0x200000)."""
        return "\n".join(self._registers() for _ in range(LOOKS))

    def _registers(self) -> str:
        time.sleep(BETWEEN_LOOKS_S)
        said: str = self.command("human-monitor-command", **{"command-line": "info registers"})
        return "\n".join(line for line in said.splitlines() if line.startswith(("RAX", "RSI", "RIP", "CS", "CR0")))

    def boot(self) -> None:
        """Start from nothing; what is booted can be frozen."""
        self._overlay(self.image / "dom0.qcow2")
        self._start(self.directory / "memory", "share=on")

    def boot_again(self) -> None:
        """The power goes and comes back: what stood in memory is lost, what was written out is on the disk."""
        self.end()
        memory = self.directory / "memory"
        memory.unlink(missing_ok=True)
        self._start(memory, "share=on")

    def thaw(self, frozen: Frozen, *, to_freeze_again: bool = False) -> None:
        """Go on from a frozen state, which stays as it is. Only one that is thawed for it can be frozen again."""
        self._overlay(frozen.disk)
        memory, share = frozen.memory, "share=off"
        if to_freeze_again:
            memory, share = self.directory / "memory", "share=on"
            subprocess.run(["cp", "--sparse=always", frozen.memory, memory], check=True)
        self._start(memory, share, "-incoming", "defer")
        self._leave_memory_out()
        self.command("migrate-incoming", uri=f"exec:cat '{frozen.devices}'")
        self._wait_for("query-status", "paused")
        self.command("cont")

    def freeze(self, directory: Path) -> None:
        """Stop for good, and leave in `directory` what `thaw` needs."""
        self._leave_memory_out()
        self.command("stop")
        self.command("migrate", uri=f"exec:cat > '{directory / 'devices'}'")
        self._wait_for("query-migrate", "completed")
        self.end()
        for name in ("memory", "disk.qcow2"):
            shutil.move(self.directory / name, directory / name)
        # Most of the memory was never used.
        subprocess.run(["fallocate", "--dig-holes", directory / "memory"], check=True)

    def command(self, name: str, **arguments: Any) -> Any:
        """The answer of the monitor; `RuntimeError` with its words where it refuses."""
        self._monitor.write(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while line := self._monitor.readline():
            message = json.loads(line)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise RuntimeError(f"{name}: {message['error']['desc']}")
        raise RuntimeError(f"{name}: QEMU has gone\n{self.log[-2000:]}")

    def end(self) -> None:
        """No process is left. Frozen states and the log are."""
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._monitor.close()
        self.process = None

    def _overlay(self, base: Path) -> None:
        disk = self.directory / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", disk], check=True)

    def _start(self, memory: Path, share: str, *more: str) -> None:
        words = arguments(self.image, self.directory, self.code)
        words += ["-object", f"memory-backend-file,id=memory,size={MEMORY_MIB}M,mem-path={memory},{share}", *more]
        with (self.directory / "qemu.log").open("wb") as log:
            # It ends with us, even where we are killed: it would use a whole CPU for ever.
            words = ["setpriv", "--pdeathsig", "TERM", "--", *words]
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        with self._connect(self.directory / "monitor") as connection:
            self._monitor = connection.makefile("rwb", 0)
        self._monitor.readline()
        self.command("qmp_capabilities")

    def connect_port(self) -> socket.socket:
        """The other end of dom0's port."""
        return self._connect(self.port)

    def _connect(self, path: Path) -> socket.socket:
        deadline = time.monotonic() + START_S
        while True:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.connect(str(path))
            except OSError:
                connection.close()
                assert self.process is not None
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((self.directory / "qemu.log").read_text(errors="replace")) from None
                time.sleep(0.02)
            else:
                return connection

    def _leave_memory_out(self) -> None:
        self.command("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])

    def _wait_for(self, question: str, wanted: str) -> None:
        deadline = time.monotonic() + FREEZE_S
        while (status := self.command(question).get("status")) != wanted:
            if status == "failed" or time.monotonic() > deadline:
                raise RuntimeError(f"{question}: {status} instead of {wanted}\n{self.log[-2000:]}")
            time.sleep(0.02)


def arguments(image: Path, directory: Path, code: Path) -> list[str]:
    """QEMU's command line but for the memory. A state can be thawed only with the devices it was frozen with."""
    words = ["qemu-system-x86_64", "-name", "xenhost", "-accel", "tcg,thread=single,tb-size=512", "-icount", ICOUNT]
    # Nested SVM is what PVH and HVM guests run on; TCG has it, and Xen 4.17 does not start on KVM without real SVM.
    words += ["-machine", "pc,memory-backend=memory", "-cpu", "qemu64,+svm,+npt", "-m", f"{MEMORY_MIB}M", "-smp", "1"]
    words += ["-display", "none", "-nodefaults", "-serial", f"file:{directory / 'serial.log'}"]
    words += ["-qmp", f"unix:{directory / 'monitor'},server=on,wait=off"]
    # Xen is a multiboot image, and the modules that follow it are dom0's kernel with its command line and its initrd.
    words += ["-kernel", str(image / "xen"), "-append", XEN]
    words += ["-initrd", f"{image / 'vmlinuz'} {DOM0},{image / 'initrd.img'}"]
    words += ["-drive", f"file={directory / 'disk.qcow2'},format=qcow2,if=none,id=root,cache=unsafe"]
    words += ["-device", "virtio-blk-pci,drive=root"]
    words += ["-drive", f"file={code},format=raw,if=none,id=code,readonly=on", "-device", "virtio-blk-pci,drive=code"]
    words += ["-chardev", f"socket,id=port,path={directory / 'port'},server=on,wait=off"]
    return [*words, "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=port,name=xensnap"]


def fingerprint_of_machine() -> str:
    """What a frozen state depends on beside its image: QEMU, and how it is started."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], check=True, capture_output=True).stdout
    return fingerprint(version, " ".join(arguments(Path("i"), Path("d"), Path("c"))), str(MEMORY_MIB))
