"""The doctor at work: look, repair one finding after the other under the domain's lock, and look again."""

from collections.abc import Sequence

import msgspec

from xensnap.engine import locks, records, trust
from xensnap.engine.doctor import Finding, Survey, diagnose, locked, plan_repair, survey
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


async def of_nobody(host: Hypervisor, *, repair: bool) -> tuple[Diagnosis, ...]:
    """What does not fit in stores of domains that the host does not know, each under its UUID; none where all does.

    Args:
        host: whose stores to look through.
        repair: also mend what can be.
    """
    told: list[Diagnosis] = []
    for uuid in await records.of_unknown(host, await host.toolstack.domains()):
        store = Store.of(host, uuid)
        if await host.files.names(store.directory) != ("lock",) or await trust.against_store(host, store):
            continue
        for finding in locked.of_nobody(await locks.look(host, store)):
            if not repair or not finding.repair:
                told.append(Diagnosis(uuid, uuid, (finding,)))
                continue
            try:
                await locks.remove(host, store)
                told.append(Diagnosis(uuid, uuid, (), (finding,)))
            except XensnapError as error:
                told.append(Diagnosis(uuid, uuid, (finding,), (), ((finding, error.cause),)))
    return tuple(told)


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
