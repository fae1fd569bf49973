"""Names and bytes on the file systems of this machine, through the operating system's own calls.

Nothing is followed that could lead elsewhere: files are opened with O_NOFOLLOW and made with O_EXCL, mode 0600, in
directories of mode 0700. There are two exceptions: the immutable flag, which belongs on the image itself, not on a link
to it; and making the names in a directory durable, which an operator may well have put behind a link.
Locks are flocks on descriptors of ours; `held` lists them, so that programs we start inherit them.
"""

# ruff: noqa: FBT001, FBT003, PTH102, PTH104, PTH108, PTH112, PTH116, PTH118, PTH120, PTH208 -- descriptors and flags

import contextlib
import errno
import fcntl
import os
import re
import stat
import struct
from collections.abc import Awaitable, Callable, Iterator, Mapping
from time import monotonic

from xensnap.backends.local.machine import openers_of
from xensnap.backends.local.waiting import loop
from xensnap.errors import Busy, Effect, FileFailed, NotFound, Reason, Refused
from xensnap.hypervisor import WHOLE_BYTES_MAX, FileStat
from xensnap.model import FileId

# _IOR('f', 1, long), _IOW('f', 2, long) and _IOR('v', 1, long) of linux/fs.h; a long's size is part of the number.
_LONG = struct.calcsize("l")
_GET_FLAGS = 2 << 30 | _LONG << 16 | ord("f") << 8 | 1
_SET_FLAGS = 1 << 30 | _LONG << 16 | ord("f") << 8 | 2
_GET_GENERATION = 2 << 30 | _LONG << 16 | ord("v") << 8 | 1
_IMMUTABLE = 0x10
_NO_FLAGS = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_FLAG_DENIED = _NO_FLAGS | {errno.EPERM, errno.EACCES, errno.EROFS}

_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NOTE_BYTES_MAX = 4096
_WAIT_S_MIN, _WAIT_S_MAX = 0.002, 0.1


class LocalLock:
    """A flock that we hold. It ends when the last descriptor of this opening is closed, ours or an heir's."""

    def __init__(self, held: list[int], fd: int) -> None:
        self._held = held
        self._fd = fd

    async def release(self) -> None:
        """Close our descriptor. Never LOCK_UN: that would take the lock from children that still work under it."""
        if self._fd in self._held:
            self._held.remove(self._fd)
            os.close(self._fd)


