"""The xl that watches a guest, to reboot it and to clean up after it, stopped while the guest is suspended.

A save ends it: it takes the suspend for the guest's end, and from then on a guest that powers off stays as it is for
ever and one that reboots does not come back (Xen 4.17.7). Stopped before the suspend and continued when the guest runs
again, it looks, sees a guest that runs, and stays.
"""

# ruff: noqa: PTH118 -- paths are text in the model

import os
from collections.abc import AsyncIterator
from typing import Protocol

from xensnap.backends.xen import log
from xensnap.errors import Failed, FileFailed, NotFound
from xensnap.hypervisor import Files
from xensnap.model import Domain, DomainUuid, DomId

_LOG = "xl-"


class Daemons(Protocol):
    """Processes of xl that stay behind; of this machine, or of a simulated one."""

    async def is_watcher(self, pid: int, log: str) -> bool:
        """Whether this very process lives, is an xl or stands in for one, and writes into this log."""

    async def stop(self, pid: int) -> int:
        """Let it execute nothing (SIGSTOP); when it was started, by which it is known again. `Failed`: none."""

    async def go_on(self, pid: int, started: int) -> None:
        """Let it go on (SIGCONT), whatever its log is called by now. One that is gone is fine."""

    async def stand_in(self, domid: DomId, uuid: DomainUuid, log: str) -> None:
        """Start a process that watches a guest as xl would, says so in this log, and outlives us. `Failed`: none.

        It does what the guest's configuration says when the guest ends. A suspend it lets pass.
        """


class StoppedWatcher:
    """The `Watcher` port: one daemon that we have stopped."""

    def __init__(self, daemons: Daemons, pid: int, started: int) -> None:
        self._daemons = daemons
        self._pid = pid
        self._started = started

    async def resume(self) -> None:
        """See `Watcher.resume`."""
        await self._daemons.go_on(self._pid, self._started)


class Watchers:
    """Finds the daemons by their logs: process lists would also find whoever merely speaks of the domain.

    Args:
        files: reads the logs.
        daemons: stops them and lets them go on.
        place: the directory of the logs.
    """

    def __init__(self, files: Files, daemons: Daemons, place: str) -> None:
        self._files = files
        self._daemons = daemons
        self._place = place

    async def watches(self, domid: DomId) -> bool | None:
        """Whether the daemon of this domain lives; None where it never had any (`xl create -e`)."""
        if await self._find(domid) is not None:
            return True
        return False if [told async for told in self._told(domid)] else None

    async def hold(self, domid: DomId) -> StoppedWatcher | None:
        """Stop the daemon of this domain; None where it has none (`xl create -e`, or lost before)."""
        pid = await self._find(domid)
        if pid is None:
            return None
        return StoppedWatcher(self._daemons, pid, await self._daemons.stop(pid))

    async def replace(self, domain: Domain) -> None:
        """Let somebody watch a running guest that nobody watches any more. `Failed`: nobody does."""
        assert domain.domid is not None
        log = os.path.join(self._place, f"{_LOG}{domain.name}.log")
        await self._daemons.stand_in(domain.domid, domain.uuid, log)

    async def _find(self, domid: DomId) -> int | None:
        async for pid, path in self._told(domid):
            if await self._daemons.is_watcher(pid, path):
                return pid
        return None

    async def _told(self, domid: DomId) -> AsyncIterator[tuple[int, str]]:
        """The pid of the daemon that this domain has or had, and its log."""
        for name in await self._files.names(self._place):
            # A log has the name that the domain had when it was started, so all are looked at.
            if not name.startswith(_LOG):
                continue
            path = os.path.join(self._place, name)
            try:
                told = log.watching((await self._files.read(path)).decode("utf-8", "replace"))
            except (NotFound, FileFailed, Failed):
                continue
            if told and told.domid == domid:
                yield told.pid, path
