"""The executor: carries out plans, and brings what was interrupted to one of its two ends.

    begin (durable) ── prepare ──> decide (durable) ── finish ──> end (durable)
            └── anything goes wrong before `decide`: undo, in reverse, then end

The same few lines serve a failure that we saw and a crash that we only find the journal of.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from errno import ENOSPC
from os import strerror

import msgspec

from xensnap.engine import journal as journals
from xensnap.engine import names
from xensnap.engine import plan as plans
from xensnap.engine import state as states
from xensnap.engine.context import Context, directory
from xensnap.engine.journal import Begin, Claim, End, Journal, Overtaken
from xensnap.engine.live_steps import EndDomain
from xensnap.engine.others import Needs
from xensnap.engine.overlay_steps import RemoveImage
from xensnap.engine.plan import Plan
from xensnap.engine.records import Store, load
from xensnap.engine.relocate_steps import Park
from xensnap.engine.state import DomainState, HiddenBase, OurFile
from xensnap.engine.steps import Step
from xensnap.errors import Busy, Damaged, Effect, ExitCode, Failed, FileFailed, NotFound, Reason, Refused, XensnapError
from xensnap.hypervisor import Hypervisor
from xensnap.model import DomainUuid, RunState

REPAIR = "repair"
"""The verb of plans that mend what was found; only they may meet a state that cannot be read."""

RESERVE_BYTES = 64 << 10
"""Enough for the end of a journal, the state of a domain and a few records, each written beside the old one."""

NOTHING_CHANGED = "; nothing is changed"
"""What an error's cause ends with that feared worse."""

MORE_TO_DO = frozenset({ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN})
"""How an operation ends after which no other one may be begun: it, or who has overtaken it, has to end it first."""

DECIDED = "decided"
"""What the journal notes of a decision, for the day on which the state that tells of it is lost."""


class Outcome(StrEnum):
    """How an operation ended."""

    DONE = "done"
    UNDONE = "undone"


class Progress(msgspec.Struct, frozen=True):
    """What is being done now: step `number` of `total`, counted from 1; and how far it is, where it can tell."""

    number: int
    total: int
    text: str
    done_bytes: int | None = None
    total_bytes: int | None = None


Watch = Callable[[Progress], None]


def ignore(progress: Progress) -> None:
    """For callers who do not want to know."""


