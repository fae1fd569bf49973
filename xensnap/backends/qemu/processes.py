"""The QEMU processes of a host's domains: started, found again by any later process, ended.

What is known of a process stands in `RUN/<uuid>/`, mode 0700: the note with its pid and the time when that was started
(so that a pid used again is not taken for it), its monitor's socket, what it complained of and what the guest said on
its serial line. The last two stay after the end, for whoever wants to know why.
"""

# ruff: noqa: PLC0415, PTH101, PTH106, PTH108, PTH116, PTH118, PTH120, PTH123, PTH208 -- asyncio and tempfile load when
# they are used; paths are text in the model

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence

import msgspec

from xensnap.backends.local.waiting import loop
from xensnap.backends.qemu import supervise
from xensnap.errors import Busy, Failed, NotFound
from xensnap.hypervisor import Files, Machine, Runner
from xensnap.model import DomainUuid, DomId

# sun_path of sockaddr_un, without its closing zero byte (unix(7)).
_SOCKET_PATH_BYTES_MAX = 107
_POLITE_S = 10.0
_START_S_MAX = 90.0
_LOCK_WAIT_S = 5.0


class Process(msgspec.Struct, frozen=True):
    """A QEMU that lives."""

    domid: DomId
    pid: int
    start_ticks: int
    boot_id: str
    monitor: str


