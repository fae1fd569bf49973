"""The locks of one operation: that of its domain, and those of all that it shares images with.

They are taken in the order of their UUIDs, whoever works on whatever, so that nobody ever waits in a circle. Whom a
domain shares images with is only known after a look under its own lock. Then what comes later in that order is taken
besides; for what comes before it all are let go and taken anew, and whoever did that has to look once more.
"""

import re
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import msgspec

from xensnap.engine import trust
from xensnap.engine.journal import Journal
from xensnap.engine.records import Store
from xensnap.errors import Refused, XensnapError
from xensnap.hypervisor import Hypervisor, Lock, Opener
from xensnap.model import Domain, DomainUuid


class Holder(NamedTuple):
    """Who holds a lock: what he does, which process he is, on which boot, and since which second of the epoch."""

    doing: str
    pid: int
    user: str
    boot_id: str
    since_s: int

    def note(self) -> bytes:
        """What the lock file says of him."""
        who = f"process {self.pid} of {self.user} (boot {self.boot_id})"
        return f"`{self.doing}`, {who}, since epoch second {self.since_s}".encode()

    @classmethod
    def of(cls, note: bytes) -> "Holder | None":
        """Whom a lock file tells of; None where it is not to be understood."""
        found = _NOTE.fullmatch(note.decode("utf-8", "replace"))
        return cls(found[1], int(found[2]), found[3], found[4], int(found[5])) if found else None


_NOTE = re.compile(r"`(.*)`, process ([0-9]+) of (.*) \(boot (.*)\), since epoch second ([0-9]+)", re.DOTALL)


class LockSeen(msgspec.Struct, frozen=True):
    """A lock as it was looked at, without being touched.

    Attributes:
        path: of its file.
        is_there: whether there is one.
        note: what it says, also when nobody holds it any more.
        openers: the other processes that have it open, as far as they can be seen: who holds it, and his heirs.
        boot_id: of this boot.
    """

    path: str
    is_there: bool = False
    note: bytes = b""
    openers: tuple[Opener, ...] = ()
    boot_id: str = ""

    @property
    def at_work(self) -> Holder | None:
        """Who holds it, if he has written so himself and lives."""
        holder = Holder.of(self.note)
        lives = holder is not None and holder.pid in {opener.pid for opener in self.openers}
        return holder if holder is not None and lives and holder.boot_id == self.boot_id else None


async def look(host: Hypervisor, store: Store) -> LockSeen:
    """Look at the lock of a domain. Changes nothing, and keeps nobody from it."""
    stat = await host.files.stat(store.lock)
    if stat is None or not stat.is_regular:
        return LockSeen(store.lock, is_there=stat is not None)
    note = b""
    openers: tuple[Opener, ...] = ()
    with suppress(XensnapError):
        note = (await host.files.read_part(store.lock, offset=0, length_bytes=_NOTE_BYTES_MAX)).strip(b"\0")
    with suppress(XensnapError):
        openers = await host.machine.openers(store.lock)
    boot_id = (await host.machine.whoami()).boot_id
    return LockSeen(store.lock, is_there=True, note=note, openers=openers, boot_id=boot_id)


_NOTE_BYTES_MAX = 4096


async def remove(host: Hypervisor, store: Store) -> None:
    """Take the lock away from a store with nothing else in it, or leave it where there is more by now.

    We hold it meanwhile, so that nobody does who could begin something; who waits for it, or comes, makes it anew.

    Raises:
        Busy: somebody holds it.
        FileFailed: it cannot be taken, or be removed.
    """
    lock = await host.files.lock(store.lock, note=await _note(host, "repair"))
    try:
        if await host.files.names(store.directory) == ("lock",):
            await host.files.remove(store.lock)
            await host.files.sync_dir(store.directory)
    finally:
        await lock.release()


async def _note(host: Hypervisor, doing: str) -> bytes:
    me = await host.machine.whoami()
    return Holder(doing, me.pid, me.user, me.boot_id, await host.machine.now_ns() // 10**9).note()


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
        doing = self._doing if uuid == self.domain.uuid else f"{self._doing} {self.domain.name}"
        note = await _note(self._host, doing)
        self._locks[uuid] = await self._host.files.lock(store.lock, note=note, wait_s=self._wait_s)
        self._journals[uuid] = await Journal.under_lock(self._host, store.journal)