class Execution:
    """One operation on one host, from its first journal entry to its last. The caller holds the domain's lock.

    Before anything is done, undone, decided or ended the journal is asked whether that is still so. With `mends` it may
    be recovered although the state that tells whether it was decided cannot be read.

    Args:
        host: the ports to work through.
        plan: what to do.
        journal: of the domain, made under the lock that is held.
        watch: told before each step.
        mends: see above.

    Attributes:
        why: the reason for the end to which an interrupted one was brought.
        left: what stays as it is, against the plan, since another domain has come to need it.
    """

    def __init__(
        self, host: Hypervisor, plan: Plan, journal: Journal, watch: Watch = ignore, *, mends: bool = False
    ) -> None:
        self._host = host
        self._mends = mends or plan.verb == REPAIR
        self._plan = plan
        self._watch = watch
        uuid = DomainUuid(plan.domain_uuid)
        store = Store.of(host, uuid)
        self._journal = journal
        self._needs = Needs(host, uuid)
        self._at = Context(host, store, plan.operation, uuid, self._journal, self._tell, self._needed_by)
        self.why = ""
        self.left: list[str] = []
        self._total = len(plan.prepare) + 1 + len(plan.finish)
        self._now = Progress(0, self._total, plan.summary)

    async def run(self) -> None:
        """Carry out the plan.

        Raises:
            XensnapError: what went wrong first. Where everything was put back, it is that very error with nothing
                changed; otherwise `Failed` with effect done or unknown, and the journal stays open for `recover`.
            Overtaken: somebody else is at work on the domain. Nothing more was done, and nothing put back.
        """
        for step in (*self._plan.prepare, *self._plan.finish):
            await step.preflight(self._at)
        try:
            await self._begin()
        except Overtaken as error:
            raise Busy(error.cause, id=error.id, remedy=error.remedy) from error
        except XensnapError as error:
            if not await self._is_begun():
                raise nothing_changed(error) from error
            await self._give_up(error)
            return
        try:
            await self._forward(self._plan.prepare, first=1)
            await self._decide()
        except Overtaken:
            raise
        except XensnapError as error:
            await self._give_up(error)
            return
        await self._finish(self._plan.finish)

    async def recover(self, *, abort: bool | None = None) -> Outcome:
        """Bring an operation that was interrupted to its end.

        Args:
            abort: True to insist on undoing, False to insist on finishing; None to do what is usual: undo before the
                decision, finish after it.

        Raises:
            Refused: `abort` asks for what cannot be any more, or somebody else has what it needs.
            Failed: it could not be brought to an end now; the journal stays open, and the effect is never none.
            Overtaken: somebody else is at it.
        """
        try:
            await self._release_reserve()
            await self._journal.repair()
            await self._claim()
            await self._remove_half_written()
            return await self._conclude(abort=abort)
        except Failed as error:
            if error.exit_code in MORE_TO_DO or (self._mends and isinstance(error, Damaged)):
                raise
            raise _still_open(self._plan, error) from error

    def _tell(self, done_bytes: int, total_bytes: int) -> None:
        """The step under way knows how far it is."""
        self._watch(msgspec.structs.replace(self._now, done_bytes=done_bytes, total_bytes=total_bytes))

    async def _needed_by(self, path: str) -> str:
        """A domain may have been defined by hand, or got a disk, since the plan was made: no lock keeps that off."""
        stat = await self._host.files.stat(path)
        if stat is None:
            return ""
        user = await self._needs.user_of(stat.file)
        if user:
            self.left.append(f"{path} is left alone, since the domain {user} needs it now")
            await self._journal.note(self._plan.operation, self.left[-1])
        return user

    # Journal ---------------------------------------------------------------------------------------------------------

    async def _begin(self) -> None:
        me = await self._host.machine.whoami()
        await self._host.files.mkdir(self._at.store.directory)
        await self._reserve()
        await self._journal.begin(
            Begin(
                operation=self._plan.operation,
                plan=self._plan,
                time_ns=await self._host.machine.now_ns(),
                pid=me.pid,
                boot_id=me.boot_id,
                user=me.user,
            )
        )

    async def _is_begun(self) -> bool:
        """Whether anybody would find that it was begun. Where nobody can tell, it may have been."""
        with suppress(XensnapError):
            begun = journals.pending(await journals.read(self._host, self._at.store.journal))
            return begun is not None and begun.operation == self._plan.operation
        return True

    async def _claim(self) -> None:
        """Whoever had it before and still lives, stops. On a full disk that is not worth giving up for."""
        me = await self._host.machine.whoami()
        now_ns = await self._host.machine.now_ns()
        try:
            await self._journal.claim(Claim(self._plan.operation, now_ns, me.pid, me.boot_id, me.user))
        except FileFailed as error:
            if not _is_full(error):
                raise
            await self._journal.repair()

    async def _reserve(self) -> None:
        """Keep a little space, where there is some: it need not survive a power cut, for then the next one makes it."""
        if await self._host.files.stat(self._at.store.reserve) is None:
            with suppress(FileFailed):
                await self._host.files.create(self._at.store.reserve, b"\0" * RESERVE_BYTES)

    async def _release_reserve(self) -> None:
        """Give that space up: what puts back has to write, too."""
        with suppress(FileFailed, NotFound):
            await self._host.files.remove(self._at.store.reserve)

    async def _end(self, outcome: Outcome) -> None:
        now_ns = await self._host.machine.now_ns()
        await self._journal.end(End(self._plan.operation, outcome.value, now_ns))

    # Forward ---------------------------------------------------------------------------------------------------------

    async def _forward(self, steps: Sequence[Step], *, first: int) -> None:
        for number, step in enumerate(steps, first):
            text = step.says()
            self._now = Progress(number, self._total, text)
            self._watch(self._now)
            await self._journal.require_ours()
            await step.do(self._at)
            await self._journal.note(self._plan.operation, f"done: {text}")

    async def _decide(self) -> None:
        """The point of no return: from here on the operation will be finished, by us or by who comes after us."""
        self._watch(Progress(len(self._plan.prepare) + 1, self._total, "write down the decision"))
        await self._write_state(self._plan.state)
        await self._journal.note(self._plan.operation, DECIDED)

    async def _write_state(self, state: DomainState) -> None:
        text = states.encode(await _with_inodes(self._host, state))
        await self._journal.require_ours()
        await self._host.files.replace(self._at.store.state, text)
        await self._host.files.sync_dir(self._at.store.directory)

    async def _finish(self, steps: Sequence[Step], *, again: bool = False) -> None:
        first = len(self._plan.prepare) + 2
        try:
            if any(isinstance(step, RemoveImage | Park) for step in plans.each(tuple(steps))):
                await self._needs.look()  # once for all that goes, which may go side by side
            try:
                await self._forward(steps, first=first)
            except XensnapError as error:
                if not _is_full(error):
                    raise
                await self._release_reserve()  # what is decided is finished now rather than later
                await self._forward(steps, first=first)
            if again:
                # The record's name became durable with the decision, which is not written another time.
                await self._host.files.sync_dir(self._at.store.directory)
            await self._end(Outcome.DONE)
        except Overtaken:
            raise
        except XensnapError as error:
            await self._journal.require_ours()
            raise Failed(
                f"{self._plan.summary}: it is decided, but could not be finished: {error.cause}",
                id="not-finished",
                remedy="Remove the cause, then run `xensnap recover`.",
                effect=Effect.DONE,
            ) from error

    # Either way ------------------------------------------------------------------------------------------------------

    async def _give_up(self, error: XensnapError) -> None:
        """Raise what went wrong, unless the operation had to be finished all the same."""
        if await self._settle(error) is Outcome.UNDONE:
            raise (
                _guest_ended(self._plan, error) if await self._has_ended_guest() else nothing_changed(error)
            ) from error

    async def _settle(self, error: XensnapError) -> Outcome:
        """After an error of our own: which end can be reached?"""
        try:
            await self._journal.require_ours()
            await self._release_reserve()
            await self._journal.repair()
            await self._remove_half_written()
            return await self._conclude(abort=None)
        except Overtaken as second:
            raise second from error
        except XensnapError as second:
            raise Failed(
                f"{self._plan.summary}: {error.cause}; putting it back failed, too: {second.cause}",
                id="not-undone",
                remedy="Remove the cause, then run `xensnap recover`.",
                effect=Effect.UNKNOWN,
            ) from error

    async def _conclude(self, *, abort: bool | None) -> Outcome:
        self._at = msgspec.structs.replace(self._at, again=True)
        dying = await self._at.running()
        if dying is not None and dying.state is RunState.DYING:
            await self._host.toolstack.destroy(dying)  # nothing brings it back, and its QEMU may have the images open
        if await self._is_decided():
            if abort:
                raise Refused([_cannot_abort(self._plan)])
            self.why = "it had been decided already, so that undoing would lose what was done"
            repeated = tuple(step for step in self._plan.prepare if step.repeats)
            await self._finish((*repeated, *self._plan.finish), again=True)
            return Outcome.DONE
        if abort is False and not await self._can_go_on():
            raise Refused([_cannot_finish(self._plan)])
        if abort is not False:
            for step in self._plan.prepare:
                await self._journal.require_ours()
                await step.halt(self._at)
        if await self._must_go_on() or abort is False:
            self.why = "that was asked for" if abort is False else "a guest works on what it has made already"
            await self._forward(self._plan.prepare, first=1)
            await self._decide()
            await self._finish(self._plan.finish)
            return Outcome.DONE
        self.why = "that was asked for" if abort else "it had not been decided, and everything could be put back"
        if await self._has_ended_guest():
            self.why = f"{self.why} but the guest, which it has ended"
        for step in reversed(self._plan.prepare):
            await self._journal.require_ours()
            await step.undo(self._at)
        await self._remember_what_remains()
        await self._end(Outcome.UNDONE)
        return Outcome.UNDONE

    async def _is_decided(self) -> bool:
        """By the state, which is written at once. Where that is lost, the journal knows unless it was cut short."""
        path = self._at.store.state
        try:
            return states.decode(await self._host.files.read(path), path=path).operation == self._plan.operation
        except (NotFound, Damaged) as error:
            if isinstance(error, Damaged) and not self._mends:
                raise
            if DECIDED not in await self._journal.notes(self._plan.operation):
                return False
            if isinstance(error, NotFound):
                await self._write_state(self._plan.state)
            return True

    async def _can_go_on(self) -> bool:
        for step in self._plan.prepare:
            if not await step.can_go_on(self._at):
                return False
        return True

    async def _must_go_on(self) -> bool:
        if not await self._can_go_on():
            return False
        for step in self._plan.prepare:
            if await step.must_go_on(self._at):
                return True
        return False

    async def _has_ended_guest(self) -> bool:
        """Whether the guest had to end before the decision, has, and cannot be brought back."""
        ends = any(isinstance(step, EndDomain) for step in plans.each(self._plan.prepare))
        return ends and await self._at.running() is None

    async def _remember_what_remains(self) -> None:
        """Overlays that a guest works on by now cannot be taken from it; what they stand on becomes a hidden base."""
        hidden: list[HiddenBase] = []
        ours: list[OurFile] = []
        for step in plans.each(self._plan.prepare):
            for left in await step.remains(self._at):
                hidden.append(left.base)
                ours.append(left.overlay)
        if not ours:
            return
        before = (await load(self._host, self._at.domain_uuid, name=self._plan.domain_name)).state
        known = {entry.path for entry in before.ours}
        after = msgspec.structs.replace(
            before,
            hidden=tuple(sorted({*before.hidden, *hidden})),
            ours=(*before.ours, *(entry for entry in ours if entry.path not in known)),
        )
        await self._write_state(after)

    async def _remove_half_written(self) -> None:
        """What `Files.replace` was writing when the process died: anything in the store, which is ours alone.

        Beside the images other domains have copies of their own, and somebody may be writing one just now.
        """
        files, store = self._host.files, self._at.store.directory
        left = [f"{store}/{name}" for name in await files.names(store) if name.startswith(".")]
        left = [path for path in left if path.endswith(names.NEW_FILE)]
        beside = map(names.half_written, sorted(plans.copies(self._plan)))
        left += [path for path in beside if await files.stat(path) is not None]
        for path in left:
            await files.remove(path)
        for place in dict.fromkeys(map(directory, left)):
            await files.sync_dir(place)


