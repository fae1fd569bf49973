"""A program whose power is cut before each write of an operation: `power_cuts.py PLACE VERB KIND EVERY LEFT`.

Makes hosts `PLACE/1`, `PLACE/2` … as `dying.py` does, and carries the operation out on each, a little further every
time. Then what was not synced is lost: contents as of the last `sync` of a file, names as of the last `sync_dir` of its
directory. Files keep their inodes, by which the engine knows them. With LEFT `contents` what was written to a file is
kept and only names are lost, with `names` the other way round; a file system may do any of this.

Only every EVERYth write is tried. Prints the numbers.
"""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.real import dying
from xensnap.backends.qemu.host import QemuHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.model import Kind


class Disk:
    """What of a directory, and of those in it, would be there after a power cut."""

    def __init__(self, root: Path, kept: Path) -> None:
        self._root = root
        self._kept = kept
        self._contents: dict[int, bytes] = {}
        self._names: dict[Path, dict[str, int]] = {}
        kept.mkdir()
        for directory in self._directories():
            self.names_synced(directory)
            for path in directory.iterdir():
                self.content_synced(path)

    def content_synced(self, path: Path) -> None:
        """The content of this file is durable, under whatever name."""
        if path.is_file():
            self._contents[path.stat().st_ino] = path.read_bytes()

    def names_synced(self, directory: Path) -> None:
        """The names in this directory are durable."""
        if directory.is_dir():
            self._names[directory] = _names(directory)

    def keep(self, path: Path) -> None:
        """This name is about to go; the file must not go with it."""
        if path.is_file():
            os.link(path, self._kept / str(path.stat().st_ino))

    def cut(self, left: str) -> None:
        """Make the directory what a power cut leaves of it."""
        now = {directory: _names(directory) for directory in self._directories()}
        for directory, known in now.items():
            for name, inode in known.items():
                (directory / name).rename(self._kept / str(inode))
        names = now if left == "names" else {each: self._names.get(each, {}) for each in now}
        for path in self._kept.iterdir():
            if left != "contents":
                with path.open("r+b") as file:
                    file.truncate(0)
                    file.write(self._contents.get(int(path.name), b""))
        for directory, wanted in names.items():
            for name, inode in wanted.items():
                (self._kept / str(inode)).rename(directory / name)

    def _directories(self) -> list[Path]:
        return [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]


def _names(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in directory.iterdir() if path.is_file()}


def main(place: Path, verb: str, kind: Kind, every: int, left: str) -> None:
    number, died, tried = 0, True, []
    while died:
        number += 1
        if number % every:
            continue
        directory = place / str(number)
        directory.mkdir()
        dying.prepare(directory, verb, kind)
        pid = os.fork()
        if not pid:
            cut_at(directory, verb, number, left)
        _, status = os.waitpid(pid, 0)
        died = os.WIFSIGNALED(status)
        assert died or os.WEXITSTATUS(status) == 0, status
        tried.append(number)
    sys.stdout.write(f"{' '.join(map(str, tried))}\n")


def cut_at(directory: Path, verb: str, number: int, left: str) -> None:
    """Carry out the operation up to its write of this number, if it has as many, and cut the power there."""
    engine = Engine(QemuHost(directory))
    disk = Disk(directory, directory.with_name(f"{directory.name}.kept"))
    seen = 0

    def watched(name: str, method: Any) -> Any:
        async def wrapped(*args: Any, **named: Any) -> Any:
            nonlocal seen
            seen += 1
            if seen == number:
                stop_tools()
                disk.cut(left)
                os.kill(os.getpid(), signal.SIGKILL)
            for path in going(name, args):
                disk.keep(path)
            found = await method(*args, **named)
            noted(disk, directory, name, args)
            return found

        return wrapped

    for port, names in dying.WRITES.items():
        for name in names:
            setattr(getattr(engine.host, port), name, watched(name, getattr(getattr(engine.host, port), name)))
    match verb:
        case "create":
            engine.create("guest", CreateRequest(name="two"))
        case "revert":
            engine.revert("guest", RevertRequest("one"))
        case _:
            engine.delete("guest", DeleteRequest("one"))
    os._exit(0)


def stop_tools() -> None:
    """A tool that works on another disk at this moment has no power either: it must not write into what is left."""
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(int(child), 0)


def going(name: str, args: tuple[Any, ...]) -> list[Path]:
    """Whose name is about to go, or to be another file's, and may come back."""
    if name in {"remove", "replace"}:
        return [Path(args[0])]
    return [Path(args[1])] if name == "rename" else []


def noted(disk: Disk, directory: Path, name: str, args: tuple[Any, ...]) -> None:
    """What a port has made durable, by what it promises."""
    if name in {"sync", "replace"}:
        disk.content_synced(Path(args[0]))
    elif name == "sync_dir":
        disk.names_synced(Path(args[0]))
    elif name == "set_layers":
        disk.content_synced(directory / "guest.toml")
        disk.names_synced(directory)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Kind(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
