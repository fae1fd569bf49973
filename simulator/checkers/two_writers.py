"""Whether an image is in danger from two sides: open twice, or changed while something else stands on it."""

import posixpath
from collections.abc import Iterator

from simulator.checkers import Finding
from simulator.checkers.leaks import files
from simulator.disk.chain import backing_path, shown
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2, Raw
from simulator.world import World


def open_twice(world: World) -> Iterator[Finding]:
    """Images that one process writes while another has them open at all."""
    names = {world.fs.find(path): path for path, _ in files(world.fs)}
    for number, opens in sorted(world.fs.opens.items()):
        pids = {entry.pid for entry in opens}
        if len(pids) > 1 and any(entry.writing for entry in opens):
            yield Finding("image-open-twice", names.get(number, f"inode {number}"), f"processes {sorted(pids)}")


def bases(fs: FileSystem) -> dict[str, tuple[str, ...]]:
    """Each file that something stands on, with what stands on it."""
    found: dict[str, tuple[str, ...]] = {}
    for path, inode in files(fs):
        if isinstance(inode.stored, Qcow2) and inode.stored.backing_name:
            base = posixpath.normpath(backing_path(path, inode.stored.backing_name))
            found[base] = (*found.get(base, ()), path)
    return found


def base_changed(before: FileSystem, after: FileSystem) -> Iterator[Finding]:
    """Images that stood below others and still do, but hold something else than they did.

    A commit into a base is such a change, too: only whoever asked for it can say that nothing else stood there.
    """
    kept = set(bases(before).items()) & set(bases(after).items())
    for base, overlays in sorted(kept):
        if before.find(base) is None or after.find(base) is None:
            continue
        old, new = before.inode(base).stored, after.inode(base).stored
        if isinstance(old, Raw | Qcow2) and isinstance(new, Raw | Qcow2) and shown((old,)) != shown((new,)):
            yield Finding("base-changed", base, f"{', '.join(overlays)} stand on it")
