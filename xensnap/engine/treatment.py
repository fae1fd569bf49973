"""The doctor at work: look, repair one finding after the other under the domain's lock, and look again."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import msgspec

from xensnap.engine import locks, records, trust, unborn
from xensnap.engine.doctor import Finding, Survey, diagnose, locked, nobodys, plan_repair, reach, survey
from xensnap.engine.execute import MORE_TO_DO, Execution, Watch, nothing_changed
from xensnap.engine.journal import Journal
from xensnap.engine.records import Store
from xensnap.errors import Effect, Failed, XensnapError
from xensnap.hypervisor import Hypervisor
from xensnap.model import DomainUuid

ROUNDS_MAX = 200
"""So many repairs in one go are enough; each can bring another finding to light."""


class Diagnosis(msgspec.Struct, frozen=True):
    """What was found with a domain, what of it was repaired, and what could not be, with the reason."""

    domain: str
    domain_uuid: str
    found: tuple[Finding, ...]
    repaired: tuple[Finding, ...] = ()
    failed: tuple[tuple[Finding, str], ...] = ()


async def examine(host: Hypervisor, ref: str, *, check: bool = False) -> Diagnosis:
    """Tell what does not fit. Changes nothing and takes no lock; `NotFound` without such a domain."""
    seen = await survey(host, ref, check=check)
    return Diagnosis(seen.view.domain.name, seen.view.domain.uuid, diagnose(seen))


async def of_the_lock(host: Hypervisor, uuid: DomainUuid) -> tuple[Finding, ...]:
    """What is wrong with the lock of a domain, and is right as soon as it is taken. Changes nothing."""
    store = Store.of(host, uuid)
    used = await host.files.stat(store.journal) is not None
    found = locked.of_lock(await locks.look(host, store), used=used)
    return tuple(finding for finding in found if finding.repair)


Recover = Callable[[DomainUuid], Awaitable[object]]
"""Brings an interrupted operation to its end."""


async def of_nobody(host: Hypervisor, *, recover: Recover | None = None) -> tuple[Diagnosis, ...]:
    """What does not fit in stores of domains that the host does not know, each under its UUID; none where all does.

    Args:
        host: whose stores to look through.
        recover: to mend what can be: what ends an operation that makes a domain. Without it nothing is changed.
    """
    known = await host.toolstack.domains()
    waiting = {each.uuid: each for each in await unborn.interrupted(host, known)}
    told: list[Diagnosis] = []
    mend: Callable[[], Awaitable[object]] | None
    for uuid in await records.of_unknown(host, known):
        store = Store.of(host, uuid)
        doubts = await trust.against_store(host, store)
        if uuid in waiting:
            found = (*reach.of_store(store, doubts), *nobodys.interrupted(waiting[uuid], await locks.look(host, store)))
            mend = partial(recover, uuid) if recover else None
        elif not doubts and await host.files.names(store.directory) == ("lock",):
            found = (*locked.of_nobody(await locks.look(host, store)),)
            mend = partial(locks.remove, host, store) if recover else None
        else:
            continue
        told += [await _mended(uuid, finding, mend) for finding in found]
    return tuple(told)


async def _mended(uuid: DomainUuid, finding: Finding, mend: Callable[[], Awaitable[object]] | None) -> Diagnosis:
    """One finding in a store of nobody's, and what has come of mending it, if it was to be and can be."""
    if not finding.repair or mend is None:
        return Diagnosis(uuid, uuid, (finding,))
    try:
        await mend()
    except XensnapError as error:
        return Diagnosis(uuid, uuid, (finding,), (), ((finding, error.cause),))
    return Diagnosis(uuid, uuid, (), (finding,))


async def treat(host: Hypervisor, ref: str, held: Journal, *, watch: Watch, check: bool = False) -> Diagnosis:
    """Repair what can be repaired without losing anything. The caller holds the domain's lock, and its journal.

    One that fails, and has put everything back, keeps nobody from the others, but from those that would give up what it
    would have brought back: while a lost record is not written anew, its children seem to come from nobody.

    Raises:
        Overtaken: somebody else is at work on the domain all the same.
        Failed: a repair could neither be finished nor undone; the journal stays open for `recover`.
        XensnapError: the domain cannot be looked at; its effect is done where something was repaired before.
    """
    repaired: list[Finding] = []
    failed: list[tuple[Finding, str]] = []
    tried: set[tuple[str, str]] = set()
    for _ in range(ROUNDS_MAX):
        seen = await _seen(host, ref, repaired, check=check)
        offered = diagnose(msgspec.structs.replace(seen, unmended=bool(failed)))
        waiting = {each.subject for each, _ in failed}  # what is found of these now may be another view of the same
        untried = (each for each in offered if each.repair and (each.id, each.subject) not in tried)
        finding = next((each for each in untried if each.subject not in waiting), None)
        if finding is None:
            found = diagnose(seen) if failed else offered
            return Diagnosis(seen.view.domain.name, seen.view.domain.uuid, found, tuple(repaired), tuple(failed))
        tried.add((finding.id, finding.subject))
        try:
            await Execution(host, plan_repair(seen, finding), held, watch).run()
            repaired.append(finding)
        except XensnapError as error:
            if error.exit_code in MORE_TO_DO:
                raise
            failed.append((finding, error.cause))
    left = await examine(host, ref, check=check)
    return msgspec.structs.replace(left, repaired=tuple(repaired), failed=tuple(failed))


async def _seen(host: Hypervisor, ref: str, repaired: Sequence[Finding], *, check: bool) -> Survey:
    """Looking leaves nothing behind; only what was repaired before it failed is done."""
    try:
        return await survey(host, ref, check=check)
    except XensnapError as error:
        if not repaired:
            raise nothing_changed(error) from error
        done = ", ".join(f"{each.id} ({each.subject})" for each in repaired)
        cause = f"{error.cause}; repaired before that: {done}"
        raise Failed(cause, id=error.id, remedy=_REST, effect=Effect.DONE) from error


_REST = "Run `xensnap doctor --repair` again: it goes on with what is left."
