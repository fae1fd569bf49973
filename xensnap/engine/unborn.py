"""Domains that an interrupted operation was making: the host does not know them yet, and their journals do."""

from collections.abc import Iterable
from contextlib import suppress

from xensnap.engine import journal, records
from xensnap.engine.birth_steps import DefineDomain
from xensnap.engine.plan import Plan
from xensnap.engine.records import Store
from xensnap.errors import XensnapError
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain


async def unborn(host: Hypervisor, known: Iterable[Domain]) -> tuple[Plan, ...]:
    """The plans by which they are being made. Changes nothing; what cannot be read tells of none.

    Args:
        host: whose stores to look through.
        known: the domains that it knows.
    """
    found: list[Plan] = []
    for uuid in await records.of_unknown(host, known):
        with suppress(XensnapError):
            begun = journal.pending(await journal.read(host, Store.of(host, uuid).journal))
            if begun is not None and any(isinstance(step, DefineDomain) for step in begun.plan.finish):
                found.append(begun.plan)
    return tuple(found)
