"""What a crash of the whole machine leaves of a file system: all that was durable, and any part of the rest.

The rest is lost, kept, or a subset that a generator draws: each operation on names by itself, each file's content by
itself, and of a file that was only appended to, any prefix of what was added.
"""

from enum import StrEnum

from immutables import Map

from simulator.core.rng import Rng
from simulator.disk.files import Directory, Inode, Stored, Symlink, allocated
from simulator.disk.filesystem import FileSystem, applied, replace
from simulator.disk.image import BLOCK


class Unsynced(StrEnum):
    """What becomes of everything that was written and not synced."""

    LOST = "lost"
    KEPT = "kept"
    MIXED = "mixed"


def crashed(fs: FileSystem, unsynced: Unsynced, rng: Rng) -> tuple[FileSystem, Rng]:
    """The file system after the crash, nothing open and nothing locked, and the generator after its draws."""
    dirs, rng = _names(fs, unsynced, rng)
    dirs = _reachable(dirs)
    links: dict[int, int] = {}
    for directory in dirs.values():
        for number in directory.durable.values():
            links[number] = links.get(number, 0) + 1
    inodes: dict[int, Inode | Symlink] = {}
    used = BLOCK * (len(dirs) - 1)
    for number in sorted(links):
        inode = fs.inodes.get(number)
        if isinstance(inode, Inode):
            stored, rng = _content(inode, unsynced, rng)
            inode = Inode(stored, None, inode.mode, links[number], inode.immutable, inode.generation, inode.uid)
            used += allocated(stored)
        if inode is not None:
            inodes[number] = inode
    dirs = Map({path: replace(each, entries=each.durable) for path, each in dirs.items()})
    after = replace(fs, inodes=Map(inodes), dirs=dirs, changes=(), opens=Map(), locks=Map(), nameless=())
    return replace(after, used_bytes=used), rng


def _names(fs: FileSystem, unsynced: Unsynced, rng: Rng) -> tuple[Map[str, Directory], Rng]:
    dirs = fs.dirs
    for change in fs.changes:
        kept = unsynced is Unsynced.KEPT
        if unsynced is Unsynced.MIXED:
            rng, coin = rng.below(2)
            kept = bool(coin)
        if kept:
            dirs = applied(dirs, change)
    return dirs, rng


def _reachable(dirs: Map[str, Directory]) -> Map[str, Directory]:
    """Directories whose own name was lost take with them what was in them."""
    kept: dict[str, Directory] = {}
    for path in sorted(dirs):
        upper, _, name = path.rpartition("/")
        above = kept.get(upper or "/")
        if path == "/" or (above is not None and above.durable.get(name) == dirs[path].inode):
            kept[path] = dirs[path]
    return Map(kept)


def _content(inode: Inode, unsynced: Unsynced, rng: Rng) -> tuple[Stored, Rng]:
    if inode.durable is None or unsynced is Unsynced.KEPT:
        return inode.stored, rng
    if unsynced is Unsynced.LOST:
        return inode.durable, rng
    before, after = inode.durable, inode.stored
    if isinstance(before, bytes) and isinstance(after, bytes) and after.startswith(before):
        rng, more = rng.below(len(after) - len(before) + 1)
        return after[: len(before) + more], rng
    rng, coin = rng.below(2)
    return (after if coin else before), rng
