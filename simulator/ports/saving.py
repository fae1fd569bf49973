"""Saving the memory of a domain in two phases: `xl save -p`, or the live migration stream of xl."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from simulator.core.effects import declare
from simulator.disk.files import length
from simulator.ports.blocks import domid_of
from simulator.ports.children import Child, xl
from simulator.ports.domains import SimulatedDomains, outcome
from simulator.ports.seat import Seat
from simulator.world import World, life
from simulator.world.life import XlError
from simulator.world.programs import SUSPENDED_AT, TOO_FAST, Migrate, Save
from xensnap.errors import Effect, Failed, XensnapError
from xensnap.hypervisor import Then
from xensnap.model import Domain, GuestKind

_SAVE = declare("xl.save", "xl saves the memory of a domain and leaves it paused", writes=True)
_MIGRATE = declare("xl.migrate", "xl sends the memory of a running domain, up to its suspension", writes=True)
_MIGRATE_END = declare("xl.migrate-end", "xl is refused the migration, and the domain goes on", writes=True)
_CONT = declare("qmp.cont", "the QEMU of a suspended HVM guest takes its images back", writes=True)
_TRUNCATE = declare("memory.truncate", "a memory file that is of no use is emptied", writes=True)


class SimulatedSaving:
    """The `Saving` port.

    Args:
        seat: who saves.
        domains: pauses, resumes and destroys.
        domain: which domain.
        to: the empty memory file.
        live: whether the guest runs while most of it is copied.
        max_downtime_s: how long it may stand still for the rest of it; None for as long as that takes.
    """

    def __init__(
        self,
        seat: Seat,
        domains: SimulatedDomains,
        domain: Domain,
        *,
        to: str,
        live: bool,
        max_downtime_s: float | None = None,
    ) -> None:
        self._seat = seat
        self._domains = domains
        self._domain = domain
        self._to = to
        self._live = live
        self._max_downtime_s = max_downtime_s
        self._child = Child(seat)
        self._pauses = 0
        self._begun = False
        self._finished = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A process that is dropped in the middle does nothing any more.
        if self._begun and not self._finished and kind is not GeneratorExit:
            await self._undo()

    async def suspended(self, *, progress: Callable[[int], None] | None = None) -> None:
        """The guest stands still: paused behind a whole file, or suspended behind a whole stream."""
        seat = self._seat
        domid = domid_of(seat.world, self._domain)
        self._pauses = life.require(seat.world, domid).pauses
        self._begun = True
        try:
            if self._live:
                migrate = xl(Migrate(domid, self._to, self._max_downtime_s), seat.pid)
                await self._child.run(_MIGRATE, self._domain.name, migrate, steps=SUSPENDED_AT)
                if life.require(seat.world, domid).traits.kind is GuestKind.HVM:
                    await seat.change(_CONT, self._domain.name, lambda world: (_taken_back(world, domid), None))
            else:
                await self._child.run(_SAVE, self._domain.name, xl(Save(domid, self._to), seat.pid))
        except (XlError, XensnapError) as error:
            await self._undo()
            self._finished = True
            if isinstance(error, XlError):
                cause = f"the memory of {self._domain.name} was not saved to {self._to}: {error.words}"
                if error.words == TOO_FAST:
                    raise Failed(cause, id="not-converging", remedy="Allow more, or let the guest rest.") from None
                if "acknowledge" in error.words:
                    raise Failed(cause, id="guest-silent", remedy="If it hangs, end it: its disks stay.") from None
                raise Failed(cause, id="save-failed", remedy="Look whether the file system is full.") from None
            raise Failed(f"{error.cause}; the guest is as before", id="save-failed") from error

        if seat.world.fs.find(self._to) is None:  # somebody has unlinked it: what was saved is in no file
            await self._undo()
            self._finished = True
            raise Failed(f"{self._to} is not there; the guest is as before", id="save-failed")
        if progress is not None:
            progress(length(seat.world.fs.inode(self._to).stored))

    async def finish(self, *, then: Then) -> None:
        """The guest goes on as asked. The file is not durable by that: nothing that xl tells says so."""
        was_paused = bool(self._pauses)
        wanted = then if then is not Then.SAME else (Then.PAUSED if was_paused else Then.RUNNING)
        if self._live:
            if wanted is not Then.RUNNING:
                await self._domains.pause_standing(self._domain)
            await self._ended()
        pauses = life.require(self._seat.world, domid_of(self._seat.world, self._domain)).pauses
        self._finished = True
        if wanted is Then.STOPPED:
            await self._domains.destroy(self._domain)
        for _ in range(pauses - (1 if wanted is Then.PAUSED else 0) if wanted is not Then.STOPPED else 0):
            await self._domains.unpause(self._domain, last=False)
        await outcome(self._seat, self._domain, wanted)

    async def _ended(self) -> None:
        """The receiver has refused: xl lets the domain go on."""
        try:
            await self._child.run(_MIGRATE_END, self._domain.name, None)
        except XlError as error:
            raise Failed(f"{self._domain.name}: {error.words}", id="save-failed", effect=Effect.UNKNOWN) from None

    async def _undo(self) -> None:
        """The guest goes on as before, and the file is empty."""
        self._child.kill()
        try:
            await self._domains.revived(self._domain, pauses=self._pauses)
        finally:
            if self._seat.world.fs.find(self._to) is not None:
                await self._seat.alter(_TRUNCATE, self._to, lambda fs: fs.update(self._to, lambda _: b""))


def _taken_back(world: World, domid: int) -> World:
    # xen-live.md A4: without this the transaction at the suspend point is refused with a misleading error.
    qemu = life.qemu_of(world, domid)
    return life.with_qemu(world, domid, life.replace(qemu, inactive=False, status="running"))
