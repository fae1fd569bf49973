"""The gate before every use of an image: no process at all may have it open for a write, none write it for a read.

QEMU's own locks do not suffice: under Xen QEMU takes none (measured, Xen 4.17.7), and `xl destroy` does not promise
that QEMU has gone. A lease does: the kernel grants a write lease only where no other descriptor of the file exists
anywhere, whoever holds it and by whatever name, and a read lease only where none is open for writing (1-2 ms on a busy
host, against 170-450 ms for a look at /proc). It is given back at once and never held over a tool's run.
"""

import errno
import fcntl
import os
import signal
from collections.abc import Callable

from xensnap.errors import Busy, FileFailed, NotFound, Refused
from xensnap.hypervisor import Machine, Opener

# A reader that is merely passing (a `qemu-img info`, somebody else's `list`) is gone after this.
PATIENCE_S = 0.5
_FIRST_PAUSE_S = 0.005


class Gate:
    """Makes sure that nobody is in the way.

    Args:
        machine: says who has, and waits.
        lease: whether a lease of this kind is granted on a file, and given back: True, False where somebody has it
            open, None where there are no leases; errors as `to_write`.
    """

    def __init__(self, machine: Machine, lease: Callable[[str, int], bool | None] | None = None) -> None:
        self._machine = machine
        self._lease = lease or _lease

    async def to_write(self, path: str) -> None:
        """Return when no process has the image open.

        Raises:
            Busy: somebody has, and still has after half a second; at once where somebody has it open for writing.
            NotFound, FileFailed: there is no image, or it cannot be opened.
            Refused: `cannot-see-openers`, where neither lease nor /proc can tell.
        """
        await self._pass(path, fcntl.F_WRLCK)

    async def to_read(self, path: str) -> None:
        """Return when no process has the image open for writing. Errors as `to_write`."""
        await self._pass(path, fcntl.F_RDLCK)

    def in_use(self, path: str) -> bool | None:
        """Whether any process has the image open just now; None where there are no leases.

        Raises:
            NotFound, FileFailed: there is no image, or it cannot be opened.
        """
        granted = self._lease(path, fcntl.F_WRLCK)
        return None if granted is None else not granted

    async def _pass(self, path: str, kind: int) -> None:
        waited_s, pause_s = 0.0, _FIRST_PAUSE_S
        while (granted := self._lease(path, kind)) is not True:
            # Where there are no leases, /proc must tell; else it only names who, and most readers have gone before it
            # has been read once.
            openers = await self._machine.openers(path) if granted is None else ()
            if granted is False and waited_s > 0:
                openers = await self._seen(path)
            if kind == fcntl.F_RDLCK:
                openers = tuple(opener for opener in openers if opener.writing)
            if granted is None and not openers:
                return
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
    """Who is in the way."""
    who = ", ".join(f"{one.command[:80]!r} (pid {one.pid}{', writing' if one.writing else ''})" for one in openers)
    seen = who or "something that /proc does not show, such as another container or a loop device"
    remedy = "Shut down the guest that uses the image, or end that program, and try again."
    return Busy(f"{path} is open in {seen}", id="image-open", remedy=remedy)


def _lease(path: str, kind: int) -> bool | None:
    """Whether the kernel grants a lease: True, False (it is open elsewhere), None (no leases on such files)."""
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
        fcntl.fcntl(fd, fcntl.F_SETLEASE, kind)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return False if error.errno == errno.EAGAIN else None
    finally:
        os.close(fd)
    return True
