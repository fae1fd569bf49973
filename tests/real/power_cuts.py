"""What a power cut leaves at any moment of an operation on real files that is carried out only once.

strace tells everything that the engine, its tools and QEMU do to files. What a power cut leaves is made from that, by
what was synced by then: the files keep their inodes, by which the engine knows them, and lose what was not durable, all
of it or some (`traced`). So every moment is of one and the same run, and nothing goes on working while it is made.

As a program, `python -m tests.real.power_cuts ROOT KEPT VERB KIND`, it is such an operation, on a domain that is off.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from tests.real import dying, traced
from xensnap.backends.local.files import LocalFiles
from xensnap.backends.local.machine import LocalMachine
from xensnap.backends.qemu.host import QemuHost
from xensnap.engine.engine import Engine
from xensnap.hypervisor import Identity
from xensnap.model import Kind

PATIENCE_S = 1200
HOW = ("nothing", "contents", "names", "some")
BLOCK_BYTES = 1 << 12
"""Contents are compared in blocks, since what pytest would print of two times a million bytes never ends."""

CUT: Counter[str] = Counter()
"""How often the power was cut, by what was left of what was not durable."""

Replaced = Callable[..., object]
"""`setattr`, or what puts back what it sets when that is over."""


@dataclass(frozen=True)
class Moment:
    """What a power cut leaves at one moment.

    Attributes:
        where: the moment in words.
        how: what is left of what was not durable.
        tree: what there is until the next moment is asked for.
        left: what is there after the power cut.
    """

    where: str
    how: str
    tree: traced.Tree
    left: traced.Cut

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Whatever goes wrong meanwhile, say at which moment."""
        try:
            yield
        except Exception as error:
            error.add_note(self.where)
            raise


class Recorded:
    """An operation, and every moment of it.

    Attributes:
        root: the directory of the host.
        kept: beside it, where files are by their inodes while they have no name.
        calls: all that was done to files.
        changes: which of these calls changed something, after everything before the operation was durable.
    """

    def __init__(self, place: Path, module: str, *words: str) -> None:
        self.root, self.kept, log = place / "host", place / "kept", place / "trace"
        self.root.mkdir()
        self.kept.mkdir()
        driver = (sys.executable, "-m", module, str(self.root), str(self.kept), *words)
        subprocess.run(traced.argv(log, *driver), check=True, timeout=PATIENCE_S, cwd=Path(__file__).parents[2])
        self.calls = list(traced.read(log, self.root))
        log.unlink()
        tree = traced.Tree(self.root)
        changes = [tree.follow(call) for call in self.calls]
        begins = next(at for at, call in enumerate(self.calls) if call.name == "sync")
        self.changes = [at for at, changed in enumerate(changes) if changed and at >= begins]
        agrees(tree)
        known = {path: path.stat().st_ino for path, file in tree.names.items() if file is not traced.DIRECTORY}
        self._inodes = tree.inodes | {tree.names[path].number: inode for path, inode in known.items()}
        self.take_back()

    def moments(self, wanted: set[int], *, twice: bool = False) -> Iterator[Moment]:
        """What the power cut leaves after each of these calls; `twice`: in two ways each, one of them by chance."""
        tree = traced.Tree(self.root)
        for at, call in enumerate(self.calls):
            tree.follow(call)
            if at not in wanted:
                continue
            for how in (HOW[at % (len(HOW) - 1)], "some") if twice else (HOW[at % len(HOW)],):
                yield Moment(f"call {at} ({call.name}), {how}", how, tree, tree.left(how, at))

    def make(self, moment: Moment) -> None:
        """Make the directory what was left."""
        left = moment.left
        CUT[moment.how] += 1
        for path in sorted(left, key=lambda path: len(path.parts)):
            if (found := left[path]) is None:
                path.mkdir(mode=0o700)
                continue
            kept = self.kept / str(self._inodes.get(found[0], "none"))
            if kept.exists():
                kept.rename(path)
            path.write_bytes(found[1])
            path.chmod(0o600)

    def take_back(self) -> None:
        """Keep the files of the operation under their inodes, and drop everything else."""
        inodes = set(self._inodes.values())
        for path in self.root.rglob("*"):
            if path.is_file() and path.stat().st_ino in inodes:
                path.rename(self.kept / str(path.stat().st_ino))
        for path in self.kept.iterdir():
            if path.stat().st_ino not in inodes:
                path.unlink()
        shutil.rmtree(self.root)
        self.root.mkdir()


def agrees(tree: traced.Tree) -> None:
    """The trace has told everything: files and contents are what they are."""
    there = {
        path: None if path.is_dir() else path.read_bytes() for path in tree.root.rglob("*") if not path.is_socket()
    }
    told = tree.there()
    assert told.keys() == there.keys()
    assert [path for path, content in there.items() if told[path] != content] == []


def differing(one: bytes, other: bytes) -> list[int]:
    """Where the blocks begin in which two contents differ."""
    places = range(0, max(len(one), len(other)), BLOCK_BYTES)
    return [at for at in places if one[at : at + BLOCK_BYTES] != other[at : at + BLOCK_BYTES]]


def after_the_power_cut(replaced: Replaced) -> None:
    """From now on this process runs on a machine that has been started anew."""
    whoami = LocalMachine.whoami

    async def wrapped(self: LocalMachine) -> Identity:
        return replace(await whoami(self), boot_id="after-the-power-cut")

    replaced(LocalMachine, "whoami", wrapped)


def keep_what_goes(kept: Path, replaced: Replaced) -> None:
    """From now on this process gives every file that is about to lose its name another one in `kept`: its inode."""

    def keeping(name: str, index: int) -> None:
        method = getattr(LocalFiles, name)

        async def wrapped(self: LocalFiles, *args: Any, **named: Any) -> Any:
            keep(Path(args[index]), kept)
            return await method(self, *args, **named)

        replaced(LocalFiles, name, wrapped)

    for name, index in (("remove", 0), ("replace", 0), ("rename", 1)):
        keeping(name, index)


def keep(path: Path, kept: Path) -> None:
    with contextlib.suppress(FileNotFoundError, FileExistsError):
        os.link(path, kept / str(path.stat().st_ino))


def main(root: Path, kept: Path, verb: str, kind: Kind) -> None:
    """Prepare a domain, see that this is durable, and carry the operation out."""
    dying.prepare(root, verb, kind)
    keep_what_goes(kept, setattr)
    os.sync()
    dying.operate(Engine(QemuHost(root)), verb, kind)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Kind(sys.argv[4]))
