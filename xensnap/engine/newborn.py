"""What a domain that is not there yet has in common, whether it is cloned or imported. Planners here are pure."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b

import msgspec

from xensnap.engine import journal, names, records
from xensnap.engine.records import Store
from xensnap.engine.request import Fresh
from xensnap.engine.unborn import unborn
from xensnap.engine.view import Places, View, devices, free_bytes
from xensnap.errors import ExitCode, Reason
from xensnap.hypervisor import Hypervisor
from xensnap.model import Domain, DomainUuid, FileId, RunState


class Birthplace(msgspec.Struct, frozen=True):
    """The host as a domain finds it that is to be: its own store, which should be empty, and who is there already.

    `view` is of a domain without disks.
    """

    view: View
    known: tuple[Domain, ...]
    reserved: tuple[str, ...] = ()
    """Names of domains that an interrupted operation is going to make."""


async def observe_birthplace(host: Hypervisor, uuid: DomainUuid, name: str, places: Places) -> Birthplace:
    """Look at everything that the making of a domain depends on. Changes nothing.

    Args:
        host: where.
        uuid: of the new domain.
        name: of the new domain.
        places: where its files are to go.
    """
    store = Store.of(host, uuid)
    contents = await records.load(host, uuid, name=name)
    free = await free_bytes(host, (), places, store)
    taken = {path for path in sorted(places.files) if await host.files.stat(path) is not None}
    nobody: Mapping[FileId, str] = {}
    view = View(
        host=host.name,
        root=host.root,
        capabilities=host.capabilities,
        domain=Domain(uuid, name, RunState.OFF, ()),
        state=contents.state,
        snapshots=contents.snapshots,
        disks=(),
        images={},
        foreign=nobody,
        free_bytes=free,
        file_systems=await devices(host, free),
        taken=frozenset(taken),
        damaged=tuple(error.cause for error in contents.damaged),
        damaged_paths=frozenset(error.path for error in contents.damaged),
        pending=journal.due(await journal.read(host, store.journal)),
        trashed=contents.trashed,
        state_problem=contents.state_problem,
    )
    known = await host.toolstack.domains()
    others = [plan for plan in await unborn(host, known) if plan.domain_uuid != uuid]
    return Birthplace(view, known, tuple(plan.domain_name for plan in others))


def uuid_of(fresh: Fresh) -> DomainUuid:
    """A UUID for the domain that this operation makes; nobody has it, since nobody has the operation's own."""
    drawn = blake2b(f"domain of {fresh.operation}".encode(), digest_size=16).hexdigest()
    # The form of a random UUID (RFC 9562, version 4), which is how xl makes them, too.
    return DomainUuid(f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-a{drawn[17:20]}-{drawn[20:]}")


def description_file(directory: str, name: str) -> str:
    """Where the operator finds the description of a new domain, if he is to start it from one."""
    return f"{directory}/{name}.cfg"


def against_birth(place: Birthplace, directories: frozenset[str]) -> Iterator[Reason]:
    """All that keeps a domain of this name and UUID from being made, with disks in these directories."""
    view, domain = place.view, place.view.domain
    bad = names.domain_problem(domain.name)
    if bad:
        yield bad
    for other in place.known:
        if other.uuid == domain.uuid:
            cause = f"the domain {other.name} is here already, with the UUID {domain.uuid}"
            yield Reason("domain-exists", cause, "Give the new one a UUID of its own: --new-uuid.", ExitCode.BUSY)
        elif other.name == domain.name:
            cause = f"there is a domain {domain.name!r} already"
            yield Reason("domain-exists", cause, "Choose another name.", ExitCode.BUSY)
    if domain.name in place.reserved:
        cause = f"a domain {domain.name!r} is being made, by an operation that was interrupted"
        yield Reason("recovery-due", cause, f"Run `xensnap recover {domain.name}`.", ExitCode.BUSY)
    is_known = any(other.uuid == domain.uuid for other in place.known)
    if not is_known and (view.snapshots or view.trashed or view.damaged or view.state.operation):
        store = f"{view.root}/{domain.uuid}"
        cause = f"{store} has snapshots of a domain with this UUID, which the host does not know"
        yield Reason("store-exists", cause, "Give the new domain a UUID of its own, or move that directory away.")
    for directory in sorted(directories):
        if directory not in view.free_bytes:
            yield Reason("no-such-directory", f"there is no directory {directory}", "Make it, or name another.")
