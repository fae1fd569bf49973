"""What programs do to the files below a directory, told by strace, and what a power cut would leave of it.

`read` gives every system call that changes a file, a name or what is durable, in their order. A `Tree` follows them
call by call; it knows what is there, and what of it is durable: contents as of the last fsync or fdatasync of a file
that has ended, names as of the last fsync of their directory. Of everything since then any part may survive: each
change of a name by itself, each write by itself, and each sector of a write. A file that has lost its name is still
that file: its name may come back.

Only what QEMU, its tools and the engine call is understood; whatever else writes is an error.
"""

import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

CALLS = (
    "sync,open,openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,syncfs,sync_file_range,truncate,"
    "ftruncate,fallocate,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,"
    "copy_file_range,sendfile,splice,io_uring_setup,io_submit"
)
_STRINGS_MAX = 1 << 26
_LINE = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<args>.*)\) += (?P<result>\d+)(?:<[^>]*>(?:\(deleted\))?)?")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
_UNFINISHED = " <unfinished ...>"
_OPENED = re.compile(r"\d+<(?P<path>[^>]*)>(?P<deleted>\(deleted\))?.*")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_SYNCS = ("fsync", "fdatasync")


def argv(log: Path, *command: str) -> list[str]:
    """Have strace follow a command and all of its children, until all have ended."""
    how = ["-f", "--seccomp-bpf", "-y", "-xx", "-s", str(_STRINGS_MAX), "-e", f"trace={CALLS}", "-e", "signal=none"]
    return ["strace", "-q", *how, "-o", str(log), *command]


@dataclass(frozen=True)
class Call:
    """A system call that has succeeded; or, named `begins`, the beginning of a sync that has not ended yet."""

    name: str
    args: str
    result: int = 0
    begun: int = 0
    """Of a sync: which of those that have begun it is."""

    def strings(self) -> list[bytes]:
        """Everything in quotation marks: contents, or paths."""
        return [_bytes(found) for found in _STRING.findall(self.args)]

    def paths(self) -> list[Path]:
        """The same, as paths."""
        return [Path(each.decode()) for each in self.strings()]

    def opened(self) -> tuple[Path, bool]:
        """The path of the file that the first argument has open, and whether the file still has it."""
        found = _OPENED.fullmatch(self.args)
        assert found, self.args[:80]
        return Path(_bytes(found["path"]).decode()), not found["deleted"]

    def last(self, count: int) -> list[int]:
        """The last arguments, which are numbers."""
        return [int(each, 0) for each in self.args.rsplit(", ", count)[-count:]]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def read(log: Path, root: Path) -> Iterator[Call]:
    """All calls of a trace that name something below a directory, each where it has ended; and every `sync`."""
    waiting: dict[str, tuple[str, int]] = {}
    ours = "".join(f"\\x{byte:02x}" for byte in os.fsencode(root))
    for number, line in enumerate(log.read_text(encoding="ascii").splitlines(), 1):
        found = _LINE.fullmatch(line)
        assert found, line[:80]
        pid, rest, begun = found["pid"], found["rest"], number
        if ours not in rest and not rest.startswith("sync(") and not (rest.startswith("<") and pid in waiting):
            continue
        if rest.endswith(_UNFINISHED):
            waiting[pid] = rest.removesuffix(_UNFINISHED), number
            if rest.startswith(_SYNCS):
                yield Call("begins", rest.partition("(")[2], begun=number)
            continue
        if resumed := _RESUMED.fullmatch(rest):
            first, begun = waiting.pop(pid)
            rest = first + resumed["rest"]
        elif rest.startswith(_SYNCS):
            yield Call("begins", rest.partition("(")[2], begun=number)
        if called := _CALL.fullmatch(rest):
            yield Call(called["name"], called["args"], int(called["result"]), begun)


Change = Callable[[bytearray], None]
Survives = Callable[[], bool]
SECTOR_BYTES = 512
"""What a disk writes wholly or not at all."""


