"""The engine as its users see it: observe, plan, act, under the domain's lock.

`Engine` is the sync face of `AsyncEngine`.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeVar

import msgspec

from xensnap.engine import formers, given_up, hooks, journal, let_go, records, risks, trust, unborn
from xensnap.engine.adopt import plan_adopt
from xensnap.engine.births import newborn, plan_birth
from xensnap.engine.collect import Compaction, Kept, following, kept, plan_collection, plan_yielding
from xensnap.engine.create import places_of, plan_create
from xensnap.engine.delete import plan_delete
from xensnap.engine.execute import MORE_TO_DO, NOTHING_CHANGED, Execution, Outcome, Watch, ignore, nothing_changed
from xensnap.engine.export import plan_export
from xensnap.engine.graft import plan_graft
from xensnap.engine.journal import Entry
from xensnap.engine.let_go import plan_letting_go, plan_taking_back
from xensnap.engine.locks import Locks
from xensnap.engine.plan import Plan, beside
from xensnap.engine.point_steps import UNPLUG_LOOKS, UNPLUG_PAUSE_S
from xensnap.engine.prune import plan_prune
from xensnap.engine.reading import AsyncReader, Reader
from xensnap.engine.records import Store
from xensnap.engine.redefine import plan_redefine
from xensnap.engine.relocate import plan_relocation
from xensnap.engine.replace import plan_replacement
from xensnap.engine.request import (
    AdoptRequest,
    Birth,
    CloneRequest,
    CreateRequest,
    DeleteRequest,
    EditRequest,
    EmptyRequest,
    ExportRequest,
    ForgetRequest,
    Fresh,
    GraftRequest,
    ImportRequest,
    PinRequest,
    PruneRequest,
    RedefineRequest,
    RelocateRequest,
    RenameRequest,
    Request,
    RestoreRequest,
    RevertRequest,
    UnpinRequest,
)
from xensnap.engine.revert import plan_revert
from xensnap.engine.rewrite import plan_edit, plan_pin, plan_rename, plan_unpin
from xensnap.engine.shown import without_secrets
from xensnap.engine.trash import plan_empty, plan_forget, plan_going_back, plan_restore
from xensnap.engine.treatment import Diagnosis, examine, of_nobody, of_the_lock, treat
from xensnap.engine.undo import given_up_for, plan_undo
from xensnap.engine.verify import Looked, look
from xensnap.engine.view import ANYWHERE, Places, View, digest, observe
from xensnap.errors import (
    Busy,
    Damaged,
    Effect,
    ExitCode,
    Failed,
    NotFound,
    Reason,
    Refused,
    Unknown,
    Usage,
    XensnapError,
)
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain, DomainUuid, Extent, RunState

T = TypeVar("T")


class _Shares(Protocol):
    """What tells whom a domain shares images with."""

    @property
    def neighbours(self) -> tuple[DomainUuid, ...]:
        """Those, in order."""


Shared = TypeVar("Shared", bound=_Shares)

_OPERATION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

LOOKS_MAX = 5
"""How often a domain is looked at anew because it has come to share images with others meanwhile."""

RECOVER_WAIT_S = 30.0
"""How long a recovery waits for a child that outlived its engine: qemu-img on a large image can take this long."""


Announce = Callable[[Plan], None]


def silent(plan: Plan) -> None:
    """For callers who do not want to know beforehand."""


class Result(msgspec.Struct, frozen=True):
    """What an operation did. `recovered` tells of an older one that had to be brought to its end first."""

    plan: Plan
    warnings: tuple[str, ...] = ()
    recovered: "Recovered | None" = None


class Recovered(msgspec.Struct, frozen=True):
    """An interrupted operation and how it ended."""

    domain: str
    summary: str
    outcome: Outcome
    why: str = ""


class AsyncEngine(AsyncReader):
    """All operations on one host.

    Args:
        host: the ports to work through.
        watch: told before each step.
        announce: told each plan that is going to be carried out, before anything is done.
        wait_s: seconds to wait for a domain that somebody else works on.

    Attributes:
        held: whether it has held the lock of any domain: before that it has begun nothing that could be left.
    """

    def __init__(
        self, host: Hypervisor, *, watch: Watch = ignore, announce: Announce = silent, wait_s: float = 0.0
    ) -> None:
        super().__init__(host)
        self._watch = watch
        self._announce = announce
        self._wait_s = wait_s
        self.held = False

    # Looking ---------------------------------------------------------------------------------------------------------

    async def unborn(self) -> tuple[Domain, ...]:
        """Domains that an interrupted operation was making, and that the host does not know. `recover` takes them."""
        return tuple(newborn(plan) for plan in await unborn.unborn(self.host, await self.host.toolstack.domains()))

    async def bereft(self) -> tuple[DomainUuid, ...]:
        """Under which UUIDs an operation waits whose domain the host knows no more. `recover` tells why it waits."""
        known = await self.host.toolstack.domains()
        return tuple(each.uuid for each in await unborn.interrupted(self.host, known) if not each.making)

    async def view(self, ref: str) -> View:
        """Everything about a domain, its images included. Changes nothing."""
        return await observe(self.host, ref)

    async def maps(self, view: View) -> dict[str, Mapping[str, tuple[Extent, ...]]]:
        """The clusters of every image in a view, by path; one that cannot be read has no entry. Changes nothing."""
        found: dict[str, Mapping[str, tuple[Extent, ...]]] = {}
        for path, image in view.images.items():
            if image is not None:
                with suppress(XensnapError):
                    found[path] = await self.host.images.extents(image.layer)
        return found

    async def verify(self, view: View) -> Looked:
        """Check the images in a view and read the copies of its records. Changes nothing; reads all cluster tables."""
        return await look(self.host, view)

    async def plan(self, ref: str, request: Request) -> Plan:
        """What would be done. Changes nothing; `Refused` with all reasons."""
        return plan_for(await observe(self.host, ref, _places(request)), request, await self._fresh())

    async def following(self, plan: Plan) -> tuple[Plan, ...]:
        """The first merge of each disk that would come after a plan which frees images. Changes nothing."""
        return following(await observe(self.host, plan.domain_uuid), plan) if _frees_images(plan) else ()

    # Acting ----------------------------------------------------------------------------------------------------------

    async def create(self, ref: str, request: CreateRequest) -> Result:
        """Take a snapshot."""
        return await self.perform(ref, request)

    async def revert(self, ref: str, request: RevertRequest) -> Result:
        """Make a domain what it was at a snapshot."""
        return await self.perform(ref, request)

    async def delete(self, ref: str, request: DeleteRequest) -> Result:
        """Delete snapshots, and merge away what nobody needs any more."""
        return await self.perform(ref, request)

    async def perform(self, ref: str, request: Request) -> Result:
        """Carry out any request: an interrupted operation is ended first, then it is planned and done."""
        domain = await self._known(ref)
        async with self._locked(domain, type(request).__name__.removesuffix("Request").lower()) as held:
            plan, recovered = await self._settled(held, lambda: self.plan(domain.uuid, request))
            if isinstance(request, RevertRequest) and request.save_current:
                return await self._save_and_revert(domain.uuid, held, request, recovered)
            return await self._carry_out(plan, held, recovered)

    async def undo(self, ref: str, *, accept: tuple[str, ...] = ()) -> Result:
        """Take back what was last done to a domain, when nobody else works on it.

        An interrupted operation is ended first; what is then finished is the last one.

        Args:
            ref: the domain.
            accept: the risks that are taken, by their ids.

        Raises:
            NotFound: no such domain, or nothing was done to it.
            Refused: it cannot be taken back.
        """
        domain = await self._known(ref)

        async def planned() -> Plan:
            request = msgspec.structs.replace(await self.undoing(domain.uuid), accept=accept)
            return await self.plan(domain.uuid, request)

        async with self._locked(domain, "undo") as held:
            plan, recovered = await self._settled(held, planned)
            return await self._carry_out(plan, held, recovered)

    async def make(self, request: Birth) -> Result:
        """Make a domain: clone one, or import one from an archive.

        The domain whose snapshot is cloned stays locked meanwhile. An interrupted operation on either is ended first.
        """
        return await self._make(request, await _only_looking(self._fresh()))

    async def plan_making(self, request: Birth) -> Plan:
        """What `make` would do. Changes nothing; `Refused` with all reasons."""
        return await plan_birth(self.host, request, await self._fresh())

    async def apply(self, plan: Plan) -> Result:
        """Carry out exactly this plan.

        Raises:
            Refused: `wrong-host`, or `plan-is-stale` when what it was made from has moved. Nothing was touched.
        """
        if plan.host != self.host.name:
            cause = f"the plan was made for {plan.host}, and this is {self.host.name}"
            raise Refused([Reason("wrong-host", cause, "Apply it on the host that it was made for.")])
        birth = _birth_of(plan)
        if birth is not None:
            return await self._make(birth, Fresh(plan.operation, plan.planned_s), wanted=plan)
        domain = await self._known(plan.domain_uuid)
        async with self._locked(domain, plan.verb) as held:
            same, recovered = await self._settled(held, lambda: self._same(plan))
            return await self._carry_out(same, held, recovered)

    async def recover(self, ref: str, *, abort: bool | None = None) -> Recovered | None:
        """Bring an interrupted operation to its end; None where there is none.

        Args:
            ref: the domain; also one that an interrupted operation was making.
            abort: True to insist on undoing, False on finishing, None for what is usual.
        """
        domain = await self._known(ref, or_being_made=True)
        async with self._locked(domain, "recover", wait_s=max(self._wait_s, RECOVER_WAIT_S)) as held:
            return await self._recover(domain, held, abort=abort)

    async def undoing(self, ref: str) -> Request:
        """The request that takes back what was last done as far as is known now. Changes nothing; `undo` does it.

        Raises:
            NotFound: no such domain, or nothing was done to it.
            Refused: it cannot be taken back.
        """
        domain = await self._known(ref)
        contents = await records.load(self.host, domain.uuid)
        trail = [entry for part in await self._journals(domain) for entry in journal.trail(part)]
        return plan_undo(trail, contents.state.operation)[1]

    async def audit(self, ref: str) -> tuple[Domain, tuple[Entry, ...]]:
        """The domain, and what the journal and the generation before it tell of what was done to it."""
        domain = await self._known(ref)
        return domain, tuple(entry for part in await self._journals(domain) for entry in journal.decode(part))

    async def diagnose(self, ref: str, *, check: bool = False) -> Diagnosis:
        """Tell what does not fit together of a domain and its snapshots. Changes nothing; `NotFound` without it.

        Args:
            ref: the domain.
            check: also count the clusters of every image that nobody has open, which reads all its tables.
        """
        return await examine(self.host, (await self._known(ref)).uuid, check=check)

    async def repair(self, ref: str, *, check: bool = False) -> Diagnosis:
        """Repair what can be repaired without losing anything, and tell what is left. Takes the domain's lock.

        Where the store is not to be believed, nothing is repaired, and that is what is told.
        """
        domain = await self._known(ref)
        if await trust.against_store(self.host, Store.of(self.host, domain.uuid)):
            return await examine(self.host, domain.uuid, check=check)
        mended = await of_the_lock(self.host, domain.uuid)
        async with self._locked(domain, "repair") as held:
            await self._settled(held, lambda: observe(self.host, domain.uuid), mends=True)
            done = await treat(self.host, domain.uuid, held.journal, watch=self._watch, check=check)
            return msgspec.structs.replace(done, repaired=(*mended, *done.repaired))

    async def diagnose_stores_of_nobody(self, *, repair: bool = False) -> tuple[Diagnosis, ...]:
        """What does not fit in the stores of domains that the host does not know, each under its UUID.

        Args:
            repair: also mend what can be, which takes the lock that is in each. What was making a domain is ended.
        """
        return await of_nobody(self.host, recover=self.recover if repair else None)

    async def compact(self, ref: str) -> Compaction:
        """Merge away images that only snapshots needed which are gone. No snapshot changes."""
        domain = await self._known(ref)
        async with self._locked(domain, "compact") as held:
            await self._settled(held, lambda: observe(self.host, domain.uuid))
            return await self._collect(domain.uuid, held)

    # Starting and stopping, where the host has no toolstack of its own for that --------------------------------------

    async def start(self, ref: str, *, paused: bool = False) -> Domain:
        """Start a domain that is off, never in the middle of an operation: an interrupted one is ended first."""
        domain = await self._known(ref)
        async with self._locked(domain, "start") as held:
            await self._recover(domain, held)
            domain = await self.host.toolstack.inspect(domain.uuid)
            if domain.state is RunState.DYING:
                cause = f"{domain.name} is dying: it is being built, or ended, or whoever did so has died"
                remedy = f"Wait a moment. If it stays so: `xensnap domain stop {domain.name}`, then start it."
                raise Refused([Reason("still-dying", cause, remedy, ExitCode.BUSY)])
            if domain.state is not RunState.OFF:
                cause = f"{domain.name} is {domain.state} already"
                raise Refused([Reason("running-already", cause, "Use it as it is.", ExitCode.BUSY)])
            return await _at_once(self.host.toolstack.create(domain.uuid, paused=paused))

    async def stop(self, ref: str) -> Domain:
        """End a domain at once, as if its power were cut. One that is off is fine.

        An operation that could not be recovered while the guest runs does not keep it running; it is tried again then.
        """
        domain = await self._known(ref)
        async with self._locked(domain, "stop") as held:
            recovered = False
            try:
                await self._recover(domain, held)
                recovered = True
            except Busy:
                raise  # of the locks that it takes none is sure to be held then, not even ours
            except (Failed, Refused, Unknown):
                pass
            await _at_once(self.host.toolstack.destroy(await self.host.toolstack.inspect(domain.uuid)))
            if not recovered:
                await self._recover(domain, held)
            return await self.host.toolstack.inspect(domain.uuid)

    async def pause(self, ref: str) -> Domain:
        """Let the guest execute nothing."""
        domain = await self._known(ref)
        async with self._locked(domain, "pause") as held:
            await self._recover(domain, held)
            await _at_once(self.host.toolstack.pause(await self.host.toolstack.inspect(domain.uuid)))
            return await self.host.toolstack.inspect(domain.uuid)

    async def unpause(self, ref: str) -> Domain:
        """Take back one `pause`."""
        domain = await self._known(ref)
        async with self._locked(domain, "unpause") as held:
            await self._recover(domain, held)
            await _at_once(self.host.toolstack.unpause(await self.host.toolstack.inspect(domain.uuid)))
            return await self.host.toolstack.inspect(domain.uuid)

    # Inside ----------------------------------------------------------------------------------------------------------

    async def _make(self, request: Birth, fresh: Fresh, *, wanted: Plan | None = None) -> Result:
        """Plan without a trace, and once more under the lock of the domain that is to be."""

        async def planned() -> Plan:
            return await plan_birth(self.host, request, fresh)

        if isinstance(request, CloneRequest):
            source = await self._known(request.domain)
            async with self._locked(source, "clone") as held:
                plan, first = await self._settled(held, planned)
                await _only_looking(held.hold([DomainUuid(plan.domain_uuid)]))
                recovered = await self._recover(newborn(plan), held) or first
                plan, again = await self._settled(held, planned)
                return await self._carry_out(_as_wanted(plan, wanted), held, again or recovered)
        domain = newborn(await _only_looking(planned()))
        async with self._locked(domain, "import") as held:
            plan, recovered = await self._settled(held, planned)
            return await self._carry_out(_as_wanted(plan, wanted), held, recovered)

    async def _settled(
        self, held: Locks, look: Callable[[], Awaitable[Shared]], *, mends: bool = False
    ) -> tuple[Shared, Recovered | None]:
        """Look at a domain once no operation on it is interrupted, under the locks of all that share images with it.

        An interrupted operation on one of those is not ended here, since that may end a guest that nobody spoke of.

        Args:
            held: the locks, that of the domain first.
            look: what is to be seen or planned. As long as it shows more neighbours, their locks are taken besides.
            mends: go on past a journal that nobody can read, and past interrupted operations of neighbours.

        Raises:
            Busy: a neighbour's lock is held, or an operation on it was interrupted.
        """
        recovered: Recovered | None = None
        for _ in range(LOOKS_MAX):
            with suppress(*([Damaged] if mends else [])):  # it is a finding of the doctor's, who repairs it
                recovered = await self._recover(held.domain, held, mends=mends) or recovered
            seen = await _only_looking(look())
            if not await _only_looking(held.hold_neighbours(seen.neighbours)):
                if not mends:
                    await _only_looking(self._require_none_due(held))
                return seen, recovered
        raise Busy(f"more and more domains share images with {held.domain.name}")

    async def _require_none_due(self, held: Locks) -> None:
        for uuid in held.others:
            due = journal.due(await journal.read(self.host, Store.of(self.host, uuid).journal))
            if due:
                with suppress(NotFound):  # of a domain that is gone it is in nobody's hands, and nobody goes on with it
                    name = (await self._known(uuid, or_being_made=True)).name
                    cause = f"{name}, which shares images with {held.domain.name}, has an interrupted operation: {due}"
                    raise Busy(cause, id="recovery-due", remedy=f"Run `xensnap recover {name}`.")

    async def _known(self, ref: str, *, or_being_made: bool = False) -> Domain:
        """A domain of the host.

        Args:
            ref: its name or UUID.
            or_being_made: it may also be one that an interrupted operation was making.
        """
        try:
            return await unborn.inspect(self.host, ref)
        except NotFound:
            for making in await self.unborn() if or_being_made else ():
                if ref in {making.uuid, making.name}:
                    return making
            raise

    async def _save_and_revert(
        self, uuid: DomainUuid, held: Locks, request: RevertRequest, recovered: Recovered | None
    ) -> Result:
        """Take a snapshot of what a revert gives up, and revert. The plan is known to be possible by now."""
        await self._carry_out(await _only_looking(self._part(uuid, _saving(request))), held, None)
        try:
            again = msgspec.structs.replace(request, save_current="", no_undo=True)
            return await self._carry_out(await _only_looking(self._part(uuid, again)), held, recovered)
        except XensnapError as error:
            saved = request.save_current
            cause = error.cause.removesuffix(NOTHING_CHANGED)
            cause = f"{cause}; the snapshot {saved!r} of what would be given up has been taken before, and stays"
            effect, remedy = error.effect, error.remedy
            if effect is Effect.NONE:
                instead = f"Try again without --save-current, or delete it: xensnap delete {uuid} {saved}."
                effect, remedy = Effect.DONE, f"{remedy} {instead}".strip()
            raise Failed(cause, id=error.id, remedy=remedy, effect=effect) from error

    async def _part(self, uuid: DomainUuid, request: Request) -> Plan:
        """A plan that is one of two, so that a risk may be the other's."""
        return _part_for(await observe(self.host, uuid, _places(request)), request, await self._fresh())

    async def _carry_out(self, plan: Plan, held: Locks, recovered: Recovered | None) -> Result:
        self._announce(plan)
        told = await hooks.before(self.host, plan)
        execution = Execution(self.host, plan, held.journal_of(DomainUuid(plan.domain_uuid)), self._watch)
        try:
            await execution.run()
        except XensnapError as error:
            await hooks.after_failure(self.host, plan, error)
            raise
        told += (*execution.left, *await hooks.after(self.host, plan, "done"))
        if _frees_images(plan):
            left = (await self._collect(plan.domain_uuid, held)).told()
        else:
            left = await self._let_go_older(plan, held)
        return Result(plan, (*plan.warnings, *told, *left), recovered)

    async def _let_go_older(self, plan: Plan, held: Locks) -> tuple[str, ...]:
        """What was given up before a revert goes, now that this one has kept what it gave up. What cannot is told."""
        keeping = given_up.kept_by(plan)
        if keeping is None or not keeping.older:
            return ()
        emptying: Plan | None = None
        try:
            view = await self._once_unplugged(plan.domain_uuid)
            emptying = plan_empty(view, EmptyRequest(keeping.older), await self._fresh())
            await Execution(self.host, emptying, held.journal, self._watch).run()
        except XensnapError as error:
            if emptying is not None and error.exit_code in MORE_TO_DO:
                raise
            names = ", ".join(map(repr, keeping.older))
            return (f"what was given up before, {names}, stays in the trash: {error.cause}",)
        paths = {disk.image.path for name in keeping.older for disk in view.trashed[name].snapshot.disks}
        return (await self._collect(plan.domain_uuid, held, only=frozenset(paths))).told()

    async def _once_unplugged(self, uuid: str) -> View:
        """The view of a domain once a guest that has just come back has let go of its emulated disks, if it does."""
        for _ in range(UNPLUG_LOOKS):
            view = await observe(self.host, uuid)
            if view.domain.state is not RunState.RUNNING or not any(
                len(each) > 1 for each in view.opened.tops.values()
            ):
                return view
            await self.host.machine.sleep(UNPLUG_PAUSE_S)
        return await observe(self.host, uuid)

    async def _same(self, plan: Plan) -> Plan:
        """Make the plan again from what is there now: it must come out the same, or somebody has changed something."""
        request = request_of(plan)
        if isinstance(request, RevertRequest) and request.save_current:
            cause = "this plan stands for two: what would be given up is saved first, which changes what is planned"
            remedy = "Plan `create` and `revert` one after the other, or use `revert --save-current` without a plan."
            raise Usage(cause, id="two-plans", remedy=remedy)
        view = await observe(self.host, plan.domain_uuid, _places(request))
        remedy = "Make a new plan with --dry-run --json."
        if digest(view) != plan.observed:
            cause = f"{plan.domain_name} is not what it was when the plan was made"
            raise Refused([Reason("plan-is-stale", cause, remedy, ExitCode.BUSY)])
        same = plan_for(view, request, Fresh(plan.operation, plan.planned_s))
        if without_secrets(same) != without_secrets(plan):
            raise Usage("the plan is not the one that was made for this request", id="plan-altered", remedy=remedy)
        return same

    async def _collect(self, uuid: str, held: Locks, *, only: frozenset[str] | None = None) -> Compaction:
        """Merge what can be merged, one image after the other; what cannot is only told.

        What a revert gave up is let go where it keeps something from being merged. `only` are the paths of the images
        that are spoken of, None for all.
        """
        merged: list[str] = []
        advice: list[str] = []
        failed: list[Kept] = []
        yields = only is None
        while True:
            try:
                view = await observe(self.host, uuid)
                others = {base.path for base in view.state.hidden} - only if only is not None else set()
                leave = frozenset({*others, *(left.base.path for left in failed)})
                plan = plan_collection(view, await self._fresh(), leave=leave)
                if plan is None and yields:
                    plan = plan_yielding(view, await self._fresh(), leave=leave)
            except XensnapError as error:
                unknown = f"what can be merged away is not known: {error.cause}"
                return Compaction(tuple(merged), tuple(failed), unknown, tuple(advice))
            if plan is None:
                stays = tuple(left for left in kept(view) if left.base.path not in others)
                return Compaction(tuple(merged), (*failed, *stays), advice=tuple(advice))
            try:
                execution = Execution(self.host, plan, held.journal, self._watch)
                await execution.run()
                merged += [plan.image] if plan.image else []
                advice += [*plan.warnings, *execution.left]
            except XensnapError as error:
                if error.exit_code in MORE_TO_DO:
                    raise
                failed += [Kept(base, error.cause, error.id) for base in view.state.hidden if base.path == plan.image]
                yields = yields and bool(plan.image)

    async def _recover(
        self, domain: Domain, held: Locks, *, abort: bool | None = None, mends: bool = False
    ) -> Recovered | None:
        """End an interrupted operation, under the locks of all whose images or stores it works on, too."""
        path = Store.of(self.host, domain.uuid).journal
        begun = journal.pending(await journal.read(self.host, path))
        while begun is not None and await _only_looking(held.hold_neighbours(beside(begun.plan))):
            begun = journal.pending(await journal.read(self.host, path))
        if begun is None:
            return None
        execution = Execution(self.host, begun.plan, held.journal_of(domain.uuid), self._watch, mends=mends)
        outcome = await execution.recover(abort=abort)
        await hooks.after(self.host, begun.plan, outcome.value)
        return Recovered(domain.name, begun.plan.summary, outcome, execution.why)

    async def _journals(self, domain: Domain) -> tuple[bytes, bytes]:
        """The journal of a domain, after the generation before it."""
        path = Store.of(self.host, domain.uuid).journal
        return await journal.read(self.host, f"{path}.1"), await journal.read(self.host, path)

    async def _fresh(self) -> Fresh:
        return Fresh(await self.host.machine.fresh_id(), await self.now_s())

    @asynccontextmanager
    async def _locked(self, domain: Domain, doing: str, *, wait_s: float | None = None) -> AsyncIterator[Locks]:
        """Hold the domain's lock. It is taken on a directory of ours, so it needs no rights on the images."""
        locks = Locks(self.host, domain, doing, self._wait_s if wait_s is None else wait_s)
        try:
            await _only_looking(locks.hold([domain.uuid]))
            self.held = True
            yield locks
        finally:
            await locks.release()


