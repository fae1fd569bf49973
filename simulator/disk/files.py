"""What a file system is made of: inodes, directories, and what in them is not yet durable."""

import msgspec
from immutables import Map

from simulator.disk.image import BLOCK, Qcow2, Raw

Stored = bytes | Raw | Qcow2
"""What a regular file can hold: bytes of ours, or an image."""


def allocated(stored: Stored) -> int:
    """Space that this takes in the file system."""
    if isinstance(stored, bytes):
        return -(-len(stored) // BLOCK) * BLOCK
    return stored.allocated_bytes


def length(stored: Stored) -> int:
    """Length of a file that holds this."""
    return len(stored) if isinstance(stored, bytes) else stored.length_bytes


class Inode(msgspec.Struct, frozen=True, tag="file"):
    """A regular file. `durable` is what a crash leaves of it, or None where all of `stored` is durable.

    `generation` tells it from other files that had its inode number; 0 where it has none.
    """

    stored: Stored = b""
    durable: Stored | None = None
    mode: int = 0o600
    links: int = 1
    immutable: bool = False
    generation: int = 0
    uid: int = 0

    def holding(self, stored: Stored) -> "Inode":
        """The file with another content, not synced."""
        durable = self.stored if self.durable is None else self.durable
        return Inode(stored, durable, self.mode, self.links, self.immutable, self.generation, self.uid)

    def synced(self) -> "Inode":
        """The file with all of its content durable."""
        return Inode(self.stored, None, self.mode, self.links, self.immutable, self.generation, self.uid)


class Symlink(msgspec.Struct, frozen=True, tag="symlink"):
    """A symbolic link. Nothing here ever follows one: it is there to be refused."""

    target: str
    uid: int = 0


class Change(msgspec.Struct, frozen=True):
    """One operation on the names of directories that a crash may undo. It is there as a whole or not at all.

    Attributes:
        number: grows with each operation, so that the two halves of a move between directories go together.
        unlinked: names that it took away, as (directory, name).
        linked: names that it gave, as (directory, name, inode).
        freed: inodes that lost a name by it.
    """

    number: int
    unlinked: tuple[tuple[str, str], ...] = ()
    linked: tuple[tuple[str, str, int], ...] = ()
    freed: tuple[int, ...] = ()


class Directory(msgspec.Struct, frozen=True):
    """Names. `durable` is what a crash leaves for certain; the changes since then stand in the file system."""

    inode: int
    entries: Map[str, int] = Map()
    durable: Map[str, int] = Map()
    mode: int = 0o700
    uid: int = 0


class Open(msgspec.Struct, frozen=True):
    """One process that has a file open.

    Attributes:
        locked: whether it holds QEMU's locks on it, which not every QEMU takes.
        unread: whether it lets nobody else read it, either.
    """

    pid: int
    writing: bool
    locked: bool = False
    unread: bool = False
