"""The processes of xl that stay behind on this machine."""

# ruff: noqa: PTH115, PTH119 -- /proc has plain names

import contextlib
import os
import signal

from xensnap.errors import Failed


class LocalDaemons:
    """The `Daemons` of this machine."""

    async def is_xl(self, pid: int, log: str) -> bool:
        """See `Daemons.is_xl`."""
        try:
            program = os.readlink(f"/proc/{pid}/exe")
            return os.path.basename(program) == "xl" and os.readlink(f"/proc/{pid}/fd/1") == log
        except OSError:
            return False

    async def stop(self, pid: int) -> None:
        """See `Daemons.stop`."""
        try:
            os.kill(pid, signal.SIGSTOP)
        except OSError as error:
            cause = f"cannot stop the xl that watches the guest (pid {pid}): {error.strerror}"
            raise Failed(cause, id="watcher-not-stopped") from error

    async def go_on(self, pid: int) -> None:
        """See `Daemons.go_on`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
