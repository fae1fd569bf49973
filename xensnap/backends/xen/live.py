"""The memory of a domain that runs on meanwhile: a live migration whose receiver is us.

xl sends exactly what it would write into a save file. When all is there, the guest is suspended and xl waits for the
receiver's word: that is where the disks are snapshotted. The receiver then ends without that word, and xl resumes the
guest where it is. So the exit code 1 of xl is the good end, and what counts is what the receiver has seen (Xen 4.17.7).

It is ended through its receiver, never by killing xl: a guest whose migration was killed stays in the mode in which Xen
logs its writes, and the next one was seen to find it dead.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from xensnap.backends.xen.saving import Guest, emptied, not_saved, put_back
from xensnap.backends.xen.xl import Xl
from xensnap.errors import Effect, Failed
from xensnap.hypervisor import Completed, Files, Then
from xensnap.model import RunState


class Stream(Protocol):
    """A live stream under way."""

    async def complete(self) -> None:
        """Return when the whole stream is in the file. The guest is suspended then, until `let_go`.

        `Failed`, with the words of whoever knows why: it was ended here, since the file could not be written; or, with
        id `stream-broken`, it broke off and nobody here knows how xl and its helper have ended. The guest goes on.
        """

    async def let_go(self) -> Completed:
        """Let the source resume its guest, and return when it has ended; what it ended with. Harmless to repeat."""


class Receivers(Protocol):
    """Takes live streams; on this machine by a program of ours that xl starts."""

    def receive(self, to: str, domid: int, program: str) -> AbstractAsyncContextManager[Stream]:
        """Let xl send the memory of a domain into this file. Leaving lets go."""


class LiveSave:
    """The `Saving` port by a live migration.

    Args:
        xl: sends.
        guest: whose memory.
        path: the file, empty.
        files: for that file.
        receivers: take the stream.

    Attributes:
        cut_short: whether Xen may go on logging what the guest writes: xl was killed, or the stream ended before all of
            it was there, and not by us. That its helper was killed, the exit code of xl does not tell.
    """

    def __init__(self, xl: Xl, guest: Guest, path: str, files: Files, receivers: Receivers) -> None:
        self._guest = guest
        self._path = path
        self._files = files
        self._was = guest.domain.state
        self._receiving = receivers.receive(path, guest.domain.domid or 0, xl.program)
        self._stream: Stream | None = None
        self._broken = False
        self.finished = False
        self.cut_short = False

    async def suspended(self, *, progress: Callable[[int], None] | None = None) -> None:
        """See `Saving.suspended`. What comes does so in no order, and more than once: nothing is told of it."""
        del progress
        self._stream = await self._receiving.__aenter__()
        try:
            await self._stream.complete()
        except Failed as error:
            self._broken = error.id == "stream-broken"
            await self.undo()
            raise not_saved(self._guest.domain, error.cause) from error

    async def finish(self, *, then: Then) -> None:
        """See `Saving.finish`. The guest runs first in any case: only the source can let go of it."""
        await self._end()
        state = await self._guest.state()
        if state is not RunState.RUNNING:
            cause = f"{self._guest.domain.name} should run again and is {state}"
            raise Failed(cause, id="guest-not-put-back", remedy="Run `xensnap recover`.", effect=Effect.UNKNOWN)
        if then is Then.STOPPED:
            await self._guest.destroy()
        elif then is Then.PAUSED:
            await self._guest.pause()
        self.finished = True

    async def undo(self) -> None:
        """Let the guest be as it was and the file be empty, from wherever the save has come to."""
        if self._stream is not None:
            await self._end()
            await put_back(self._guest, self._was)
            await emptied(self._files, self._path)

    async def _end(self) -> None:
        if self._stream is not None:
            done = await self._stream.let_go()
            self.cut_short = self._broken or done.returncode < 0
            await self._receiving.__aexit__(None, None, None)