async def _only_looking(work: Awaitable[T]) -> T:
    """Before the journal says that an operation began, no error leaves anything behind, whatever a port fears."""
    try:
        return await work
    except XensnapError as error:
        raise nothing_changed(error) from error


async def _at_once(work: Awaitable[T]) -> T:
    """What has no journal leaves nothing to recover: who is not told what has come of it has to look."""
    try:
        return await work
    except XensnapError as error:
        if error.remedy or error.effect is Effect.NONE:
            raise
        remedy = "Look how the domain is now: `xensnap domains`. Ask again, if it is not as it should be."
        if isinstance(error, Unknown):
            raise Unknown(error.cause, id=error.id, remedy=remedy) from error
        raise Failed(error.cause, id=error.id, remedy=remedy, effect=error.effect) from error


def _as_wanted(plan: Plan, wanted: Plan | None) -> Plan:
    """The plan of a domain that is to be made. `Refused` where another one was wanted."""
    if wanted is not None and without_secrets(plan) != without_secrets(wanted):
        cause = f"{plan.domain_name} would be made otherwise than when the plan was made"
        remedy = "Make a new plan with --dry-run --json."
        raise Refused([Reason("plan-is-stale", cause, remedy, ExitCode.BUSY)])
    return plan


_REQUESTS: dict[str, type[Request]] = {
    "create": CreateRequest,
    "revert": RevertRequest,
    "delete": DeleteRequest,
    "prune": PruneRequest,
    "rename": RenameRequest,
    "edit": EditRequest,
    "pin": PinRequest,
    "unpin": UnpinRequest,
    "forget": ForgetRequest,
    "restore": RestoreRequest,
    "empty": EmptyRequest,
    "relocate": RelocateRequest,
    "adopt": AdoptRequest,
    "redefine": RedefineRequest,
    "export": ExportRequest,
    "graft": GraftRequest,
}


