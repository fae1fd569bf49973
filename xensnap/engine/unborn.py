"""Domains that an interrupted operation was making: the host does not know them yet, and their journals do."""

import re
from collections.abc import Iterable
from contextlib import suppress

from xensnap.engine import journal
from xensnap.engine.birth_steps import DefineDomain
from xensnap.engine.plan import Plan
from xensnap.engine.records import Store
from xensnap.errors import XensnapError
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain, DomainUuid

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def unborn(host: Hypervisor, known: Iterable[Domain]) -> tuple[Plan, ...]:
    """The plans by which they are being made. Changes nothing; what cannot be read tells of none.

    Args:
        host: whose stores to look through.
        known: the domains that it knows.
    """
    there = {str(domain.uuid) for domain in known}
    found: list[Plan] = []
    names: tuple[str, ...] = ()
    with suppress(XensnapError):
        names = await host.files.names(host.root)
    for name in names:
        if name not in there and _UUID.fullmatch(name):
            with suppress(XensnapError):
                begun = journal.pending(await journal.read(host, Store.of(host, DomainUuid(name)).journal))
                if begun is not None and any(isinstance(step, DefineDomain) for step in begun.plan.finish):
                    found.append(begun.plan)
    return tuple(found)
