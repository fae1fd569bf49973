"""The clock and the processes of this machine."""

# ruff: noqa: ASYNC230, PLC0415, PTH116, PTH123, PTH208 -- /proc has plain names and never makes one wait

import os
import pwd
import time
import uuid
from collections.abc import Iterator

from xensnap.backends.local.waiting import loop
from xensnap.errors import FileFailed, Reason, Refused
from xensnap.hypervisor import Identity, Opener

# /proc/self/ns/pid of the first PID namespace (PROC_PID_INIT_INO, linux/proc_ns.h): in any other, processes hide.
_FIRST_PID_NAMESPACE = 0xEFFFFFFC


async def sleep(seconds: float) -> None:
    """Return after at least this long, letting others work meanwhile."""
    await loop()
    import asyncio

    await asyncio.sleep(seconds)


async def clock_s() -> float:
    """The clock that `sleep` goes by, which never goes back, seconds."""
    await loop()
    import asyncio

    return asyncio.get_running_loop().time()


class LocalMachine:
    """The `Machine` port on this machine."""

    async def now_ns(self) -> int:
        """See `Machine.now_ns`."""
        return time.time_ns()

    async def monotonic_ns(self) -> int:
        """See `Machine.monotonic_ns`."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """See `Machine.sleep`."""
        await sleep(seconds)

    async def fresh_id(self) -> str:
        """See `Machine.fresh_id`."""
        return str(uuid.uuid4())

    async def whoami(self) -> Identity:
        """See `Machine.whoami`."""
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot_id = file.read().strip()
        return Identity(os.getpid(), boot_id, _user(), os.geteuid())

    async def openers(self, path: str) -> tuple[Opener, ...]:
        """See `Machine.openers`. Those that were seen are told even where not all can be seen; "nobody" never is."""
        try:
            wanted = os.stat(path)
        except OSError as error:
            raise FileFailed(f"cannot look at {path}: {error.strerror}", path=path, errno=error.errno or 0) from error
        seen = _AllSeen()
        found = tuple(openers_of((wanted.st_dev, wanted.st_ino), seen))
        if not found and not seen.all:
            cause = f"not all processes can be seen, so nobody can say that none has {path} open"
            raise Refused([Reason("cannot-see-openers", cause, "Work as root, outside of containers.")])
        return found


class _AllSeen:
    """Whether a look at all processes has left none out."""

    def __init__(self) -> None:
        self.all = os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE and os.geteuid() == 0


def openers_of(wanted: tuple[int, int], seen: _AllSeen | None = None) -> Iterator[Opener]:
    """All processes but ours that have this file (device and inode) open, as far as they can be seen."""
    us, seen = os.getpid(), seen or _AllSeen()
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == us:
            continue
        try:
            descriptors = os.listdir(f"/proc/{name}/fd")
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended
        except PermissionError:
            seen.all = False
            continue
        holds = [fd for fd in descriptors if _is(f"/proc/{name}/fd/{fd}", wanted)]
        if holds:
            yield Opener(int(name), _command(name), any(_writes(name, fd) for fd in holds))


def _is(path: str, wanted: tuple[int, int]) -> bool:
    try:
        found = os.stat(path)
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == wanted


def _writes(pid: str, fd: str) -> bool:
    """Whether a descriptor is open for writing; one that is gone again is not."""
    try:
        with open(f"/proc/{pid}/fdinfo/{fd}", encoding="ascii") as file:
            flags = next((line for line in file if line.startswith("flags:")), "flags: 0")
    except OSError:
        return False
    return int(flags.split()[1], 8) & os.O_ACCMODE != os.O_RDONLY


def _command(pid: str) -> str:
    """Its command line, or what the kernel calls it."""
    for name in ("cmdline", "comm"):
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                words = file.read(4096)
        except OSError:
            continue
        if text := words.replace(b"\0", b" ").decode("utf-8", "replace").strip():
            return text
    return "?"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
