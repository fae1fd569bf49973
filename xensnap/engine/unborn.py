"""Operations that were interrupted on domains that the host does not know: it does not yet, or does no more.

One that makes its domain can be brought to its end without it. Any other changes a domain that is gone, and waits until
the host knows that again.
"""

from collections.abc import Iterable

import msgspec

from xensnap.engine import journal, records
from xensnap.engine.birth_steps import DefineDomain
from xensnap.engine.journal import Begin
from xensnap.engine.plan import Plan
from xensnap.engine.records import Store
from xensnap.errors import NotFound, Reason, XensnapError
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain, DomainUuid


async def inspect(host: Hypervisor, ref: str) -> Domain:
    """A domain that the host knows. Changes nothing.

    Args:
        host: where.
        ref: name, UUID or domid.

    Raises:
        NotFound: there is no such domain; it also tells of an interrupted operation on one, if there is one.
    """
    try:
        return await host.toolstack.inspect(ref)
    except NotFound as error:
        raise _told_of(error, ref, await interrupted(host, await host.toolstack.domains())) from error


class Interrupted(msgspec.Struct, frozen=True):
    """What such an operation has left.

    Attributes:
        store: where its journal is.
        uuid: of its domain.
        begun: the operation; None where nobody can tell whether there is one.
        problem: why nobody can.
    """

    store: Store
    uuid: DomainUuid
    begun: Begin | None = None
    problem: XensnapError | None = None

    @property
    def making(self) -> Plan | None:
        """The plan, if it makes the domain."""
        if self.begun is None or not any(isinstance(step, DefineDomain) for step in self.begun.plan.finish):
            return None
        return self.begun.plan

    def is_of(self, ref: str) -> bool:
        """Whether a UUID or a name means its domain, as far as that is known."""
        return ref == self.uuid or (self.begun is not None and ref == self.begun.plan.domain_name)


async def interrupted(host: Hypervisor, known: Iterable[Domain]) -> tuple[Interrupted, ...]:
    """All of them, and each store of which nobody can tell. Changes nothing.

    Args:
        host: whose stores to look through.
        known: the domains that it knows.
    """
    found: list[Interrupted] = []
    for uuid in await records.of_unknown(host, known):
        store = Store.of(host, uuid)
        try:
            begun = journal.pending(await journal.read(host, store.journal))
        except XensnapError as error:
            stat = await host.files.stat(store.directory)
            if stat is not None and stat.is_dir:
                found.append(Interrupted(store, uuid, problem=error))
            continue
        if begun is not None:
            found.append(Interrupted(store, uuid, begun))
    return tuple(found)


async def unborn(host: Hypervisor, known: Iterable[Domain]) -> tuple[Plan, ...]:
    """The plans by which such domains are being made. Changes nothing; see `interrupted`."""
    return tuple(each.making for each in await interrupted(host, known) if each.making)


def waits(it: Interrupted) -> Reason:
    """What there is to do for it, and why `recover` does not do it where it does not. Pure."""
    if it.begun is None:
        assert it.problem is not None, "one of the two is there"
        cause = f"nobody can tell what {it.store.journal} waits for, of a domain that the host does not know"
        return Reason("journal-damaged", f"{cause}: {it.problem.cause}", it.problem.remedy)
    told = f"not at its end yet: {it.begun.plan.summary}, by process {it.begun.pid} of {it.begun.user}"
    if it.making:
        return Reason("recovery-due", told, f"Run `xensnap recover {it.uuid}`.")
    cause = f"{told}; it cannot be brought to its end, because the host knows no domain with the UUID {it.uuid}"
    return Reason("interrupted-of-nobody", cause, again(it.uuid, it.store))


def again(uuid: DomainUuid, store: Store) -> str:
    """How an operation on a domain that is gone comes to its end."""
    known = f'Let the host know the domain again, with uuid = "{uuid}" in its file, and run `xensnap recover {uuid}`.'
    return f"{known} If it is gone for good, move {store.directory} away."


def _told_of(error: NotFound, ref: str, all_of_them: Iterable[Interrupted]) -> NotFound:
    """The error of a host that knows no such domain, which also tells of an operation that waits for it. Pure."""
    for it in all_of_them:
        if it.is_of(ref):
            reason = waits(it)
            return NotFound(f"{error.cause}; {reason.cause}", id=reason.id, remedy=reason.remedy)
    return error