def _frees_images(plan: Plan) -> bool:
    """Whether it makes images superfluous, which are merged away afterwards."""
    if plan.verb == "create":
        request = request_of(plan)
        return isinstance(request, CreateRequest) and request.replace
    return plan.verb in ("delete", "prune", "empty")


def _places(request: Request) -> Places:
    """What the request speaks of that has to be looked at before planning."""
    match request:
        case CreateRequest():
            return places_of(request)
        case AdoptRequest():
            return Places(let_go=True)
        case RelocateRequest():
            return Places(directories=frozenset([request.to]), within=frozenset([request.to]), generations=True)
        case RevertRequest():
            return Places(configuration=request.use_config, configuration_file=request.config_file)
        case ExportRequest():
            return Places(frozenset({request.path}))
        case GraftRequest():
            return Places(directories=frozenset({request.directory}), archive=request.path)
        case _:
            return ANYWHERE


def plan_for(view: View, request: Request, fresh: Fresh) -> Plan:
    """The plan for a request, with the request in it. `Usage` where it accepts a risk that is not there."""
    plan = _part_for(view, request, fresh)
    taken = plan.accepted
    if isinstance(request, RevertRequest) and request.save_current:
        taken += _part_for(view, _saving(request), fresh).accepted
    risks.require_taken(request.accept, taken)
    return plan


