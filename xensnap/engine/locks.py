"""The locks of one operation: that of its domain, and those of all that it shares images with.

They are taken in the order of their UUIDs, whoever works on whatever, so that nobody ever waits in a circle. Whom a
domain shares images with is only known after a look under its own lock. Then what comes later in that order is taken
besides; for what comes before it all are let go and taken anew, and whoever did that has to look once more.
"""

from collections.abc import Iterable

from xensnap.engine import trust
from xensnap.engine.journal import Journal
from xensnap.engine.records import Store
from xensnap.errors import Refused
from xensnap.hypervisor import Hypervisor, Lock
from xensnap.model import Domain, DomainUuid


class Locks:
    """What an operation on one domain holds, nothing at first.

    Args:
        host: where.
        domain: which is worked on.
        doing: the verb, for the note that tells others who holds a lock.
        wait_s: seconds to wait for each lock that somebody else holds.

    Attributes:
        domain: see above.
    """

    def __init__(self, host: Hypervisor, domain: Domain, doing: str, wait_s: float) -> None:
        self._host = host
        self.domain = domain
        self._doing = doing
        self._wait_s = wait_s
        self._locks: dict[DomainUuid, Lock] = {}
        self._journals: dict[DomainUuid, Journal] = {}

    @property
    def journal(self) -> Journal:
        """That of the domain that is worked on, as it is from when the lock was taken last."""
        return self.journal_of(self.domain.uuid)

    def journal_of(self, uuid: DomainUuid) -> Journal:
        """That of another one whose lock is held."""
        return self._journals[uuid]

    @property
    def others(self) -> tuple[DomainUuid, ...]:
        """Whose locks are held besides, in order."""
        return tuple(uuid for uuid in self._locks if uuid != self.domain.uuid)

    async def hold(self, uuids: Iterable[DomainUuid]) -> bool:
        """Hold these locks, too. Whether any was missing: then what was seen before may be old.

        Raises:
            Busy: somebody else holds one, and did so for as long as we wait. Then even our own may be let go.
            Refused: a store is not to be believed.
        """
        missing = set(uuids) - self._locks.keys()
        if not missing:
            return False
        wanted = sorted(missing | self._locks.keys())
        if self._locks and min(missing) < max(self._locks):
            await self.release()
        for uuid in wanted:
            if uuid not in self._locks:
                await self._take(uuid)
        return True

    async def hold_neighbours(self, uuids: Iterable[DomainUuid]) -> bool:
        """As `hold`, for those with a store. Nobody is at work on one without, and who begins finds us, and waits."""
        stores = {uuid: await self._host.files.stat(Store.of(self._host, uuid).directory) for uuid in uuids}
        return await self.hold(uuid for uuid, stat in stores.items() if stat is not None)

    async def release(self) -> None:
        """Let all go, the last one first."""
        while self._locks:
            uuid, lock = self._locks.popitem()
            del self._journals[uuid]
            await lock.release()

    async def _take(self, uuid: DomainUuid) -> None:
        store = Store.of(self._host, uuid)
        if reasons := await trust.against_store(self._host, store):
            raise Refused(reasons)
        await self._host.files.mkdir(store.directory)
        me = await self._host.machine.whoami()
        since_s = await self._host.machine.now_ns() // 10**9
        doing = self._doing if uuid == self.domain.uuid else f"{self._doing} {self.domain.name}"
        note = f"`{doing}`, process {me.pid} of {me.user} (boot {me.boot_id}), since epoch second {since_s}"
        self._locks[uuid] = await self._host.files.lock(store.lock, note=note.encode(), wait_s=self._wait_s)
        self._journals[uuid] = await Journal.under_lock(self._host, store.journal)
