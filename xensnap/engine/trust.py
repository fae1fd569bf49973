"""Whether what is in a store can be believed: only where nobody but ourselves, and root, could have put it there.

A journal is carried out and a memory file is obeyed: as root xl runs what the head of one names as the device model
(Xen 4.17.7). Who can write either of them can do as root whatever he likes. So nothing is done to a domain whose store
belongs to somebody else, or is in his reach.
"""

from collections.abc import Iterator, Mapping

from xensnap.engine.records import Store
from xensnap.errors import Reason
from xensnap.hypervisor import FileStat, Hypervisor

_STICKY = 0o1000
_WRITTEN_BY_OTHERS = 0o002
_WRITTEN_BY_GROUP_OR_OTHERS = 0o022
_ENTERED_BY_GROUP_OR_OTHERS = 0o011


async def against_store(host: Hypervisor, store: Store) -> tuple[Reason, ...]:
    """Every reason not to believe what is in a store. Changes nothing; a store that is not there yet has none.

    Args:
        host: where it is.
        store: of which domain.
    """
    uid = (await host.machine.whoami()).uid
    places = {path: await host.files.stat(path) for path in (host.root, store.directory)}
    there = {path: stat for path, stat in places.items() if stat is not None}
    links = [path for path, stat in there.items() if not stat.is_dir and not stat.is_regular]
    if links:
        return tuple(Reason("store-not-trusted", f"{path} is a link, and none is followed", _MOUNT) for path in links)
    causes = [*foreign(there, uid)]
    if host.root in there:
        causes += in_reach(host.root, there[host.root])
    place = there.get(store.directory)
    if place is not None and place.is_dir:
        causes += _writable(store.directory, place, _WRITTEN_BY_GROUP_OR_OTHERS)
        found = await host.files.listing(store.directory)
        inside = {f"{store.directory}/{name}": stat for name, stat in found.items()}
        causes += foreign(inside, uid)
        if place.mode & _ENTERED_BY_GROUP_OR_OTHERS:
            causes += [cause for path, stat in inside.items() for cause in _open_file(path, stat)]
    return tuple(Reason("store-not-trusted", cause, REMEDY) for cause in causes)


_MOUNT = "Mount what it leads to in its place, or name that: --root."
REMEDY = "Look where it comes from; what is yours, make yours again: `chown`, and `chmod go-w`."


def against_file(path: str, stat: FileStat, place: FileStat | None, uid: int) -> str:
    """Why a file of ours outside of the store is not to be believed; empty where nothing speaks against it.

    Args:
        path: where it is.
        stat: what it is.
        place: the directory that it is in.
        uid: who we are.
    """
    causes = [*against_content(path, stat, place, uid)]
    if place is not None:
        causes += in_reach(path.rpartition("/")[0] or "/", place)
    return "; ".join(causes)


def against_content(path: str, stat: FileStat, place: FileStat | None, uid: int) -> Iterator[str]:
    """As `against_file`, but that another file could be put in its place."""
    yield from foreign({path: stat}, uid)
    if place is not None and place.mode & _ENTERED_BY_GROUP_OR_OTHERS:
        yield from _open_file(path, stat)


def foreign(stats: Mapping[str, FileStat], uid: int) -> Iterator[str]:
    """What belongs neither to us nor to root."""
    for path, stat in stats.items():
        if stat.uid not in (uid, 0):
            yield f"{path} belongs to the user {stat.uid}"


def in_reach(path: str, place: FileStat) -> Iterator[str]:
    """That everybody can put other files in the place of those in this directory.

    Not where he may only add some, as to /tmp. And a group is let pass: many a user is the only one of his.
    """
    if place.is_dir and not place.mode & _STICKY:
        yield from _writable(path, place, _WRITTEN_BY_OTHERS)


def _open_file(path: str, stat: FileStat) -> Iterator[str]:
    if stat.is_regular:
        yield from _writable(path, stat, _WRITTEN_BY_GROUP_OR_OTHERS)


def _writable(path: str, stat: FileStat, by: int) -> Iterator[str]:
    if stat.mode & by:
        yield f"others may write to {path}: its mode is {stat.mode:o}"
