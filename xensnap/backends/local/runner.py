"""Programs of this machine: started without a shell, in a session of their own, under the locks that we hold."""

# ruff: noqa: PLC0415 -- asyncio loads when it is used

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from xensnap.backends.local.waiting import loop
from xensnap.errors import Effect, Failed, Unknown
from xensnap.hypervisor import Completed

if TYPE_CHECKING:
    from asyncio.subprocess import Process


class LocalRunner:
    """The `Runner` of this machine.

    Args:
        held: descriptors of the locks that are held, read at each start: a program keeps the locks until it ends, so
            that nobody else begins while it works, even when we have died.
    """

    def __init__(self, held: Sequence[int] = ()) -> None:
        self._held = held

    async def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float | None = None) -> Completed:
        """See `Runner.run`."""
        await loop()
        import asyncio

        with _file_of(stdin) as source:
            process = await self._start(argv, source)
        try:
            out, err = await asyncio.wait_for(process.communicate(), timeout_s)
        except TimeoutError as error:
            await _kill(process)
            raise Unknown(f"{argv[0]} did not end within {timeout_s} s and was killed", id="timed-out") from error
        except asyncio.CancelledError:
            await _kill(process)
            raise
        assert process.returncode is not None
        return Completed(tuple(argv), process.returncode, out, err)

    async def _start(self, argv: Sequence[str], source: int) -> "Process":
        import asyncio
        from asyncio.subprocess import PIPE

        environment = os.environ | {"LC_ALL": "C"}
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                stdin=source,
                stdout=PIPE,
                stderr=PIPE,
                env=environment,
                start_new_session=True,
                pass_fds=tuple(self._held),
            )
        except OSError as error:
            cause = f"cannot start {argv[0]}: {error.strerror}"
            remedy = f"Install {argv[0]}, or put it on PATH."
            raise Failed(cause, id="no-such-program", remedy=remedy, effect=Effect.NONE) from error


@contextlib.contextmanager
def _file_of(content: bytes) -> Iterator[int]:
    """A descriptor that holds all of this: through a pipe, a program that outlives us would wait for the rest for ever.

    Measured with qemu-storage-daemon 7.2.22: it stays when its monitor has been hung up, with the image and our locks.
    """
    fd = os.memfd_create("stdin")
    try:
        os.write(fd, content)
        os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


async def _kill(process: "Process") -> None:
    """End a program with all that it has started, and wait until it and its pipes are gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.communicate()