class LocalFiles:
    """The `Files` port on this machine.

    Args:
        sleep: waits so many seconds, for `lock`.

    Attributes:
        held: descriptors of the locks that are held, for the programs we start.
    """

    def __init__(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        self.held: list[int] = []
        self._sleep = sleep

    async def read(self, path: str) -> bytes:
        """See `Files.read`."""
        with _telling(path, "read"), _opened(path, os.O_RDONLY) as fd:
            length = _regular(fd, path)
            _require_small(length, path)
            parts, left = [], WHOLE_BYTES_MAX + 1
            while left and (part := os.read(fd, min(length + 1, left))):
                parts.append(part)
                left -= len(part)
            _require_small(WHOLE_BYTES_MAX + 1 - left, path)  # it may have grown meanwhile
            return b"".join(parts)

    async def read_part(self, path: str, *, offset: int, length_bytes: int) -> bytes:
        """See `Files.read_part`."""
        with _telling(path, "read"), _opened(path, os.O_RDONLY) as fd:
            _regular(fd, path)
            return os.pread(fd, length_bytes, offset)

    async def create(self, path: str, data: bytes = b"", *, mode: int = 0o600) -> None:
        """See `Files.create`."""
        with _telling(path, "create"):
            _create(path, data, mode)

    async def replace(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """See `Files.replace`."""
        directory, name = os.path.split(path)
        new = os.path.join(directory, f".{name}.new")
        with _telling(path, "replace"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)  # left by one that died; nobody else may write here now
            _create(new, data, mode, durable=True)
            try:
                os.rename(new, path)
            except OSError:
                os.unlink(new)
                raise

    async def append(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """See `Files.append`."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        with _telling(path, "append to", Effect.UNKNOWN), _opened(path, flags, mode) as fd:
            _alone(fd, path)
            _write(fd, data)

    async def write_part(self, path: str, data: bytes, *, offset: int) -> None:
        """See `Files.write_part`."""
        with _telling(path, "write to", Effect.UNKNOWN), _opened(path, os.O_WRONLY) as fd:
            _alone(fd, path)
            if offset + len(data) > os.fstat(fd).st_size:
                raise OSError(errno.EFBIG, "it ends before that", path)
            os.lseek(fd, offset, os.SEEK_SET)
            _write(fd, data)

    async def sync(self, path: str, *, after: Callable[[], Awaitable[None]] | None = None) -> None:
        """See `Files.sync`. Follows links: an image may be one, and nothing is changed but how safe it is."""
        with _telling(path, "sync", Effect.UNKNOWN):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if after is not None:
                await after()
            with _telling(path, "sync", Effect.UNKNOWN):
                os.fdatasync(fd)  # content and length; what qemu-img has synced already costs next to nothing so
        finally:
            os.close(fd)

    async def sync_dir(self, path: str) -> None:
        """See `Files.sync_dir`. Follows links: the names in a directory are the same, however one gets there."""
        with _telling(path, "sync", Effect.UNKNOWN):
            _sync_dir(path)

    async def mkdir(self, path: str) -> None:
        """See `Files.mkdir`."""
        with _telling(path, "make directory"):
            _mkdir(path)

    async def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        """See `Files.rename`."""
        with _telling(old, f"rename to {new}"):
            if replace:
                os.rename(old, new)
            else:
                _rename_to_free(old, new)

    async def remove(self, path: str, *, inode: int = 0, generation: int = 0) -> None:
        """See `Files.remove`."""
        with _telling(path, "remove"):
            if inode:
                _require_still(path, inode, generation)
            os.unlink(path)

    async def names(self, path: str) -> tuple[str, ...]:
        """See `Files.names`."""
        with _telling(path, "list"):
            try:
                return tuple(sorted(os.listdir(path)))
            except FileNotFoundError:
                return ()

    async def listing(self, path: str) -> Mapping[str, FileStat]:
        """See `Files.listing`."""
        stats = {name: await self.stat(os.path.join(path, name)) for name in await self.names(path)}
        return {name: found for name, found in stats.items() if found is not None}

    async def stat(self, path: str) -> FileStat | None:
        """See `Files.stat`."""
        with _telling(path, "look at"):
            try:
                found = os.lstat(path)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    return None  # nothing can be called that
                raise
        return FileStat(
            FileId(found.st_dev, found.st_ino),
            found.st_size,
            stat.S_IMODE(found.st_mode),
            is_dir=stat.S_ISDIR(found.st_mode),
            is_regular=stat.S_ISREG(found.st_mode),
            uid=found.st_uid,
            links=found.st_nlink if stat.S_ISREG(found.st_mode) else 1,
        )

    async def free_bytes(self, path: str) -> int:
        """See `Files.free_bytes`."""
        with _telling(path, "measure"):
            answer = os.statvfs(path)
        return answer.f_bavail * answer.f_frsize

    async def set_immutable(self, path: str, *, on: bool) -> None:
        """See `Files.set_immutable`. Follows links: what must not be written is the image itself."""
        with _telling(path, "flag"):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            set_flag(fd, on)
        except OSError as error:
            if error.errno not in _FLAG_DENIED:
                raise _failed(error, path, "flag", Effect.NONE) from error
            cause = f"{path}: cannot change its immutable flag: {error.strerror}"
            remedy = "Keep the image on ext4, xfs or btrfs and work as root, or accept a base without the flag."
            raise Refused([Reason("no-immutable-flag", cause, remedy)]) from error
        finally:
            os.close(fd)

    async def is_immutable(self, path: str) -> bool:
        """See `Files.is_immutable`. Follows links, as `set_immutable` does."""
        with _telling(path, "look at the flags of"):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            try:
                return bool(_flags(fd) & _IMMUTABLE)
            except OSError as error:
                if error.errno in _NO_FLAGS:
                    return False
                raise
            finally:
                os.close(fd)

    async def generation(self, path: str) -> int:
        """See `Files.generation`. A number that ext4, xfs and btrfs draw for each file; tmpfs has none.

        Who holds a lease on the file for a moment, as we do to look whether it is open, keeps us from it.
        """
        with _telling(path, "look at the generation of"):
            return _generation(path)

    async def lock(self, path: str, *, note: bytes, wait_s: float = 0.0) -> LocalLock:
        """See `Files.lock`. Tries again after 2 ms, then less and less often, at last every 100 ms.

        Who holds a lock is in an event loop: there Ctrl-C ends what waits, and never strikes between two instructions,
        where it would leave behind a descriptor of an image that was just opened, in the way of the recovery.
        """
        await loop()
        deadline = monotonic() + wait_s
        pause_s = _WAIT_S_MIN
        while True:
            with _telling(path, "lock"):
                fd = _try_lock(path, note)
            if fd is not None:
                self.held.append(fd)
                return LocalLock(self.held, fd)
            left_s = deadline - monotonic()
            if left_s <= 0:
                raise Busy(f"{path} is locked by {_holder(path)}", id="locked")
            await self._sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, _WAIT_S_MAX)


def set_flag(fd: int, on: bool) -> None:
    """Set or clear the immutable flag of an open file; `OSError` where that cannot be."""
    flags = _flags(fd)
    wanted = flags | _IMMUTABLE if on else flags & ~_IMMUTABLE
    if wanted != flags:
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", wanted))


def can_flag(directory: str) -> bool:
    """Whether files in this directory can carry the immutable flag: tried on a file without a name.

    One that is not there yet will be on the file system of the nearest one above it.
    """
    try:
        fd = os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        above = os.path.dirname(directory)
        return above != directory and can_flag(above or ".")
    except OSError:
        return False
    try:
        set_flag(fd, True)
        set_flag(fd, False)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def _flags(fd: int) -> int:
    return int(struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, bytes(_LONG)))[0])


def _generation(path: str) -> int:
    try:
        with _opened(path, os.O_RDONLY) as fd:
            return int(struct.unpack("l", fcntl.ioctl(fd, _GET_GENERATION, bytes(_LONG)))[0])
    except OSError as error:
        if error.errno in _NO_FLAGS | {errno.ENOENT, errno.ELOOP, errno.EWOULDBLOCK}:
            return 0
        raise


def _require_still(path: str, inode: int, generation: int) -> None:
    """`OSError` with ESTALE where the name leads to another file than this one."""
    same = os.lstat(path).st_ino == inode
    if not same or (generation and _generation(path) not in (0, generation)):
        raise OSError(errno.ESTALE, "another file has its name by now", path)


def _create(path: str, data: bytes, mode: int, *, durable: bool = False) -> None:
    """A new file with this content, or none."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN, mode)
    try:
        os.fchmod(fd, mode)  # whatever the umask
        _write(fd, data)
        if durable:
            os.fdatasync(fd)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _rename_to_free(old: str, new: str) -> None:
    """A second name first, which fails where the name is taken, and then the old one goes.

    A death between the two leaves both names; done again, the old one goes. File systems without hard links (FAT, some
    of FUSE) say EPERM.
    """
    try:
        os.link(old, new, follow_symlinks=False)
    except FileExistsError:
        if not os.path.samestat(os.lstat(old), os.lstat(new)):
            raise
        os.unlink(old)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        if os.path.lexists(new):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
        os.rename(old, new)
    else:
        os.unlink(old)


def _sync_dir(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _mkdir(path: str) -> None:
    """A directory and all above it, these durable; whoever makes one of them at the same time is welcome."""
    try:
        os.mkdir(path, 0o700)
    except FileNotFoundError:
        above = os.path.dirname(path)
        _mkdir(above)
        _sync_dir(os.path.dirname(above))
        _mkdir(path)
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _try_lock(path: str, note: bytes) -> int | None:
    """A descriptor that holds the lock, with the note written, or None where another holds it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            mine, named = os.fstat(fd), os.stat(path, follow_symlinks=False)
            if (mine.st_dev, mine.st_ino) == (named.st_dev, named.st_ino):
                _alone(fd, path)
                # Not cut to nothing first: ext4 takes that for a file being replaced, and writes it out (2 ms).
                note = note[:_NOTE_BYTES_MAX]
                os.pwrite(fd, note, 0)
                os.ftruncate(fd, len(note))
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            pass  # somebody removed the file between our open and now; so our lock guards nothing
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _holder(path: str) -> str:
    """Who holds a lock, in the words of its note; and a program that outlives who wrote that, where it can be seen."""
    try:
        with _opened(path, os.O_RDONLY) as fd:
            note = os.read(fd, _NOTE_BYTES_MAX).decode("utf-8", "replace").strip()
            found = os.fstat(fd)
            heirs = tuple(openers_of((found.st_dev, found.st_ino)))
    except OSError:
        return "a process that left no note"
    note = note or "a process that left no note"
    if not heirs or any(re.search(rf"\b{heir.pid}\b", note) for heir in heirs):
        return note
    return f"{note}; it is gone, and left " + ", ".join(f"{heir.command[:80]!r} (pid {heir.pid})" for heir in heirs)


def _regular(fd: int, path: str) -> int:
    """The length in bytes of an open regular file; anything else is no file for us."""
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL, "not a regular file", path)
    return found.st_size


def _require_small(length_bytes: int, path: str) -> None:
    if length_bytes > WHOLE_BYTES_MAX:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)


def _alone(fd: int, path: str) -> None:
    """A regular file with no second name: writing to it must change nothing but what is called `path`."""
    _regular(fd, path)
    if os.fstat(fd).st_nlink > 1:
        raise OSError(errno.EMLINK, "it is a hard link to a file that has another name, too", path)


@contextlib.contextmanager
def _opened(path: str, flags: int, mode: int = 0o600) -> Iterator[int]:
    fd = os.open(path, flags | _OPEN, mode)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _telling(path: str, verb: str, effect: Effect = Effect.NONE) -> Iterator[None]:
    """Say an operating system's error in the port's words."""
    try:
        yield
    except FileNotFoundError as error:
        if verb in ("read", "remove"):
            raise NotFound(f"{path}: no such file") from error
        raise _failed(error, path, verb, Effect.NONE) from error
    except OSError as error:
        if verb in ("read", "remove") and error.errno == errno.ENAMETOOLONG:
            raise NotFound(f"{path}: no file can have such a long name") from error
        raise _failed(error, path, verb, Effect.NONE if error.errno == errno.EMLINK else effect) from error


def _failed(error: OSError, path: str, verb: str, effect: Effect) -> FileFailed:
    cause = f"cannot {verb} {path}: {error.strerror}"
    return FileFailed(cause, path=path, errno=error.errno or 0, effect=effect)