@dataclass(frozen=True)
class Wrote:
    """Bytes that were written."""

    at: int
    data: bytes

    def __call__(self, content: bytearray) -> None:
        content.extend(bytes(max(0, self.at - len(content))))
        content[self.at : self.at + len(self.data)] = self.data

    def sectors(self) -> Iterator["Wrote"]:
        """The same, sector by sector."""
        end = self.at + len(self.data)
        edges = [self.at, *range(self.at // SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES, end, SECTOR_BYTES), end]
        for start, until in pairwise(edges):
            yield Wrote(start, self.data[start - self.at : until - self.at])


@dataclass(eq=False)
class File:
    """A file under whatever name: its content now, and what has been made durable of it."""

    number: int
    content: bytearray = field(default_factory=bytearray)
    durable: bytes = b""
    pending: list[Change] = field(default_factory=list)
    """What has happened to the content since it was durable."""

    syncing: dict[int, int] = field(default_factory=dict)
    """How much of what is pending will be durable when these syncs have ended."""

    def change(self, change: Change) -> None:
        change(self.content)
        self.pending.append(change)

    def synced(self, count: int) -> None:
        """The oldest of what is pending is durable."""
        content = bytearray(self.durable)
        for change in self.pending[:count]:
            change(content)
        self.durable = bytes(content)
        del self.pending[:count]
        self.syncing = {number: max(0, until - count) for number, until in self.syncing.items()}

    def left(self, survives: Survives, torn: Survives) -> bytes:
        """The content after a power cut: each change that is not durable survives, or does not, or is torn."""
        content = bytearray(self.durable)
        for change in self.pending:
            for part in change.sectors() if isinstance(change, Wrote) and torn() else (change,):
                if survives():
                    part(content)
        return bytes(content)


def cut_to(length: int) -> Change:
    def change(content: bytearray) -> None:
        content.extend(bytes(max(0, length - len(content))))
        del content[length:]

    return change


def zeroed(at: int, length: int, *, grows: bool) -> Change:
    def change(content: bytearray) -> None:
        end = at + length if grows else min(at + length, len(content))
        if end > at:
            Wrote(at, bytes(end - at))(content)

    return change


def reserved(end: int) -> Change:
    return lambda content: content.extend(bytes(max(0, end - len(content))))


DIRECTORY = File(-1)
Cut = dict[Path, tuple[int, bytes] | None]
"""Number and content of every file by its path, None for a directory."""

Names = dict[Path, File]
Renaming = dict[Path, File | None]
"""One change of names, which survives as a whole: what each of them leads to afterwards."""


class Tree:
    """The files below a directory that is empty at first, as a trace goes on; numbered as they were made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.names: Names = {}
        self.durable: Names = {}
        self.inodes: dict[int, int] = {}
        """By number, of the files that were given their inode as a second name outside of the directory."""
        self._made = 0
        self._renamed: list[Renaming] = []
        """What has happened to names and is not durable, oldest first."""
        self._syncing: dict[int, tuple[Path, list[Renaming]]] = {}
        self._gone: Names = {}

    def follow(self, call: Call) -> bool:
        """Do the same here; whether it was about anything below the directory."""
        follow = getattr(self, f"_{call.name}", None)
        if follow is None:
            assert not any(self._ours(path) for path in self._named(call)), f"{call.name} is not understood"
            return False
        return bool(follow(call))

    def left(self, how: str, seed: int) -> Cut:
        """What a power cut leaves.

        Args:
            how: `nothing` that is not durable is left; or also the `contents`, or also the `names`; or `some` of both.
            seed: chooses some.
        """
        luck = random.Random(seed)

        def perhaps() -> bool:
            return luck.random() < 0.5

        survives = {"some": perhaps, "contents": lambda: True}.get(how, lambda: False)
        named = {"some": perhaps, "names": lambda: True}.get(how, lambda: False)
        torn = perhaps if how == "some" else lambda: False
        names = dict(self.durable)
        for renaming in self._renamed:
            if named():
                _rename(names, renaming)
        return {
            path: None if file is DIRECTORY else (file.number, file.left(survives, torn))
            for path, file in names.items()
            if all(above == self.root or above in names for above in path.parents if self._ours(above))
        }

    def there(self) -> dict[Path, bytes | None]:
        """What is there now."""
        return {path: None if file is DIRECTORY else bytes(file.content) for path, file in self.names.items()}

    def _ours(self, path: Path) -> bool:
        return path.is_relative_to(self.root) and path != self.root

    def _named(self, call: Call) -> list[Path]:
        return [call.opened()[0]] if _OPENED.fullmatch(call.args) else call.paths()

    def _named_anew(self, renaming: Renaming, *, lost: Path | None = None) -> None:
        if lost in self.names:
            self._gone[lost] = self.names[lost]
        _rename(self.names, renaming)
        self._renamed.append(renaming)

    def _file(self, call: Call) -> File | None:
        """The file that is written to, by the name it has or had last."""
        path, named = call.opened()
        return (self.names if named else self._gone).get(path)

    def _changed(self, call: Call, change: Callable[[File], Change]) -> bool:
        file = self._file(call)
        if file is None or file is DIRECTORY:
            return False
        file.change(change(file))
        return True

    # Contents ----------------------------------------------------------------------------------------------------

    def _openat(self, call: Call) -> bool:
        (path,) = call.paths()
        flags = call.args.rsplit('", ', 1)[1].split(", ")[0].split("|")
        if not self._ours(path) or "O_TMPFILE" in flags:
            return False
        if "O_CREAT" in flags and path not in self.names:
            self._made += 1
            self._named_anew({path: File(self._made)})
            return True
        if "O_TRUNC" in flags and self.names[path].content:
            self.names[path].change(cut_to(0))
            return True
        return False

    def _write(self, call: Call) -> bool:
        """Whoever writes without saying where goes on at the end of what is there."""
        data = b"".join(call.strings())[: call.result]
        return self._changed(call, lambda file: Wrote(len(file.content), data))

    _writev = _write

    def _pwrite64(self, call: Call) -> bool:
        data, (at,) = b"".join(call.strings())[: call.result], call.last(1)
        return self._changed(call, lambda _: Wrote(at, data))

    _pwritev = _pwrite64

    def _ftruncate(self, call: Call) -> bool:
        (length,) = call.last(1)
        return self._changed(call, lambda _: cut_to(length))

    def _fallocate(self, call: Call) -> bool:
        at, length = call.last(2)
        flags = call.args.split(", ")[1]
        if "FALLOC_FL_PUNCH_HOLE" in flags or "FALLOC_FL_ZERO_RANGE" in flags:
            grows = "FALLOC_FL_KEEP_SIZE" not in flags
            return self._changed(call, lambda _: zeroed(at, length, grows=grows))
        assert flags in {"0", "FALLOC_FL_KEEP_SIZE"}, flags
        return flags == "0" and self._changed(call, lambda _: reserved(at + length))

    # What is durable ---------------------------------------------------------------------------------------------

    def _sync(self, _: Call) -> bool:
        """Everything is durable, and so it is known what to begin with."""
        self.durable = dict(self.names)
        self._renamed.clear()
        for file in self.names.values():
            file.synced(len(file.pending))
        return True

    def _begins(self, call: Call) -> bool:
        path, _ = call.opened()
        if path == self.root or self.names.get(path) is DIRECTORY:
            self._syncing[call.begun] = path, list(self._renamed)
        elif file := self._file(call):
            file.syncing[call.begun] = len(file.pending)
        return False

    def _fsync(self, call: Call) -> bool:
        if call.begun in self._syncing:
            directory, renamed = self._syncing.pop(call.begun)
            for renaming in renamed:
                for path in [path for path in renaming if path.parent == directory]:
                    _rename(self.durable, {path: renaming.pop(path)})
            return True
        file = self._file(call)
        if file is None or call.begun not in file.syncing:
            return False
        file.synced(file.syncing.pop(call.begun))
        return True

    _fdatasync = _fsync

    # Names -------------------------------------------------------------------------------------------------------

    def _rename(self, call: Call) -> bool:
        old, new = call.paths()
        if not self._ours(old):
            return False
        self._named_anew({new: self.names[old], old: None}, lost=new)
        return True

    def _link(self, call: Call) -> bool:
        """A second name; outside of the directory it is the inode, by which a file is had back."""
        old, new = call.paths()
        if self._ours(new):
            self._named_anew({new: self.names[old]})
            return True
        if self._ours(old):
            self.inodes[self.names[old].number] = int(new.name)
        return False

    _linkat = _link

    def _unlink(self, call: Call) -> bool:
        (path,) = call.paths()
        if path in self.names:
            self._named_anew({path: None}, lost=path)
        return self._ours(path)

    def _mkdir(self, call: Call) -> bool:
        (path,) = call.paths()
        if self._ours(path):
            self._named_anew({path: DIRECTORY})
        return self._ours(path)


def _rename(names: Names, renaming: Renaming) -> None:
    for path, file in renaming.items():
        if file is None:
            names.pop(path, None)
        else:
            names[path] = file