def _is_full(error: XensnapError) -> bool:
    return (isinstance(error, FileFailed) and error.errno == ENOSPC) or strerror(ENOSPC) in error.cause


async def _with_inodes(host: Hypervisor, state: DomainState) -> DomainState:
    """The ledger with the identity of files that did not exist yet when the plan was made."""
    ours: list[OurFile] = []
    for entry in state.ours:
        stat = None if entry.inode else await host.files.stat(entry.path)
        if stat is not None:
            generation = await host.files.generation(entry.path)
            entry = msgspec.structs.replace(entry, inode=stat.file.inode, generation=generation)  # noqa: PLW2901
        ours.append(entry)
    return msgspec.structs.replace(state, ours=tuple(ours))


def nothing_changed(error: XensnapError) -> XensnapError:
    """The error as it came, if it says already that nothing changed; else one that says so."""
    if error.effect is Effect.NONE:
        return error
    return Failed(f"{error.cause}{NOTHING_CHANGED}", id=error.id, remedy=error.remedy)


def _guest_ended(plan: Plan, error: XensnapError) -> Failed:
    """The error of a plan whose guest had to end before anything was decided: that alone cannot be put back."""
    cause = error.cause.removesuffix(NOTHING_CHANGED)
    cause = f"{cause}; the guest has been ended, since its memory could not be saved, and all else is put back"
    remedy = f"{error.remedy} Start it from its disks: xensnap domain start {plan.domain_name}.".strip()
    return Failed(cause, id=error.id, remedy=remedy, effect=Effect.DONE)


def _still_open(plan: Plan, error: XensnapError) -> Failed:
    cause = f"{plan.summary}: it was interrupted, and cannot be brought to its end now: {error.cause}"
    remedy = f"{error.remedy or 'Remove the cause.'} Then run `xensnap recover`."
    return Failed(cause, id=error.id, remedy=remedy, effect=Effect.UNKNOWN)


def _cannot_finish(plan: Plan) -> Reason:
    return Reason(
        "cannot-finish",
        f"{plan.summary}: what it needs cannot be had any more, such as the memory of that moment",
        "Run `xensnap recover` without --resume to undo it.",
    )


def _cannot_abort(plan: Plan) -> Reason:
    return Reason(
        "decided-already",
        f"{plan.summary}: it is past its point of no return and cannot be undone",
        "Run `xensnap recover` without --abort to finish it.",
    )
