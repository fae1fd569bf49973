"""The gate before every write to an image: no process at all may have it open.

QEMU's own locks do not suffice: under Xen QEMU takes none (measured, Xen 4.17.7), and `xl destroy` does not promise
that QEMU has gone. A write lease does: the kernel grants it only where no other descriptor of the file exists
anywhere, whoever holds it and by whatever name (1-2 ms on a busy host, against 170-450 ms for a look at /proc). It is
given back at once and never held over a tool's run.
"""

import errno
import fcntl
import os
import signal

from xensnap.errors import Busy, FileFailed, NotFound, Refused
from xensnap.hypervisor import Machine, Opener

# A reader that is merely passing (a `qemu-img info`, somebody else's `list`) is gone after this.
PATIENCE_S = 0.5
_FIRST_PAUSE_S = 0.005


class WriteGate:
    """Makes sure that nobody has an image open.

    Args:
        machine: says who has, and waits.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    async def check(self, path: str) -> None:
        """Return when no process has the image open.

        Raises:
            Busy: somebody has, and still has after half a second; at once where somebody has it open for writing.
            NotFound, FileFailed: there is no image, or it cannot be opened.
            Refused: `cannot-see-openers`, where neither lease nor /proc can tell.
        """
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while (granted := _lease(path)) is not True:
            if granted is None:
                openers = await self._machine.openers(path)
                if not openers:
                    return
            elif waited_s == 0.0:
                openers = ()  # most readers have gone before /proc has been read once
            else:
                openers = await self._seen(path)
            if waited_s >= PATIENCE_S or any(opener.writing for opener in openers):
                raise busy(path, openers)
            await self._machine.sleep(pause_s)
            waited_s += pause_s
            pause_s *= 3

    async def _seen(self, path: str) -> tuple[Opener, ...]:
        try:
            return await self._machine.openers(path)
        except Refused:
            return ()


def busy(path: str, openers: tuple[Opener, ...]) -> Busy:
    """Who is in the way of a write."""
    who = ", ".join(f"{one.command[:80]!r} (pid {one.pid}{', writing' if one.writing else ''})" for one in openers)
    seen = who or "something that /proc does not show, such as another container or a loop device"
    remedy = "Shut down the guest that uses the image, or end that program, and try again."
    return Busy(f"{path} is open in {seen}", id="image-open", remedy=remedy)


def _lease(path: str) -> bool | None:
    """Whether the kernel grants a write lease: True, False (it is open elsewhere), None (no leases on such files)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except BlockingIOError:
        return False  # another gate has its lease just now
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such image", id="image-not-found") from error
    except OSError as error:
        raise FileFailed(f"cannot open {path}: {error.strerror}", path=path, errno=error.errno or 0) from error
    try:
        # Whoever opens the file in these microseconds makes the kernel signal us. SIGIO would end the process unless
        # it is ignored, which only a main thread may arrange; SIGURG does nothing by default, in any thread.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return True
