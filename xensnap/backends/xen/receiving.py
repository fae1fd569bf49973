"""Live streams on this machine: xl starts a receiver of ours, which tells us over a socket how far it is."""

# ruff: noqa: PLC0415, PTH118 -- asyncio loads when it is used; paths are text in the model

import contextlib
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

from xensnap.backends.local.waiting import loop
from xensnap.backends.xen import receive
from xensnap.backends.xen.live import Stream
from xensnap.backends.xen.xl import words
from xensnap.errors import Failed
from xensnap.hypervisor import Completed, Runner

if TYPE_CHECKING:
    from asyncio import Future, StreamReader, StreamWriter, Task


class LocalReceivers:
    """The `Receivers` of this machine.

    Args:
        runner: starts xl; the receiver inherits the locks that we hold through it.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def receive(self, to: str, domid: int, program: str) -> AbstractAsyncContextManager[Stream]:
        """See `Receivers.receive`."""
        return self._receive(to, domid, program)

    @contextlib.asynccontextmanager
    async def _receive(self, to: str, domid: int, program: str) -> AsyncIterator[Stream]:
        await loop()
        import asyncio

        # A directory of ours alone, with a short name: a socket's path must fit into 107 bytes.
        place = tempfile.mkdtemp(prefix="xensnap-", dir="/run" if os.access("/run", os.W_OK) else None)
        try:
            path = os.path.join(place, "live")
            line: Future[tuple[StreamReader, StreamWriter]] = asyncio.get_running_loop().create_future()
            server = await asyncio.start_unix_server(partial(_connected, line, place), path)
            command = ["exec", sys.executable, "-I", "-S", "-B", receive.__file__, path, to]
            argv = [program, "migrate", "-s", "", str(domid), shlex.join(command)]
            xl = asyncio.create_task(self._runner.run(argv))
            stream = LocalStream(line, xl)
            try:
                async with server:
                    yield stream
            finally:
                await stream.let_go()
        finally:
            shutil.rmtree(place, ignore_errors=True)


class LocalStream:
    """The `Stream` of one receiver.

    Args:
        line: becomes the connection to the receiver.
        xl: the migration.
    """

    def __init__(self, line: "Future[tuple[StreamReader, StreamWriter]]", xl: "Task[Completed]") -> None:
        self._line = line
        self._xl = xl

    async def complete(self) -> None:
        """See `Stream.complete`."""
        import asyncio

        heard = asyncio.create_task(self._heard())
        try:
            await asyncio.wait({heard, self._xl}, return_when=asyncio.FIRST_COMPLETED)
            told = await heard if heard.done() else {}
        finally:
            heard.cancel()
        if "complete" not in told:
            done = await self.let_go()
            why = "; ".join(part for part in (told.get("failed", told.get("broken", "")), words(done)) if part)
            raise Failed(why, id="save-failed" if "failed" in told else "stream-broken")

    async def let_go(self) -> Completed:
        """See `Stream.let_go`."""
        import asyncio

        # A receiver that has not come yet is let go of as soon as it does: xl would wait for it for ever.
        self._line.cancel()
        if not self._line.cancelled():
            self._line.result()[1].close()
        return await asyncio.shield(self._xl)

    async def _heard(self) -> dict[str, Any]:
        """What the receiver says; nothing where it has died."""
        import asyncio

        reader, _ = await asyncio.shield(self._line)
        told = await reader.readline()
        heard: dict[str, Any] = json.loads(told) if told else {}
        return heard


def _connected(
    line: "Future[tuple[StreamReader, StreamWriter]]", place: str, reader: "StreamReader", writer: "StreamWriter"
) -> None:
    """The receiver has come. Where nobody waits for it any more, it leaves at once, and xl resumes the guest.

    Nobody else has to find us, so the socket goes at once: whoever is killed from now on leaves nothing of it behind.
    """
    shutil.rmtree(place, ignore_errors=True)
    if line.done():
        writer.close()
    else:
        line.set_result((reader, writer))