class Processes:
    """The QEMU processes below one run directory.

    Args:
        directory: absolute path of the run directory; made when the first domain is started.
        files: for locks, notes and directories.
        machine: tells the boot.
        runner: starts the supervisor, which inherits our locks and keeps them from QEMU.
    """

    def __init__(self, directory: str, files: Files, machine: Machine, runner: Runner) -> None:
        self._directory = directory
        self._files = files
        self._machine = machine
        self._runner = runner

    def serial(self, uuid: DomainUuid) -> str:
        """The file with what the guest said on its serial line since its last start."""
        return os.path.join(self._directory, uuid, "serial.log")

    async def find(self, uuid: DomainUuid) -> Process | None:
        """The domain's QEMU, or None where none lives. Two small reads, no event loop."""
        try:
            note = json.loads(await self._files.read(self._note(uuid)))
        except (NotFound, ValueError):
            return None  # never started, or the host crashed before the note was durable, and QEMU with it
        found = Process(**note)
        same_boot = found.boot_id == (await self._machine.whoami()).boot_id
        return found if same_boot and supervise.start_ticks(found.pid) == found.start_ticks else None

    async def start(self, uuid: DomainUuid, argv: Sequence[str]) -> Process:
        """Start the domain's QEMU and return when its monitor answers.

        Raises:
            Busy: it lives already, or another process is just starting it: none.
            Failed: QEMU ended at once; the cause has its words. It is off, a domid may be used up.
        """
        home = os.path.join(self._directory, uuid)
        await self._files.mkdir(home)
        os.chmod(self._directory, 0o700)
        lock = await self._files.lock(os.path.join(home, "lock"), note=b"starting QEMU", wait_s=_LOCK_WAIT_S)
        try:
            if alive := await self.find(uuid):
                raise Busy(f"the domain {uuid} runs already (pid {alive.pid})", id="running-already")
            await self.sweep(uuid)
            note = Process(await self._next_domid(), 0, 0, (await self._machine.whoami()).boot_id, _socket(home))
            plan = {
                "argv": list(argv),
                "monitor": note.monitor,
                "pid_file": self._note(uuid),
                "complaints": self._complaints(uuid),
                "note": msgspec.structs.asdict(note),
            }
            command = [sys.executable, "-I", "-S", "-B", supervise.__file__, json.dumps(plan)]
            done = await self._runner.run(command, timeout_s=_START_S_MAX)
            found = await self.find(uuid)
            if done.returncode or not found:
                _remove_short(note.monitor, home)
                words = done.stderr.decode("utf-8", "replace").strip() or self.complaints(uuid)
                raise Failed(f"QEMU did not start: {words}", id="qemu-failed", remedy="Look at what QEMU says.")
            return found
        finally:
            await lock.release()

    async def end(self, uuid: DomainUuid, *, polite_s: float = _POLITE_S) -> None:
        """Return when no QEMU of the domain lives and its images are closed. One that does not live is fine.

        It is asked first, so that it closes its images in order, and after `polite_s` seconds it is killed.
        `Failed`: it still lives, though killed; it hangs in the kernel.
        """
        for number, patience_s in ((signal.SIGTERM, polite_s), (signal.SIGKILL, _POLITE_S)):
            process = await self.find(uuid)
            if process is None or await self._ended(process, number, patience_s):
                await self.sweep(uuid)
                return
        raise Failed(f"QEMU of {uuid} cannot be killed", id="qemu-hangs", remedy="Look at the host's storage.")

    async def ended(self, process: Process, *, timeout_s: float) -> bool:
        """Wait for a QEMU that ends by itself; whether it has."""
        return await self._ended(process, None, timeout_s)

    def complaints(self, uuid: DomainUuid) -> str:
        """What the domain's last QEMU wrote on stderr, warnings and greetings of signals left out."""
        try:
            with open(self._complaints(uuid), encoding="utf-8", errors="replace") as file:
                lines = file.read().splitlines()
        except FileNotFoundError:
            return ""
        return "\n".join(line for line in lines if ": warning: " not in line and "terminating on signal" not in line)

    def has_open(self, process: Process, path: str) -> bool:
        """Whether the file that has this name now is open in that very QEMU: it may be open under a name it lost."""
        try:
            wanted = os.stat(path)
        except FileNotFoundError:
            return False
        try:
            names = os.listdir(f"/proc/{process.pid}/fd")
        except OSError:
            return False  # it has ended just now
        for fd in names:
            with contextlib.suppress(OSError):
                found = os.stat(f"/proc/{process.pid}/fd/{fd}")
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
                    return True
        return False

    async def sweep(self, uuid: DomainUuid) -> None:
        """Remove what a QEMU that has ended left: its note and its socket, also one in a place of its own."""
        try:
            monitor = json.loads(await self._files.read(self._note(uuid)))["monitor"]
        except NotFound:
            return
        except ValueError:
            monitor = os.path.join(self._directory, uuid, "qmp.sock")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(monitor)
        _remove_short(monitor, os.path.join(self._directory, uuid))
        with contextlib.suppress(NotFound):
            await self._files.remove(self._note(uuid))

    async def _next_domid(self) -> DomId:
        """A number larger than any before. It is used up from here on, whatever becomes of the start."""
        path = os.path.join(self._directory, "next-domid")
        lock = await self._files.lock(f"{path}.lock", note=b"taking a domid", wait_s=_LOCK_WAIT_S)
        try:
            try:
                number = int(await self._files.read(path))
            except NotFound:
                number = 1
            await self._files.replace(path, b"%d\n" % (number + 1))
        finally:
            await lock.release()
        return DomId(number)

    async def _ended(self, process: Process, number: signal.Signals | None, patience_s: float) -> bool:
        try:
            handle = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return True
        try:
            # Looked at again now that the handle holds the pid: from here on it cannot become another's.
            if supervise.start_ticks(process.pid) != process.start_ticks:
                return True
            if number is not None:
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(handle, number)
            return await _readable(handle, patience_s)
        finally:
            os.close(handle)

    def _note(self, uuid: DomainUuid) -> str:
        return os.path.join(self._directory, uuid, "qemu.json")

    def _complaints(self, uuid: DomainUuid) -> str:
        return os.path.join(self._directory, uuid, "stderr.log")


async def _readable(fd: int, timeout_s: float) -> bool:
    """Wait for a descriptor; that of a process becomes readable when it has ended and all it had open is closed."""
    await loop()
    import asyncio

    running, ready = asyncio.get_running_loop(), asyncio.Event()
    running.add_reader(fd, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), timeout_s)
    except TimeoutError:
        return False
    finally:
        running.remove_reader(fd)
    return True


def _socket(home: str) -> str:
    """Where the monitor listens: in the domain's run directory, or in a short one where that path is too long."""
    path = os.path.join(home, "qmp.sock")
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        return path
    import tempfile

    short = os.environ.get("XDG_RUNTIME_DIR", "/tmp")  # noqa: S108 -- mkdtemp makes the directory ours alone
    return os.path.join(tempfile.mkdtemp(prefix="xensnap-", dir=short), "qmp.sock")


def _remove_short(monitor: str, home: str) -> None:
    if os.path.dirname(monitor) != home:
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(monitor))
