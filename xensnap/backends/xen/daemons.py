"""Who watches guests on this machine: processes of xl that stay behind, and ours that stand in for lost ones."""

# ruff: noqa: ASYNC240, PTH115, PTH119, PTH121 -- /proc has plain names and never makes one wait

import contextlib
import os
import signal
import sys
from pathlib import Path

from xensnap.backends.xen.supervisor import Supervisor
from xensnap.backends.xen.xl import words
from xensnap.errors import Failed
from xensnap.model import DomainUuid, DomId

STAND_IN = "xensnap.backends.xen.stand_in"
_BEGIN_S_MAX = 60.0
_STARTED = 19
"""Which word of /proc/PID/stat after the name tells when the process was started, in ticks since the boot (proc(5))."""


class LocalDaemons:
    """The `Daemons` of this machine.

    Args:
        supervisor: starts ours, which get none of our locks.
        store: the directory of the snapshot store, which ours work with, too.
    """

    def __init__(self, supervisor: Supervisor, store: str) -> None:
        self._supervisor = supervisor
        self._store = store

    async def is_watcher(self, pid: int, log: str) -> bool:
        """See `Daemons.is_watcher`."""
        try:
            return _watches(pid) and os.path.samefile(f"/proc/{pid}/fd/1", log)
        except OSError:
            return False

    async def stand_in(self, domid: DomId, uuid: DomainUuid, log: str) -> None:
        """See `Daemons.stand_in`."""
        argv = [sys.executable, "-I", "-B", "-m", STAND_IN, str(domid), uuid, log, self._store]
        done = await self._supervisor.start(argv, timeout_s=_BEGIN_S_MAX)
        if done.returncode:
            raise Failed(f"nobody watches the guest: {words(done)}", id="watcher-not-replaced")

    async def stop(self, pid: int) -> int:
        """See `Daemons.stop`."""
        try:
            started = _started(pid)
            os.kill(pid, signal.SIGSTOP)
        except OSError as error:
            cause = f"cannot stop the xl that watches the guest (pid {pid}): {error.strerror}"
            raise Failed(cause, id="watcher-not-stopped") from error
        return started

    async def go_on(self, pid: int, started: int) -> None:
        """See `Daemons.go_on`."""
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            if _started(pid) == started:
                os.kill(pid, signal.SIGCONT)


def _watches(pid: int) -> bool:
    """Whether a process is of a kind that watches guests. `OSError`: it is gone, or not ours to look at.

    A daemon lives for as long as its guest, and its program may have been replaced by another version meanwhile.
    """
    if os.path.basename(os.readlink(f"/proc/{pid}/exe")).removesuffix(" (deleted)") == "xl":
        return True
    return STAND_IN.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def _started(pid: int) -> int:
    """When a process was started: with its pid, what no other process has. `OSError`: it is gone."""
    stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return int(stat.rpartition(")")[2].split()[_STARTED])
