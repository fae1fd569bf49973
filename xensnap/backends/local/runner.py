"""Programs of this machine: started without a shell, in a session of their own, under the locks that we hold."""

# ruff: noqa: PLC0415 -- asyncio and subprocess load when they are used

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from math import inf
from select import poll
from time import monotonic
from typing import TYPE_CHECKING

from xensnap.backends.local.waiting import alone, loop
from xensnap.errors import Effect, Failed, ToolFailed, Unknown
from xensnap.hypervisor import WHOLE_BYTES_MAX, Completed

if TYPE_CHECKING:
    from subprocess import Popen

_HEARD_S = 0.25
"""How often somebody who wants to hear a program is told what it has said."""


class LocalRunner:
    """The `Runner` of this machine.

    A program writes into files without names, and its end is seen through a descriptor of the process: pipes, and the
    thread with which asyncio waits for each child, take 1 to 3 ms more (a qemu-img takes 4 to start).

    Whoever holds no lock only looks: then, where nothing else could go on meanwhile, no event loop is started for it.
    A list of the domains by xl executes a fifth less for that.

    Args:
        held: descriptors of the locks that are held, read at each start: a program keeps the locks until it ends, so
            that nobody else begins while it works, even when we have died.
        environment: variables that a program has beside our own, or instead, asked for at each start.
    """

    def __init__(self, held: Sequence[int] = (), environment: Callable[[], Mapping[str, str]] = dict) -> None:
        self._held = held
        self._environment = environment

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        heard: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """See `Runner.run`."""
        here = not self._held and alone()
        if not here:
            await loop()
        with _file_of(stdin) as source, _file_of() as out, _file_of() as err:
            process = self._start(argv, source, out, err)
            try:
                meanwhile = partial(_tell, heard, out) if heard else None
                if here:
                    _waited(process, timeout_s, meanwhile)
                else:
                    await _ended(process, timeout_s, meanwhile)
            except TimeoutError as error:
                cause = f"{argv[0]} did not end within {timeout_s} s and was killed"
                raise Unknown(cause, id="timed-out") from error
            finally:
                if process.poll() is None:
                    _kill(process)
            _require_small(argv, process.returncode, out, err)
            return Completed(tuple(argv), process.returncode, _content(out), _content(err))

    def _start(self, argv: Sequence[str], source: int, out: int, err: int) -> "Popen[bytes]":
        from subprocess import Popen

        environment = os.environ | self._environment() | {"LC_ALL": "C"}
        try:
            return Popen(
                argv,
                stdin=source,
                stdout=out,
                stderr=err,
                env=environment,
                start_new_session=True,
                pass_fds=tuple(self._held),
            )
        except OSError as error:
            cause = f"cannot start {argv[0]}: {error.strerror}"
            remedy = f"Install {argv[0]}, or put it on PATH."
            raise Failed(cause, id="no-such-program", remedy=remedy, effect=Effect.NONE) from error


@contextlib.contextmanager
def _file_of(content: bytes = b"") -> Iterator[int]:
    """A descriptor that holds all of this: through a pipe, a program that outlives us would wait for the rest for ever.

    Measured with qemu-storage-daemon 7.2.22: it stays when its monitor has been hung up, with the image and our locks.
    """
    fd = os.memfd_create("xensnap")
    try:
        if content:
            os.write(fd, content)
            os.lseek(fd, 0, os.SEEK_SET)
        yield fd
    finally:
        os.close(fd)


def _tell(heard: Callable[[bytes], None], out: int) -> None:
    heard(_content(out))


def _require_small(argv: Sequence[str], returncode: int, out: int, err: int) -> None:
    """What is larger than any text is not read: whatever it says, it has come about, and nobody knows how."""
    said = os.fstat(out).st_size + os.fstat(err).st_size
    if said > WHOLE_BYTES_MAX:
        cause = f"{argv[0]} has said {said >> 20} MiB, of which {WHOLE_BYTES_MAX >> 20} are read at most"
        raise ToolFailed(cause, argv=tuple(argv), returncode=returncode, stderr="")


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


async def _ended(process: "Popen[bytes]", timeout_s: float | None, meanwhile: Callable[[], None] | None = None) -> None:
    """Return when the process has ended, and do something now and then until it has. `TimeoutError`: not by then."""
    import asyncio

    running = asyncio.get_running_loop()
    ended = asyncio.Event()
    fd = os.pidfd_open(process.pid)
    running.add_reader(fd, ended.set)
    try:
        async with asyncio.timeout(timeout_s):
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_HEARD_S if meanwhile else None):
                        await ended.wait()
                if meanwhile and not ended.is_set():
                    meanwhile()
    finally:
        running.remove_reader(fd)
        os.close(fd)


def _waited(process: "Popen[bytes]", timeout_s: float | None, meanwhile: Callable[[], None] | None) -> None:
    """The same without an event loop."""
    deadline_s = inf if timeout_s is None else monotonic() + timeout_s
    every_s = _HEARD_S if meanwhile else inf
    fd = os.pidfd_open(process.pid)
    try:
        ended = poll()
        ended.register(fd)
        while True:
            wait_s = max(0.0, min(every_s, deadline_s - monotonic()))
            if ended.poll(None if wait_s == inf else wait_s * 1000):
                return
            if monotonic() >= deadline_s:
                raise TimeoutError
            if meanwhile:
                meanwhile()
    finally:
        os.close(fd)


def _kill(process: "Popen[bytes]") -> None:
    """End a program with all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