def _saving(request: RevertRequest) -> CreateRequest:
    """The request for the snapshot of what a revert gives up."""
    return CreateRequest(request.save_current, given_up_for(request.name), accept=request.accept)


def _part_for(view: View, request: Request, fresh: Fresh) -> Plan:
    if view.state_problem:
        remedy = (
            f"Run `xensnap doctor --repair {view.domain.name}`: it is written anew from the journal and the records."
        )
        raise Refused([Reason("state-damaged", view.state_problem, remedy, ExitCode.SOMETHING_LEFT)])
    changed = [*_against_uuid(view)]
    if changed:
        raise Refused(changed)
    plan = _planned(view, request, fresh)
    text = msgspec.json.encode(request, order="deterministic").decode()
    return msgspec.structs.replace(plan, request=text, planned_s=fresh.now_s)


def _against_uuid(view: View) -> Iterator[Reason]:
    """Whatever is done to a domain must not be done past the snapshots that it had under another UUID."""
    for former in formers.shared(view):
        name = view.domain.name
        cause = f"the snapshots of {name} ({former.told}) are kept under the UUID {former.uuid}, and it has another now"
        remedy = f"`xensnap doctor --repair {view.domain.uuid}` lets it have them, where its disks are the same."
        yield Reason("uuid-changed", cause, remedy)


