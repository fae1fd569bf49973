"""A file system as one frozen value: what is written and what is durable are kept apart.

Operations take the value and give the next one; what the operating system would refuse raises `OSError` with its errno.
Nothing is copied: a fork is a reference. Content becomes durable by `sync`, names by `sync_dir`. POSIX promises no
more, and that ext4 often does more must not be what saves us, so a new name is lost in a crash although its file was
synced. Directories are made and never moved; symlinks are refused wherever they are met.
"""

import errno
import posixpath
from collections.abc import Callable
from functools import lru_cache
from os import strerror

import msgspec
from immutables import Map

from simulator.disk.files import Change, Directory, Inode, Open, Stored, Symlink, allocated
from simulator.disk.image import BLOCK

replace = msgspec.structs.replace


def failed(number: int, path: str) -> OSError:
    """The operating system's error for this path."""
    return OSError(number, strerror(number), path)


@lru_cache(maxsize=65536)
def split(path: str) -> tuple[str, str]:
    """Directory and name of an absolute path."""
    if path[:1] != "/":
        raise ValueError(f"{path!r}: the simulated host knows absolute paths only")
    if "//" in path or "/." in path or path[-1] == "/":
        path = posixpath.normpath(path)
    head, _, tail = path.rpartition("/")
    return head or "/", tail


