"""The memory of a running domain, saved in two phases by QEMU's migration into a file that we made.

QEMU gets a descriptor, never a name, so it cannot create the file. With `pause-before-switchover` it copies the memory,
stops the guest and waits: that is where the disks are snapshotted. Told to go on, it writes the devices' state and has
ended. Measured on 7.2.22:

- A completed migration gives the images up ("inactive"), for it takes the guest to live on elsewhere. `cont` takes them
  back. A guest that is to stay paused needs them back without that: see `take_images_back`.
- From then on a guest that stood still is in the state `postmigrate`, and so it is after a cancelled migration. Only
  `cont` leads out of it, and no second migration begins in it: "Can't migrate the vm that was paused due to previous
  migration".
- The stream ends with its own description in JSON (some 100 KB), which QEMU does not miss when it reads it back.
- That a migration is over is told a moment before the guest's own state follows; until then `cont` is refused.
- A full file system fails the migration. While memory is copied the error tells why; later only QEMU's stderr does.
"""

import os
from collections.abc import Awaitable, Callable

from xensnap.backends.local import graph
from xensnap.backends.local.machine import sleep
from xensnap.backends.local.qmp import CommandFailed, LocalMonitor, SocketConnector, connected
from xensnap.backends.local.replies import Migration, Status, ask
from xensnap.errors import Effect, Failed, XensnapError
from xensnap.hypervisor import Monitor, Then
from xensnap.model import Domain

UNDER_WAY = ("setup", "active", "device", "pre-switchover", "cancelling")
"""What `query-migrate` says while a migration runs."""
_DESCRIPTOR = "memory"
_MAGIC, _END = b"QEVM", b"}"
# No limit: QEMU's default is 128 MiB/s, meant for networks.
_BYTES_PER_S_MAX = 1 << 50
# QEMU's own. Parameters stay from one migration to the next, so it is said each time.
_DOWNTIME_S = 0.3
# A guest that dirties memory faster than it is written is stopped after so many rounds.
_ROUNDS_MAX = 8
# How often the monitor is asked before others get a turn at it.
_ASKED_AT_ONCE = 100
_FIRST_PAUSE_S, _PAUSE_S_MAX, _OTHERS_S = 0.001, 0.02, 0.02
# For how long a migration that is over may be so for the guest's state, too: a moment, but machines are busy.
_FINAL_LOOKS = 500


