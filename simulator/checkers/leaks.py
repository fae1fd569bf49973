"""Whether space is lost: leaked clusters, damaged images, and files that nothing reaches."""

import posixpath
from collections.abc import Collection, Iterable, Iterator

from simulator.checkers import Finding
from simulator.disk.chain import OpenError, chain
from simulator.disk.files import Inode
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from simulator.disk.refcounts import errors, leaks
from xensnap.model import Layer


def files(fs: FileSystem) -> Iterator[tuple[str, Inode]]:
    """Every regular file by its path, in order."""
    for directory in sorted(fs.dirs):
        for name in fs.names(directory):
            path = posixpath.join(directory, name)
            found = fs.inodes.get(fs.find(path) or 0)
            if isinstance(found, Inode):
                yield path, found


def unclean(fs: FileSystem) -> Iterator[Finding]:
    """What `qemu-img check` would find in any image of the host."""
    for path, inode in files(fs):
        if isinstance(inode.stored, Qcow2):
            if leaks(inode.stored):
                yield Finding("leaked-clusters", path, f"{leaks(inode.stored)} clusters")
            if errors(inode.stored):
                yield Finding("corrupt-image", path, f"{errors(inode.stored)} errors")


def reached(fs: FileSystem, layers: Iterable[Layer]) -> frozenset[str]:
    """The paths of these layers and of all that they stand on. One that cannot be opened is reached all the same."""
    paths: set[str] = set()
    for layer in layers:
        paths.add(layer.path)
        try:
            paths.update(posixpath.normpath(link.path) for link in chain(fs, layer))
        except OpenError:
            continue
    return frozenset(paths)


def broken(fs: FileSystem, layers: Iterable[Layer]) -> Iterator[Finding]:
    """Layers whose chain does not open."""
    for layer in layers:
        try:
            chain(fs, layer)
        except OpenError as error:
            yield Finding("broken-chain", layer.path, str(error))


def orphaned(fs: FileSystem, directories: Collection[str], reachable: Collection[str]) -> Iterator[Finding]:
    """Files in these directories, and below them, that are none of the reachable ones."""
    for path, _ in files(fs):
        inside = any(path.startswith(directory.rstrip("/") + "/") for directory in directories)
        if inside and path not in reachable:
            yield Finding("orphan-file", path, "nothing reaches it")
