"""The store of one domain: where its files are, and reading all of them. Steps do the writing, under the journal."""

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from errno import EACCES, EPERM
from typing import Protocol

import msgspec

from xensnap.engine import names, state, tree
from xensnap.engine.state import DomainState
from xensnap.errors import Damaged, FileFailed, NotFound, XensnapError
from xensnap.formats import snapshot_record, trashed
from xensnap.formats.trashed import Trashed
from xensnap.hypervisor import Files
from xensnap.model import Domain, DomainUuid, Snapshot

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class HasStore(Protocol):
    """A host, as much of it as the store needs."""

    root: str
    files: Files


class Store(msgspec.Struct, frozen=True):
    """Paths of one domain's files."""

    directory: str

    @classmethod
    def of(cls, host: HasStore, uuid: DomainUuid) -> "Store":
        """The store of the domain with this UUID."""
        return cls(f"{host.root}/{uuid}")

    @property
    def lock(self) -> str:
        """Held by who changes the domain, and by the children started meanwhile."""
        return f"{self.directory}/lock"

    @property
    def reserve(self) -> str:
        """A little space that is given up when there is none left, so that putting back never lacks it."""
        return f"{self.directory}/reserve"

    @property
    def journal(self) -> str:
        """What is being done, and what was."""
        return f"{self.directory}/journal"

    @property
    def state(self) -> str:
        """Current snapshot, ledger, hidden bases."""
        return f"{self.directory}/domain.libxl-json"

    def trashed(self, name: str) -> str:
        """The record of a snapshot in the trash."""
        return f"{self.directory}/{names.trashed_file(name)}"

    def record(self, name: str) -> str:
        """The record of a snapshot."""
        return f"{self.directory}/{names.record_file(name)}"


class Contents(msgspec.Struct, frozen=True):
    """All that a store holds, oldest snapshot first. `damaged` are records that could not be read.

    Where `state_problem` tells why `domain.libxl-json` cannot be read, `state` is an empty one, and `damaged` tells it.
    """

    state: DomainState
    snapshots: dict[str, Snapshot]
    damaged: tuple[Damaged, ...] = ()
    state_problem: str = ""
    trashed: Mapping[str, Trashed] = {}


async def of_unknown(host: HasStore, known: Iterable[Domain]) -> tuple[DomainUuid, ...]:
    """Whose stores there are besides those of the domains that the host knows; none where nobody can tell.

    Args:
        host: whose stores to look for.
        known: the domains that it knows.
    """
    there = {str(domain.uuid) for domain in known}
    with suppress(XensnapError):
        names = await host.files.names(host.root)
        return tuple(DomainUuid(name) for name in names if name not in there and _UUID.fullmatch(name))
    return ()


async def load(host: HasStore, uuid: DomainUuid, *, name: str = "") -> Contents:
    """Read the store of a domain; an empty one where there is none. What is damaged is told beside what is healthy.

    Args:
        host: where to read.
        uuid: the domain.
        name: its name, for the state of a domain that has none yet.

    Raises:
        FileFailed: we have no right to read the state.
    """
    store = Store.of(host, uuid)
    snapshots: dict[str, Snapshot] = {}
    damaged: list[Damaged] = []
    thrown: dict[str, Trashed] = {}
    has_state = False
    for file_name in await host.files.names(store.directory):
        if file_name == "domain.libxl-json":
            has_state = True
        elif names.is_record(file_name) or names.is_trashed(file_name):
            path = f"{store.directory}/{file_name}"
            try:
                if names.is_trashed(file_name):
                    known_as = trashed.decode(await host.files.read(path), path=path)
                    thrown[known_as.snapshot.name] = known_as
                    continue
                snapshot = snapshot_record.decode(await host.files.read(path), path=path)
                _require_right_place(snapshot, uuid, file_name, path)
                if snapshot.name not in snapshots or file_name == names.record_file(snapshot.name):
                    snapshots[snapshot.name] = snapshot
            except Damaged as error:
                damaged.append(error)
            except FileFailed as error:
                damaged.append(Damaged(error.cause, path=path, remedy="Put the record back as a file."))
            except NotFound:
                continue  # deleted since we listed the directory: readers take no lock
    known, problem = DomainState(domain_uuid=uuid, domain_name=name), ""
    if has_state:
        try:
            known = state.decode(await host.files.read(store.state), path=store.state)
            problem = "" if known.domain_uuid == uuid else f"{store.state} tells of the domain {known.domain_uuid}"
        except Damaged as error:
            problem = error.cause
        except FileFailed as error:
            if error.errno in (EACCES, EPERM):
                raise
            problem = error.cause
        if problem:
            damaged.append(Damaged(problem, path=store.state, remedy="Run `xensnap doctor --repair`."))
    return Contents(known, tree.by_name(snapshots.values()), tuple(damaged), problem, thrown)


def _require_right_place(snapshot: Snapshot, uuid: DomainUuid, file_name: str, path: str) -> None:
    """A record that was copied or renamed would be shown and never be deleted."""
    if snapshot.domain_uuid != uuid:
        cause = f"{path}: it tells of the domain {snapshot.domain_uuid} - at `$.domain_uuid`"
        raise Damaged(cause, path=path, remedy="Move it to the store of that domain.")
    right = names.record_file(snapshot.name)
    if file_name != right and file_name not in names.older_record_files(snapshot.name):
        cause = f"{path}: it tells of the snapshot {snapshot.name!r} - at `$.name`, which belongs into {right}"
        raise Damaged(cause, path=path, remedy="Rename it, or remove it if that one is there.")
