"""What the store says of domains and their snapshots: the part of the engine that plans nothing and changes nothing.

It loads none of what plans and acts, so that a command that only lists answers at once.
"""

import msgspec

from xensnap.engine import lines, records
from xensnap.engine.records import Contents, Store
from xensnap.errors import NotFound
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain, DomainUuid


class Listing(msgspec.Struct, frozen=True):
    """What the store says of a domain. Reading it takes no lock and opens no image."""

    domain: Domain
    contents: Contents
    pending: str = ""

    @property
    def current(self) -> str | None:
        """The snapshot that the domain's present state comes from, if its record is still there."""
        current = self.contents.state.current
        return current if current in self.contents.snapshots else None


class AsyncReader:
    """Looks at the domains of one host.

    Args:
        host: the ports to look through.
    """

    def __init__(self, host: Hypervisor) -> None:
        self.host = host

    async def domains(self) -> tuple[Domain, ...]:
        """All domains of the host."""
        return await self.host.toolstack.domains()

    async def list(self, ref: str) -> Listing:
        """The snapshots of a domain. Changes nothing; `NotFound` without such a domain."""
        domain = await self._inspect(ref)
        contents = await records.load(self.host, domain.uuid, name=domain.name)
        return Listing(domain, contents, await self._due(Store.of(self.host, domain.uuid)))

    async def _inspect(self, ref: str) -> Domain:
        try:
            return await self.host.toolstack.inspect(ref)
        except NotFound:
            from xensnap.engine import unborn  # noqa: PLC0415 -- loads all steps, wanted only where there is no domain

            return await unborn.inspect(self.host, ref)

    async def formerly(self, domain: Domain) -> tuple[DomainUuid, ...]:
        """Under which other UUIDs there are snapshots of a domain of this name. Changes nothing."""
        from xensnap.engine import formers  # noqa: PLC0415 -- wanted only where a domain has no snapshots

        return await formers.of_domain(self.host, domain)

    async def now_s(self) -> int:
        """The host's clock: seconds since the epoch."""
        return await self.host.machine.now_ns() // 1_000_000_000

    async def _due(self, store: Store) -> str:
        """What waits for `recover`, in words. Whether anything does is known without understanding what."""
        try:
            data = await self.host.files.read(store.journal)
        except NotFound:
            return ""
        text = lines.last_text(data)
        if text is None or _Last.ends(text):
            return ""
        from xensnap.engine import journal  # noqa: PLC0415 -- loads all that an operation can consist of

        return journal.due(data)


class _Last(msgspec.Struct, frozen=True):
    """The kind of a journal's entry, and nothing else of it."""

    type: str = ""

    @staticmethod
    def ends(text: bytes) -> bool:
        """Whether this entry is the end of an operation, after which none is pending."""
        try:
            return msgspec.json.decode(text, type=_Last).type == "end"
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False


class Reader:
    """The same for callers without an event loop; see `AsyncReader` for each."""

    def __init__(self, host: Hypervisor) -> None:
        self.host = host
        self._looking = AsyncReader(host)

    def domains(self) -> tuple[Domain, ...]:
        """See AsyncReader."""
        return self.host.run(self._looking.domains())

    def list(self, ref: str) -> Listing:
        """See AsyncReader."""
        return self.host.run(self._looking.list(ref))

    def formerly(self, domain: Domain) -> tuple[DomainUuid, ...]:
        """See AsyncReader."""
        return self.host.run(self._looking.formerly(domain))

    def now_s(self) -> int:
        """See AsyncReader."""
        return self.host.run(self._looking.now_s())
