"""The memory of a running domain by `xl save -p`, which leaves the guest paused: there the disks are snapshotted.

xl is never live on its own: the guest suspends itself, all is written, and only then it is paused (Xen 4.17.7). So one
command is the first phase, and letting the guest go on is the second.
"""

import os
from collections.abc import Awaitable, Callable
from contextlib import suppress

from xensnap.backends.xen.xl import Xl, words
from xensnap.errors import Effect, Failed, XensnapError
from xensnap.formats import savefile
from xensnap.hypervisor import Files, Machine, Then
from xensnap.model import Domain, RunState

_SILENT = "guest didn't acknowledge suspend"
"""What libxl says after a minute (4.17)."""
_ACTS_S_MAX = 5.0
"""A guest that answers does so in less than one second; libxl itself takes a request back after a minute (4.17.7)."""
_LOOK_AGAIN_S = 0.1


class Guest:
    """One incarnation of a domain, as a save handles it."""

    def __init__(
        self,
        domain: Domain,
        *,
        state: Callable[[], Awaitable[RunState]],
        pause: Callable[[], Awaitable[None]],
        unpause: Callable[[], Awaitable[None]],
        revive: Callable[[], Awaitable[None]],
        destroy: Callable[[], Awaitable[None]],
    ) -> None:
        self.domain = domain
        self.state = state
        self.pause = pause
        self.unpause = unpause
        self.revive = revive
        self.destroy = destroy


class PlainSave:
    """The `Saving` port by `xl save -p`.

    Args:
        xl: saves.
        guest: whose memory.
        path: the file, empty; xl truncates it and keeps its mode.
        files: looks at it.
        machine: waits.
    """

    def __init__(self, xl: Xl, guest: Guest, path: str, files: Files, machine: Machine) -> None:
        self._xl = xl
        self._guest = guest
        self._path = path
        self._files = files
        self._was = guest.domain.state
        self._machine = machine
        self._begun = False
        self._over = False
        self.finished = False

    async def suspended(self, *, progress: Callable[[int], None] | None = None) -> None:
        """See `Saving.suspended`. How long the file is tells how far xl is."""
        self._begun = True
        # No limit of ours: a killed save leaves the guest suspended, and xl itself waits only a minute for the guest.
        done = await self._xl.tell(
            "save",
            "-p",
            str(self._guest.domain.domid),
            self._path,
            timeout_s=None,
            heard=_length_to(self._path, progress),
        )
        self._over = done.returncode >= 0
        state = await self._guest.state()
        if state is not RunState.PAUSED or done.returncode or not await is_whole(self._files, self._path):
            why = words(done) if done.returncode else f"the guest is {state}"
            await self.undo()
            raise not_saved(self._guest.domain, why)
        if self._was is RunState.PAUSED:
            # It was paused before, and is paused twice now: pauses are counted.
            await self._xl.tell("unpause", str(self._guest.domain.domid))

    async def finish(self, *, then: Then) -> None:
        """See `Saving.finish`."""
        await go_on(self._guest, self._was, then)
        self.finished = True

    async def undo(self) -> None:
        """Let the guest be as it was and the file be empty, from wherever the save has come to."""
        if self._begun:
            if not self._over:
                await self._settled()
            await put_back(self._guest, self._was)
            await emptied(self._files, self._path)

    async def _settled(self) -> None:
        """Return when the guest has done what a killed xl asked of it, or seems not to have been asked.

        An xl that is killed takes nothing back, and its guest suspends itself a moment later.
        """
        waited_s = 0.0
        while self._was is RunState.RUNNING is await self._guest.state() and waited_s < _ACTS_S_MAX:
            await self._machine.sleep(_LOOK_AGAIN_S)
            waited_s += _LOOK_AGAIN_S


def not_saved(domain: Domain, why: str) -> Failed:
    """The error of a save that has failed and was put back. A guest that hangs cannot suspend itself, as it has to."""
    cause = f"the memory of {domain.name} was not saved: {why}; the guest is as before"
    if _SILENT in why:
        remedy = f"If it hangs, end it, which loses its memory and not its disks: xensnap domain stop {domain.name}"
        return Failed(cause, id="guest-silent", remedy=remedy)
    return Failed(cause, id="save-failed", remedy="Look at what xl says, and at the free space.")


def _length_to(path: str, progress: Callable[[int], None] | None) -> Callable[[bytes], None] | None:
    if progress is None:
        return None

    def heard(_text: bytes) -> None:
        with suppress(OSError):
            progress(os.stat(path).st_size)  # noqa: PTH116 -- paths are text in the model

    return heard


async def go_on(guest: Guest, was: RunState, then: Then) -> None:
    """Let a guest that stands still, having been `was` before, go on as asked."""
    running = was is RunState.RUNNING if then is Then.SAME else then is Then.RUNNING
    if then is Then.STOPPED:
        await guest.destroy()
    elif running:
        await guest.unpause()


async def put_back(guest: Guest, was: RunState) -> None:
    """Let a guest that a save has stopped be as it was. `Failed` says what it is instead."""
    state = await guest.state()
    if state is RunState.SUSPENDED:
        await guest.revive()
        state = await guest.state()
    if state is RunState.PAUSED and was is RunState.RUNNING:
        await guest.unpause()
    elif state is RunState.RUNNING and was is RunState.PAUSED:
        await guest.pause()
    elif state not in (was, RunState.OFF):
        cause = f"{guest.domain.name} was {was} before its memory was saved, and is {state} now"
        raise Failed(cause, id="guest-not-put-back", remedy="Run `xensnap recover`.", effect=Effect.UNKNOWN)


async def is_whole(files: Files, path: str) -> bool:
    """Whether a save file has a beginning; a failed save leaves a fragment, and one that never began has none."""
    stat = await files.stat(path)
    return stat is not None and stat.length_bytes > savefile.FIXED_BYTES


async def emptied(files: Files, path: str) -> None:
    """Give back the space of a fragment at once: it may be all that there is."""
    with suppress(XensnapError):
        await files.remove(path)
        await files.create(path)
