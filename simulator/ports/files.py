"""The `Files` port over a world."""

import errno
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from os import strerror

from simulator.core.unmodelled import NotModelled
from simulator.disk.files import Inode, Stored, length
from simulator.disk.filesystem import FileSystem, failed, split
from simulator.disk.image import Qcow2
from simulator.disk.qcow2_file import encoded
from simulator.ports import roles
from simulator.ports.roles import effect
from simulator.ports.seat import Seat
from simulator.world import World
from xensnap.errors import Busy, Effect, FileFailed, NotFound, Reason, Refused
from xensnap.hypervisor import WHOLE_BYTES_MAX, FileStat, Lock
from xensnap.model import FileId

_POLL_NS = 50_000_000

FsChange = Callable[[FileSystem], FileSystem]


def failure(error: OSError, what: str, path: str, known: Effect = Effect.NONE) -> FileFailed:
    """The operating system's answer as the ports tell it."""
    number = error.errno or errno.EIO
    return FileFailed(f"{what} {path}: {strerror(number)}", path=path, errno=number, effect=known)


class SimulatedFiles:
    """Names and bytes, with the durable kept apart from the written."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    async def read(self, path: str) -> bytes:
        """The whole content of a regular file: bytes of ours, or an image as the qcow2 file that it would be."""
        data = await self._content(path)
        if len(data) > WHOLE_BYTES_MAX:
            raise failure(OSError(errno.EFBIG, ""), "read", path)
        return data

    async def _content(self, path: str) -> bytes:
        fs = (await self._seat.look(effect(path, "read"), path)).fs
        try:
            stored = fs.inode(path).stored
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise NotFound(f"{path}: no such file") from None
            raise failure(error, "read", path) from None
        return _bytes(stored, path)

    async def read_part(self, path: str, *, offset: int, length_bytes: int) -> bytes:
        """These bytes of a regular file, as `read`."""
        return (await self._content(path))[offset : offset + length_bytes]

    async def create(self, path: str, data: bytes = b"", *, mode: int = 0o600) -> None:
        """A new file. A death halfway leaves it empty or short; a failure has removed it again."""
        halves = (lambda fs: fs.create(path, data[: len(data) // 2], mode=mode),) if data else ()
        await self._alter("create", "make", path, lambda fs: fs.create(path, data, mode=mode), halves)

    async def replace(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """Written beside, synced, renamed. A death halfway leaves the sibling, short or whole."""
        half, whole = self.beside(path, data, mode)
        await self._alter("replace", "replace", path, lambda fs: whole(fs).rename(_sibling(path), path), (half, whole))

    def beside(self, path: str, data: bytes, mode: int) -> tuple[FsChange, FsChange]:
        """What `replace` does first: the sibling, half of it written, and all of it."""
        sibling = _sibling(path)

        def half(fs: FileSystem) -> FileSystem:
            return _written(fs, sibling, data[: len(data) // 2], mode)

        def whole(fs: FileSystem) -> FileSystem:
            return _written(fs, sibling, data, mode).sync(sibling)

        return half, whole

    async def append(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """More at the end. A death halfway tears the tail."""

        def added(part: bytes) -> FsChange:
            def change(fs: FileSystem) -> FileSystem:
                fs = fs.create(path, mode=mode) if fs.find(path) is None else _alone(fs, path)
                return fs.update(path, lambda stored: _bytes(stored, path) + part)

            return change

        await self._alter(
            "append", "append to", path, added(data), (added(data[: len(data) // 2]),), known=Effect.UNKNOWN
        )

    async def write_part(self, path: str, data: bytes, *, offset: int) -> None:
        """Over what is there. A death halfway leaves half of it."""

        def over(part: bytes) -> Callable[[FileSystem], FileSystem]:
            def change(fs: FileSystem) -> FileSystem:
                old = _bytes(_alone(fs, path).inode(path).stored, path)
                if offset + len(data) > len(old):
                    raise failed(errno.EFBIG, path)
                return fs.store(fs.number(path), old[:offset] + part + old[offset + len(part) :], path)

            return change

        await self._alter(
            "write-part", "write to", path, over(data), (over(data[: len(data) // 2]),), known=Effect.UNKNOWN
        )

    async def sync(self, path: str, *, after: Callable[[], Awaitable[None]] | None = None) -> None:
        """Content durable."""
        if after is not None:
            await after()
        await self._alter("fsync", "sync", path, lambda fs: fs.sync(path), known=Effect.UNKNOWN)

    async def sync_dir(self, path: str) -> None:
        """Names durable."""
        try:
            await self._seat.alter(roles.DIR_FSYNC, path, lambda fs: fs.sync_dir(path))
        except OSError as error:
            raise failure(error, "sync", path, Effect.UNKNOWN) from None

    async def mkdir(self, path: str) -> None:
        """A directory and all above it. A death halfway leaves the upper ones."""
        missing: list[str] = []
        full = posixpath.normpath(path)
        fs = self._seat.world.fs
        while full not in fs.dirs and full != "/":
            missing.insert(0, full)
            full = posixpath.dirname(full)

        def made(paths: list[str]) -> FsChange:
            def change(fs: FileSystem) -> FileSystem:
                for one in paths:
                    fs = fs if one in fs.dirs else fs.mkdir(one)
                return fs

            return change

        try:
            partials = tuple(made(missing[:count]) for count in range(1, len(missing)))
            await self._seat.alter(roles.DIR_CREATE, path, made(missing), partials)
        except OSError as error:
            raise failure(error, "make", path) from None

    async def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        """At once, in the same file system; there is only one here.

        Where nothing may be replaced a death halfway leaves both names; done again, the old one goes.
        """

        def renamed(fs: FileSystem) -> FileSystem:
            if not replace and fs.find(new) is not None:
                if fs.find(new) != fs.find(old):
                    raise failed(errno.EEXIST, new)
                return fs.link_away(old)
            return fs.rename(old, new)

        halves = () if replace else (lambda fs: fs if fs.find(new) is not None else fs.link(old, new),)
        await self._alter("rename", "rename", old, renamed, halves)

    async def remove(self, path: str, *, inode: int = 0, generation: int = 0) -> None:
        """Unlinked; it lives on while a process has it open."""

        def removed(fs: FileSystem) -> FileSystem:
            number = fs.find(path) or inode
            if inode and (number != inode or (generation and _generation(fs, number) not in (0, generation))):
                raise failed(errno.ESTALE, path)
            return fs.link_away(path)

        await self._alter("remove", "remove", path, removed)

    async def names(self, path: str) -> tuple[str, ...]:
        """Sorted names."""
        return (await self._listed(path)).names(path)

    async def listing(self, path: str) -> Mapping[str, FileStat]:
        """Sorted names, and what is under each."""
        fs = await self._listed(path)
        stats = {name: _stat(fs, posixpath.join(path, name)) for name in fs.names(path)}
        return {name: found for name, found in stats.items() if found is not None}

    async def stat(self, path: str) -> FileStat | None:
        """What is under a name, links not followed."""
        return _stat((await self._seat.look(effect(path, "stat"), path)).fs, path)

    async def free_bytes(self, path: str) -> int:
        """What is left in the one file system there is."""
        fs = (await self._seat.look(roles.DIR_FREE, path)).fs
        if posixpath.normpath(path) not in fs.dirs:
            raise FileFailed(f"cannot measure {path}: {strerror(errno.ENOENT)}", path=path, errno=errno.ENOENT)
        return fs.free_bytes

    async def set_immutable(self, path: str, *, on: bool) -> None:
        """The flag, durable at once."""
        if not self._seat.world.fs.has_flags:
            raise Refused([_no_flag(path)])
        await self._alter("set-flag", "set the flag of", path, lambda fs: fs.flag(path, immutable=on))

    async def is_immutable(self, path: str) -> bool:
        """Whether the flag is set."""
        fs = (await self._seat.look(effect(path, "flag"), path)).fs
        try:
            return fs.has_flags and fs.inode(path).immutable
        except OSError as error:
            raise failure(error, "look at the flags of", path) from None

    async def generation(self, path: str) -> int:
        """Which of the files that had its inode number it is."""
        fs = (await self._seat.look(effect(path, "generation"), path)).fs
        return _generation(fs, fs.find(path) or 0)

    async def lock(self, path: str, *, note: bytes, wait_s: float = 0.0) -> Lock:
        """The lock, or `Busy` after virtual time has passed, in which orphans go on."""
        until = self._seat.world.clock.monotonic_ns + int(wait_s * 1e9)
        while True:
            try:
                number = await self._seat.change(effect(path, "take"), path, self._taken(path, note))
            except OSError as error:
                raise failure(error, "lock", path) from None
            if number is not None:
                return _Held(self._seat, path, number)
            world = self._seat.world
            if world.clock.monotonic_ns >= until:
                holder = _bytes(world.fs.inode(path).stored, path).decode("utf-8", "replace").strip()
                raise Busy(f"{path} is locked by {holder or 'a process that left no note'}", id="locked")
            await self._seat.wait(_POLL_NS)

    async def _listed(self, path: str) -> FileSystem:
        fs = (await self._seat.look(roles.DIR_READ, path)).fs
        if fs.find(path) in fs.inodes:
            raise failure(failed(errno.ENOTDIR, path), "list", path)
        return fs

    def _taken(self, path: str, note: bytes) -> Callable[[World], tuple[World, int | None]]:
        def change(world: World) -> tuple[World, int | None]:
            fs = world.fs
            number = fs.find(path)
            if number is None:
                fs = fs.create(path)
            elif number in fs.locks:
                return world, None
            fs = _alone(fs, path).locked(path, self._seat.pid)
            number = fs.number(path)
            return world.with_fs(fs.store(number, note, path)), number

        return change

    async def _alter(
        self,
        verb: str,
        what: str,
        path: str,
        change: FsChange,
        partials: tuple[FsChange, ...] = (),
        *,
        known: Effect = Effect.NONE,
    ) -> None:
        try:
            await self._seat.alter(effect(path, verb), path, change, partials)
        except OSError as error:
            if error.errno == errno.ENOENT and verb == "remove":
                raise NotFound(f"{path}: no such file") from None
            nothing = error.errno in (errno.ENOENT, errno.EMLINK)
            raise failure(error, what, path, Effect.NONE if nothing else known) from None


class _Held:
    """A lock that a simulated process holds."""

    def __init__(self, seat: Seat, path: str, number: int) -> None:
        self._seat = seat
        self._path = path
        self._number = number

    async def release(self) -> None:
        """Let go; children that inherited it hold it still."""
        pid, number = self._seat.pid, self._number
        await self._seat.alter(effect(self._path, "release"), self._path, lambda fs: fs.unlocked(pid, number))


def _stat(fs: FileSystem, path: str) -> FileStat | None:
    number = fs.find(path)
    if number is None:
        return None
    file = FileId(fs.device, number)
    found = fs.inodes.get(number)
    if found is None:
        place = fs.dirs[posixpath.normpath(path)]
        return FileStat(file, 4096, place.mode, is_dir=True, is_regular=False, uid=place.uid)
    if isinstance(found, Inode):
        return FileStat(file, length(found.stored), found.mode, uid=found.uid, links=found.links)
    return FileStat(file, len(found.target), 0o777, is_regular=False, uid=found.uid)


def _alone(fs: FileSystem, path: str) -> FileSystem:
    """The same; what has a second name is not written to under this one."""
    if fs.inode(path).links > 1:
        raise failed(errno.EMLINK, path)
    return fs


def _generation(fs: FileSystem, number: int) -> int:
    found = fs.inodes.get(number)
    return found.generation if isinstance(found, Inode) else 0


def _bytes(stored: Stored, path: str) -> bytes:
    if isinstance(stored, bytes):
        return stored
    if isinstance(stored, Qcow2):
        return encoded(stored)
    raise NotModelled(f"the bytes of the raw image {path}")


def _sibling(path: str) -> str:
    head, tail = split(path)
    return posixpath.join(head, f".{tail}.new")


def _written(fs: FileSystem, path: str, data: bytes, mode: int) -> FileSystem:
    """A sibling that an earlier death may have left is taken over."""
    if fs.find(path) is None:
        return fs.create(path, data, mode=mode)
    return fs.store(fs.number(path), data, path)


def _no_flag(path: str) -> Reason:
    return Reason("no-immutable-flag", f"{path}: the file system keeps no immutable flag", "Use one that does.")