def _planned(view: View, request: Request, fresh: Fresh) -> Plan:
    match request:
        case CreateRequest():
            return (plan_replacement if request.replace else plan_create)(view, request, fresh)
        case RevertRequest():
            return (plan_going_back if request.trashed else plan_revert)(view, request, fresh)
        case DeleteRequest():
            return (plan_letting_go if request.metadata_only else plan_delete)(view, request, fresh)
        case PruneRequest():
            return plan_prune(view, request, fresh)
        case RenameRequest():
            return plan_rename(view, request, fresh)
        case EditRequest():
            return plan_edit(view, request, fresh)
        case PinRequest():
            return plan_pin(view, request, fresh)
        case UnpinRequest():
            return plan_unpin(view, request, fresh)
        case ForgetRequest():
            return plan_forget(view, request, fresh)
        case RestoreRequest():
            return plan_restore(view, request, fresh)
        case EmptyRequest():
            return plan_empty(view, request, fresh)
        case RelocateRequest():
            return plan_relocation(view, request, fresh)
        case AdoptRequest():
            back = request.name not in view.snapshots and let_go.known(view, request.name) is not None
            return (plan_taking_back if back else plan_adopt)(view, request, fresh)
        case RedefineRequest():
            return plan_redefine(view, request, fresh)
        case ExportRequest():
            return plan_export(view, request, fresh)
        case GraftRequest():
            return plan_graft(view, request, fresh)