class FileSystem(msgspec.Struct, frozen=True):
    """One file system.

    Attributes:
        changes: the operations on names that are not durable yet, oldest first.
        opens: which processes have which inode open.
        locks: the processes that share the lock on an inode; it is free when the last has died.
        nameless: inodes without a name that a process or a crash can still reach.
    """

    inodes: Map[int, Inode | Symlink] = Map()
    dirs: Map[str, Directory] = Map({"/": Directory(1)})
    changes: tuple[Change, ...] = ()
    opens: Map[int, tuple[Open, ...]] = Map()
    locks: Map[int, tuple[int, ...]] = Map()
    nameless: tuple[int, ...] = ()
    next_inode: int = 2
    next_change: int = 1
    used_bytes: int = 0
    capacity_bytes: int = 1 << 50
    device: int = 1
    has_flags: bool = True

    # --- looking -----------------------------------------------------------------------------------------------------

    def find(self, path: str) -> int | None:
        """The inode number that a name leads to; a directory's and a symlink's own, too."""
        head, tail = split(path)
        directory = self.dirs.get(head)
        if directory is None:
            return None
        return directory.entries.get(tail) if tail else directory.inode

    def number(self, path: str) -> int:
        """The inode number of a regular file."""
        number = self.find(path)
        if number is None:
            raise failed(errno.ENOENT, path)
        found = self.inodes.get(number)
        if isinstance(found, Inode):
            return number
        raise failed(errno.EISDIR if found is None else errno.ELOOP, path)

    def inode(self, path: str) -> Inode:
        """The regular file under this name."""
        found = self.inodes[self.number(path)]
        assert isinstance(found, Inode)
        return found

    def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory, sorted."""
        directory = self.dirs.get(path if path == "/" else posixpath.normpath(path))
        return tuple(sorted(directory.entries)) if directory else ()

    @property
    def free_bytes(self) -> int:
        """Space that is left."""
        return max(0, self.capacity_bytes - self.used_bytes)

    # --- content -----------------------------------------------------------------------------------------------------

    def create(self, path: str, stored: Stored = b"", *, mode: int = 0o600) -> "FileSystem":
        """A new file under a free name."""
        head, tail = split(path)
        directory = self.dirs.get(head)
        if directory is None:
            raise failed(errno.ENOENT, path)
        if not tail or tail in directory.entries:
            raise failed(errno.EEXIST, path)
        number = self.next_inode
        inode = Inode(stored, b"" if stored != b"" else None, mode, generation=number)
        after = self._charged(allocated(stored), path)
        return replace(
            after,
            inodes=self.inodes.set(number, inode),
            dirs=self.dirs.set(head, _with(directory, tail, number)),
            changes=(*self.changes, Change(self.next_change, linked=((head, tail, number),))),
            next_inode=number + 1,
            next_change=self.next_change + 1,
        )

    def store(self, number: int, stored: Stored, path: str = "") -> "FileSystem":
        """Another content for an inode, not durable. The immutable flag stops it, on open descriptors, too."""
        inode = self.inodes[number]
        assert isinstance(inode, Inode)
        if inode.immutable:
            raise failed(errno.EPERM, path)
        delta = allocated(stored) - allocated(inode.stored)
        after = self._charged(delta, path) if delta else self
        return replace(after, inodes=self.inodes.set(number, inode.holding(stored)))

    def update(self, path: str, change: Callable[[Stored], Stored]) -> "FileSystem":
        """The file with its content changed by a function."""
        number = self.number(path)
        inode = self.inodes[number]
        assert isinstance(inode, Inode)
        return self.store(number, change(inode.stored), path)

    def sync(self, path: str) -> "FileSystem":
        """The content of a file is durable."""
        return self.synced(self.number(path))

    def synced(self, number: int) -> "FileSystem":
        """The content of an inode is durable, whatever it is called."""
        inode = self.inodes[number]
        assert isinstance(inode, Inode)
        return self if inode.durable is None else replace(self, inodes=self.inodes.set(number, inode.synced()))

    def flag(self, path: str, *, immutable: bool) -> "FileSystem":
        """The immutable flag set or cleared, durably: it is inode metadata that a journal carries."""
        if not self.has_flags:
            raise failed(errno.ENOTTY, path)
        number = self.number(path)
        inode = self.inodes[number]
        assert isinstance(inode, Inode)
        if inode.immutable == immutable:
            return self
        return replace(self, inodes=self.inodes.set(number, replace(inode, immutable=immutable)))

    def _charged(self, delta: int, path: str) -> "FileSystem":
        used = self.used_bytes + delta
        if delta > 0 and used > self.capacity_bytes:
            raise failed(errno.ENOSPC, path)
        return replace(self, used_bytes=used)

    # --- names -------------------------------------------------------------------------------------------------------

    def mkdir(self, path: str, *, mode: int = 0o700) -> "FileSystem":
        """One new directory under a free name in an existing one."""
        head, tail = split(path)
        directory = self.dirs.get(head)
        if directory is None:
            raise failed(errno.ENOENT, path)
        if tail in directory.entries:
            raise failed(errno.EEXIST, path)
        after = self._charged(BLOCK, path)
        number = self.next_inode
        full = posixpath.join(head, tail)
        dirs = self.dirs.set(head, _with(directory, tail, number)).set(full, Directory(number, mode=mode))
        return replace(
            after,
            dirs=dirs,
            changes=(*self.changes, Change(self.next_change, linked=((head, tail, number),))),
            next_inode=number + 1,
            next_change=self.next_change + 1,
        )

    def symlink(self, path: str, target: str) -> "FileSystem":
        """A symbolic link under a free name, durable at once: only tests make them."""
        head, tail = split(path)
        directory = self.dirs[head]
        directory = replace(
            _with(directory, tail, self.next_inode), durable=directory.durable.set(tail, self.next_inode)
        )
        return replace(
            self,
            inodes=self.inodes.set(self.next_inode, Symlink(target)),
            dirs=self.dirs.set(head, directory),
            next_inode=self.next_inode + 1,
        )

    def link(self, path: str, to: str) -> "FileSystem":
        """A second name for a file, durable at once: only tests give one."""
        number, inode = self.number(path), self.inode(path)
        head, tail = split(to)
        directory = self.dirs[head]
        if tail in directory.entries:
            raise failed(errno.EEXIST, to)
        directory = replace(_with(directory, tail, number), durable=directory.durable.set(tail, number))
        inodes = self.inodes.set(number, replace(inode, links=inode.links + 1))
        return replace(self, inodes=inodes, dirs=self.dirs.set(head, directory))

    def link_away(self, path: str) -> "FileSystem":
        """The name is gone; the file lives on while a process has it open or a crash could bring the name back."""
        head, tail = split(path)
        number = self.find(path)
        if number is None:
            raise failed(errno.ENOENT, path)
        if posixpath.join(head, tail) in self.dirs:
            raise failed(errno.EISDIR, path)
        self._movable(number, path)
        directory = self.dirs[head]
        after = replace(
            self,
            dirs=self.dirs.set(head, replace(directory, entries=directory.entries.delete(tail))),
            changes=(*self.changes, Change(self.next_change, unlinked=((head, tail),), freed=(number,))),
            next_change=self.next_change + 1,
        )
        return after.lost_name(number)

    def rename(self, old: str, new: str) -> "FileSystem":
        """The file, or the symbolic link itself, has another name, which it takes from whoever had it."""
        found = self.find(old)
        number = self.number(old) if found is None or found not in self.inodes else found
        (old_head, old_tail), (new_head, new_tail) = split(old), split(new)
        if self.dirs.get(new_head) is None:
            raise failed(errno.ENOENT, new)
        if posixpath.join(new_head, new_tail) in self.dirs:
            raise failed(errno.EISDIR, new)
        self._movable(number, old)
        loser = self.find(new)
        if loser == number:
            return self
        if loser is not None:
            self._movable(loser, new)
        source = self.dirs[old_head]
        dirs = self.dirs.set(old_head, replace(source, entries=source.entries.delete(old_tail)))
        dirs = dirs.set(new_head, _with(dirs[new_head], new_tail, number))
        freed = () if loser is None else (loser,)
        change = Change(self.next_change, ((old_head, old_tail),), ((new_head, new_tail, number),), freed)
        after = replace(self, dirs=dirs, changes=(*self.changes, change), next_change=self.next_change + 1)
        return after if loser is None else after.lost_name(loser)

    def sync_dir(self, path: str) -> "FileSystem":
        """The names in a directory are durable. A move between two directories is one transaction in both.

        With it goes whatever was done before to the names that it touches, or an older change could come after it.
        """
        full = path if path == "/" else posixpath.normpath(path)
        if full not in self.dirs:
            raise failed(errno.ENOENT, path)
        left: list[Change] = []
        durable: list[Change] = []
        touched: set[tuple[str, str]] = set()
        for change in reversed(self.changes):
            places = {*change.unlinked, *((head, tail) for head, tail, _ in change.linked)}
            if places & touched or any(head == full for head, _ in places):
                touched |= places
                durable.append(change)
            else:
                left.append(change)
        if not durable:
            return self
        dirs = self.dirs
        for change in reversed(durable):
            dirs = applied(dirs, change)
        return replace(self, dirs=dirs, changes=tuple(reversed(left))).swept()

    def _movable(self, number: int, path: str) -> None:
        inode = self.inodes[number]
        if isinstance(inode, Inode) and inode.immutable:
            raise failed(errno.EPERM, path)

    def lost_name(self, number: int) -> "FileSystem":
        """An inode has lost a name; with the last one its space comes back, unless a process has it open."""
        inode = self.inodes[number]
        if isinstance(inode, Symlink):
            return self
        inodes = self.inodes.set(number, replace(inode, links=inode.links - 1))
        if inode.links > 1:
            return replace(self, inodes=inodes)
        used = self.used_bytes - (0 if number in self.opens else allocated(inode.stored))
        return replace(self, inodes=inodes, used_bytes=used, nameless=(*self.nameless, number))

    def swept(self) -> "FileSystem":
        """Forget the inodes that neither a process nor a crash can bring back."""
        if not self.nameless:
            return self
        kept = {number for change in self.changes for number in change.freed} | set(self.opens)
        gone = [number for number in self.nameless if number not in kept]
        inodes = self.inodes
        for number in gone:
            inodes = inodes.delete(number)
        return replace(self, inodes=inodes, nameless=tuple(n for n in self.nameless if n in kept))

    # --- processes ---------------------------------------------------------------------------------------------------

    def opened(self, path: str, pid: int, *, writing: bool) -> "FileSystem":
        """A process has this file open."""
        number = self.number(path)
        return replace(self, opens=self.opens.set(number, (*self.opens.get(number, ()), Open(pid, writing))))

    def closed(self, pid: int, path: str = "") -> "FileSystem":
        """A process has closed this file, or all of its files."""
        only = self.find(path) if path else None
        after = self
        for number, opens in self.opens.items():
            left = tuple(entry for entry in opens if entry.pid != pid)
            if len(left) != len(opens) and only in {None, number}:
                after = after._open_by(number, left)
        return after

    def having_open(self, pid: int, wanted: tuple[tuple[int, Open], ...]) -> "FileSystem":
        """A process has exactly these inodes open, and as often as it says."""
        after = self
        numbers = {number for number, _ in wanted}
        for number, opens in self.opens.items():
            if number not in numbers and any(entry.pid == pid for entry in opens):
                after = after._open_by(number, tuple(entry for entry in opens if entry.pid != pid))
        opened = after.opens
        for number in sorted(numbers):
            others = tuple(entry for entry in opened.get(number, ()) if entry.pid != pid)
            ours = tuple(entry for each, entry in wanted if each == number)
            opened = opened.set(number, (*others, *ours))
        return replace(after, opens=opened)

    def _open_by(self, number: int, left: tuple[Open, ...]) -> "FileSystem":
        if left:
            return replace(self, opens=self.opens.set(number, left))
        inode = self.inodes[number]
        used = self.used_bytes
        if isinstance(inode, Inode) and not inode.links:
            used -= allocated(inode.stored)
        return replace(self, opens=self.opens.delete(number), used_bytes=used).swept()

    def locked(self, path: str, pid: int) -> "FileSystem":
        """A process holds the lock on this file. It must be free."""
        number = self.number(path)
        assert number not in self.locks
        return replace(self, locks=self.locks.set(number, (pid,)))

    def inherited(self, parent: int, child: int) -> "FileSystem":
        """A child has inherited the locks of its parent."""
        locks = self.locks
        for number, holders in self.locks.items():
            if parent in holders:
                locks = locks.set(number, (*holders, child))
        return self if locks is self.locks else replace(self, locks=locks)

    def unlocked(self, pid: int, number: int | None = None) -> "FileSystem":
        """A process has let go of one lock, or died and let go of all."""
        locks = self.locks
        for locked, holders in self.locks.items():
            if pid in holders and number in {None, locked}:
                left = tuple(holder for holder in holders if holder != pid)
                locks = locks.set(locked, left) if left else locks.delete(locked)
        return self if locks is self.locks else replace(self, locks=locks)


def _with(directory: Directory, name: str, number: int) -> Directory:
    entries = directory.entries.set(name, number)
    return Directory(directory.inode, entries, directory.durable, directory.mode, directory.uid)


def applied(dirs: Map[str, Directory], change: Change) -> Map[str, Directory]:
    """Directories in which this change has become durable. One whose directory a crash took with it does nothing."""
    for head, tail in change.unlinked:
        directory = dirs.get(head)
        if directory is not None and tail in directory.durable:
            dirs = dirs.set(head, replace(directory, durable=directory.durable.delete(tail)))
    for head, tail, number in change.linked:
        directory = dirs.get(head)
        if directory is not None:
            dirs = dirs.set(head, replace(directory, durable=directory.durable.set(tail, number)))
    return dirs