class MemorySave:
    """The `Saving` port.

    Args:
        connector: reaches the domain's monitor.
        domain: which one.
        path: the memory file, for errors.
        fd: that file, empty, open for writing.
        live: let the guest run while its memory is copied.
        one_pass: write each page once and the changed ones after the stop; see `_begin`.
        max_downtime_s: stop it only when the rest is expected to be written in this time; None is QEMU's 0.3 s, and
            after some rounds however long it takes.
        complaints: what QEMU says on stderr.
        destroy: ends the domain, for `Then.STOPPED`.
    """

    def __init__(
        self,
        connector: SocketConnector,
        domain: Domain,
        *,
        path: str,
        fd: int,
        live: bool,
        one_pass: bool,
        max_downtime_s: float | None,
        complaints: Callable[[], str],
        destroy: Callable[[], Awaitable[None]],
    ) -> None:
        self._connector = connector
        self._domain = domain
        self._path = path
        self._fd = fd
        self._live = live
        self._one_pass = one_pass
        self._max_downtime_s = max_downtime_s
        self._complaints = complaints
        self._destroy = destroy
        self._ran = False
        self._begun = False
        self.finished = False

    async def suspended(self, *, progress: Callable[[int], None] | None = None) -> None:
        """See `Saving.suspended`."""
        async with connected(self._connector, self._domain) as monitor:
            await self._begin(monitor)
        try:
            answer = await self._until("pre-switchover", "completed", "failed", "cancelled", progress=progress)
            if answer.status == "pre-switchover":
                return
            raise self._failed(answer)
        except XensnapError as error:
            await self.undo()
            if isinstance(error, Failed):
                raise
            raise Failed(f"{error.cause}; the guest is as before", id="save-failed") from error

    async def finish(self, *, then: Then) -> None:
        """See `Saving.finish`."""
        async with connected(self._connector, self._domain) as monitor:
            await monitor.execute("migrate-continue", {"state": "pre-switchover"})
        answer = await self._until("completed", "failed", "cancelled")
        if answer.status != "completed":
            raise self._failed(answer)
        self._require_whole()
        if then is Then.STOPPED:
            await self._destroy()
        else:
            running = self._ran if then is Then.SAME else then is Then.RUNNING
            async with connected(self._connector, self._domain) as monitor:
                await _final(monitor)
                await (_go_on(monitor) if running else take_images_back(monitor))
        self.finished = True

    async def undo(self) -> None:
        """Let the guest be as before and the file be empty, from wherever the save has come to.

        A guest whose QEMU is gone has nothing to be undone. `Failed`: the guest is not as before, the cause says how.
        """
        try:
            if self._begun:
                async with connected(self._connector, self._domain) as monitor:
                    await cancel(monitor)
                    if self._ran:
                        await _go_on(monitor)
                    else:
                        await take_images_back(monitor)
        except Failed as error:
            if error.id != "monitor-gone":
                raise
        finally:
            os.ftruncate(self._fd, 0)

    async def _begin(self, monitor: LocalMonitor) -> None:
        status = (await ask(monitor, "query-status", Status)).status
        self._ran = status == "running"
        self._begun = True
        try:
            if status == "postmigrate":
                # It was saved before and not run since. The only way to another migration is to let it run; `stop`
                # follows at once, and memory and disks go on together for that instant.
                await monitor.execute("cont")
                await monitor.execute("stop")
            pause = [{"capability": "pause-before-switchover", "state": True}]
            await monitor.execute("migrate-set-capabilities", {"capabilities": pause})
            limit_s = _DOWNTIME_S if self._max_downtime_s is None else self._max_downtime_s
            # With no time at all QEMU never looks a second time which pages have changed while the guest runs, but only
            # after it has stopped. Under TCG it must not: what the guest writes to a page after it was looked at a
            # second time is lost (measured: 7.2.22, 101 of 128 pages that a guest never rests to write).
            limit_ms = 0 if self._one_pass else max(1, round(limit_s * 1000))
            parameters = {"max-bandwidth": _BYTES_PER_S_MAX, "downtime-limit": limit_ms}
            await monitor.execute("migrate-set-parameters", parameters)
            if self._ran and not self._live:
                await monitor.execute("stop")
            await monitor.give(_DESCRIPTOR, self._fd)
            await monitor.execute("migrate", {"uri": f"fd:{_DESCRIPTOR}"})
        except CommandFailed:
            if self._ran:
                await _go_on(monitor)
            raise

    async def _until(self, *wanted: str, progress: Callable[[int], None] | None = None) -> Migration:
        """The state of the migration when it is one of these."""
        pause_s = _FIRST_PAUSE_S
        while True:
            async with connected(self._connector, self._domain) as monitor:
                for _ in range(_ASKED_AT_ONCE):
                    answer = await ask(monitor, "query-migrate", Migration)
                    if progress is not None and answer.ram:
                        progress(answer.ram.total - answer.ram.remaining)
                    if answer.status in wanted:
                        return answer
                    if "pre-switchover" in wanted and answer.ram and answer.ram.dirty_sync_count > _ROUNDS_MAX:
                        # It runs still, and has dirtied its memory as fast as it was written.
                        if self._max_downtime_s is None:
                            await monitor.execute("stop")
                        elif answer.expected_downtime > self._max_downtime_s * 1000:
                            raise self._not_converging(answer)
                    await sleep(pause_s)
                    pause_s = min(pause_s * 1.2, _PAUSE_S_MAX)
            await sleep(_OTHERS_S)

    def _not_converging(self, answer: Migration) -> Failed:
        cause = (
            f"the memory of {self._domain.name} was not saved: it changes so fast that the guest would stand still for "
            f"{answer.expected_downtime} ms"
        )
        return Failed(cause, id="not-converging", remedy="Allow more, or let the guest rest.")

    def _failed(self, answer: Migration) -> Failed:
        why = answer.error_desc or self._complaints() or f"the migration is {answer.status}"
        cause = f"the memory of {self._domain.name} was not saved to {self._path}: {why}"
        return Failed(cause, id="save-failed", remedy="Look whether the file system is full.")

    def _require_whole(self) -> None:
        """What QEMU calls completed has a beginning and an end."""
        length = os.fstat(self._fd).st_size
        if os.pread(self._fd, len(_MAGIC), 0) != _MAGIC or os.pread(self._fd, 1, max(length - 1, 0)) != _END:
            cause = f"QEMU says that {self._path} is complete, but it is not: {length} bytes"
            raise Failed(cause, id="save-failed", remedy="Look whether the file system is full.")


async def cancel(monitor: LocalMonitor) -> None:
    """End a migration that is under way and return when it has ended. None is fine."""
    while (await ask(monitor, "query-migrate", Migration)).status in UNDER_WAY:
        await monitor.execute("migrate_cancel")
        await sleep(_FIRST_PAUSE_S)
    await _final(monitor)


async def _final(monitor: LocalMonitor) -> None:
    """Return when the guest's state knows, too, that the migration is over, so that `cont` is taken.

    "Migration is not finalized yet", QEMU 7.2.22 says otherwise, once in thousands of times and on a busy machine.
    """
    for _ in range(_FINAL_LOOKS):
        if (await ask(monitor, "query-status", Status)).status != "finish-migrate":
            return
        await sleep(_PAUSE_S_MAX)


async def _go_on(monitor: LocalMonitor) -> None:
    """Run the guest, and see that it does. `Failed`: it is still stopped."""
    await monitor.execute("cont")
    status = (await ask(monitor, "query-status", Status)).status
    if status != "running":
        raise Failed(f"the guest does not go on: it is {status}", id="still-paused", effect=Effect.UNKNOWN)


async def take_images_back(monitor: Monitor) -> None:
    """Let QEMU write its images again after a completed migration, without running the guest.

    Newer QEMUs have a command for that. 7.2 does it on the way to an NBD export, which may be wanted before a guest
    arrives; there is no NBD server, so the export itself is refused.
    """
    now = await graph.read(monitor)
    for name in now.roots():
        try:
            await monitor.execute("blockdev-set-active", {"node-name": name, "active": True})
        except CommandFailed as error:
            if error.error_class != "CommandNotFound":
                raise
            export = {"type": "nbd", "id": "take-back", "node-name": name}
            try:
                await monitor.execute("block-export-add", export)
            except CommandFailed as refusal:
                if refusal.words != "NBD server not running":
                    raise