def _birth_of(plan: Plan) -> Birth | None:
    """What was asked for, if the plan makes a domain."""
    match plan.verb:
        case "clone":
            return _decoded(plan, CloneRequest)
        case "import":
            return _decoded(plan, ImportRequest)
        case _:
            return None


def request_of(plan: Plan) -> Request:
    """What was asked for, where that is not to make a domain. `Usage` where the plan does not tell."""
    kind: type[Any] | None = _REQUESTS.get(plan.verb)
    request: Request = _decoded(plan, kind)
    return request


def _decoded(plan: Plan, kind: type[T] | None) -> T:
    remedy = "Make a new plan with --dry-run --json."
    if kind is None or not _OPERATION.fullmatch(plan.operation):
        raise Usage("this is no plan that could be asked for", id="bad-plan", remedy=remedy)
    try:
        return msgspec.json.decode(plan.request, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Usage(f"the plan does not tell what was asked for: {error}", id="bad-plan", remedy=remedy) from error


class Engine(Reader):
    """The same operations for callers without an event loop; see `AsyncEngine` for each."""

    def __init__(
        self, host: Hypervisor, *, watch: Watch = ignore, announce: Announce = silent, wait_s: float = 0.0
    ) -> None:
        super().__init__(host)
        self.aio = AsyncEngine(host, watch=watch, announce=announce, wait_s=wait_s)

    def unborn(self) -> tuple[Domain, ...]:
        """See AsyncEngine."""
        return self.host.run(self.aio.unborn())

    def bereft(self) -> tuple[DomainUuid, ...]:
        """See AsyncEngine."""
        return self.host.run(self.aio.bereft())

    def make(self, request: Birth) -> Result:
        """See AsyncEngine."""
        return self.host.run(self.aio.make(request))

    def plan_making(self, request: Birth) -> Plan:
        """See AsyncEngine."""
        return self.host.run(self.aio.plan_making(request))

    def view(self, ref: str) -> View:
        """See AsyncEngine."""
        return self.host.run(self.aio.view(ref))

    def maps(self, view: View) -> dict[str, Mapping[str, tuple[Extent, ...]]]:
        """See AsyncEngine."""
        return self.host.run(self.aio.maps(view))

    def verify(self, view: View) -> Looked:
        """See AsyncEngine."""
        return self.host.run(self.aio.verify(view))

    def plan(self, ref: str, request: Request) -> Plan:
        """See AsyncEngine."""
        return self.host.run(self.aio.plan(ref, request))

    def following(self, plan: Plan) -> tuple[Plan, ...]:
        """See AsyncEngine."""
        return self.host.run(self.aio.following(plan))

    def create(self, ref: str, request: CreateRequest) -> Result:
        """See AsyncEngine."""
        return self.host.run(self.aio.create(ref, request))

    def revert(self, ref: str, request: RevertRequest) -> Result:
        """See AsyncEngine."""
        return self.host.run(self.aio.revert(ref, request))

    def delete(self, ref: str, request: DeleteRequest) -> Result:
        """See AsyncEngine."""
        return self.host.run(self.aio.delete(ref, request))

    def perform(self, ref: str, request: Request) -> Result:
        """See AsyncEngine."""
        return self.host.run(self.aio.perform(ref, request))

    def apply(self, plan: Plan) -> Result:
        """See AsyncEngine."""
        return self.host.run(self.aio.apply(plan))

    def recover(self, ref: str, *, abort: bool | None = None) -> Recovered | None:
        """See AsyncEngine."""
        return self.host.run(self.aio.recover(ref, abort=abort))

    def undo(self, ref: str, *, accept: tuple[str, ...] = ()) -> Result:
        """See AsyncEngine."""
        return self.host.run(self.aio.undo(ref, accept=accept))

    def undoing(self, ref: str) -> Request:
        """See AsyncEngine."""
        return self.host.run(self.aio.undoing(ref))

    def audit(self, ref: str) -> tuple[Domain, tuple[Entry, ...]]:
        """See AsyncEngine."""
        return self.host.run(self.aio.audit(ref))

    def diagnose(self, ref: str, *, check: bool = False) -> Diagnosis:
        """See AsyncEngine."""
        return self.host.run(self.aio.diagnose(ref, check=check))

    def repair(self, ref: str, *, check: bool = False) -> Diagnosis:
        """See AsyncEngine."""
        return self.host.run(self.aio.repair(ref, check=check))

    def diagnose_stores_of_nobody(self, *, repair: bool = False) -> tuple[Diagnosis, ...]:
        """See AsyncEngine."""
        return self.host.run(self.aio.diagnose_stores_of_nobody(repair=repair))

    def compact(self, ref: str) -> Compaction:
        """See AsyncEngine."""
        return self.host.run(self.aio.compact(ref))

    def start(self, ref: str, *, paused: bool = False) -> Domain:
        """See AsyncEngine."""
        return self.host.run(self.aio.start(ref, paused=paused))

    def stop(self, ref: str) -> Domain:
        """See AsyncEngine."""
        return self.host.run(self.aio.stop(ref))

    def pause(self, ref: str) -> Domain:
        """See AsyncEngine."""
        return self.host.run(self.aio.pause(ref))

    def unpause(self, ref: str) -> Domain:
        """See AsyncEngine."""
        return self.host.run(self.aio.unpause(ref))
