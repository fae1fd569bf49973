"""An overlay with a snapshot on which both qemu-img fail or die half-way, and what each leaves of it.

The real one fails by QEMU's own blkdebug and is killed by strace at one of its system calls; the simulated one fails or
dies at one of its steps. Both start from the very same images.
"""

import errno
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from os import strerror
from pathlib import Path

from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Qcow2
from simulator.disk.refcounts import errors, leaks
from simulator.tools import qemu_img
from simulator.tools.qemu_img import Commit, Program, Rebase, Resize, SnapshotApply, SnapshotCreate, SnapshotDelete
from tests.parity.benches import SIMULATED, Pair
from tests.parity.tools import run
from xensnap.backends.local.reader import read_image
from xensnap.errors import XensnapError
from xensnap.model import Format, Layer

KIB = 1024
TOP, BASE, OTHER = (Layer(f"{SIMULATED}/{name}", Format.QCOW2) for name in "obn")

CACHED = "rebase, not written through"
"""As an operator does it who says nothing of caches; ours writes through."""

OPERATIONS: dict[str, Program] = {
    "snapshot -c": SnapshotCreate(TOP, "t"),
    "snapshot -a": SnapshotApply(TOP, "1"),
    "snapshot -d": SnapshotDelete(TOP, "s", "1"),
    "commit": Commit(TOP, BASE),
    "rebase": Rebase(TOP, OTHER.path, "qcow2", copy=True),
    CACHED: Rebase(TOP, OTHER.path, "qcow2", copy=True),
    "resize": Resize(TOP, 2048 * KIB),
    "resize --shrink": Resize(TOP, 96 * KIB),
}

_DAMAGE = {0: "sound", 2: "errors", 3: "leaks"}


@dataclass(frozen=True)
class Left:
    """What is left of the two images.

    Attributes:
        damage: what `check` finds in the one that was written to: nothing, leaks only, or errors.
        tags: its snapshots.
        shows: what the overlay and its base show now, as digests.
    """

    damage: str
    tags: tuple[str, ...]
    size_bytes: int
    shows: tuple[str, str]


Kind = tuple[str, tuple[str, ...], str]
"""What is left, in short: the damage, the snapshots, and whether overlay and base show the old, the new or neither."""


@dataclass(frozen=True)
class End:
    """How the tool ended, and what it left. A killed one says nothing."""

    code: int
    words: str
    left: Left


class Lab:
    """The images before the operation, of both kinds, from which every try starts."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        template = directory / "template"
        template.mkdir()
        self.pair = pair = Pair(template)
        for name, below in (("b", ""), ("o", "b"), ("n", "")):
            pair.create(name, Format.QCOW2, 1024 * KIB, backing=below)
        pair.write("b", 0, 192 * KIB)
        pair.write("o", 64 * KIB, 128 * KIB)
        pair.write("n", 128 * KIB, 128 * KIB)
        for layer in (TOP, BASE):
            assert not pair.both(SnapshotCreate(layer, "s"))
        for name in "ob":
            pair.write(name, 64 * KIB, 64 * KIB)
        self.fs = pair.host.world.fs
        self._tries = 0

    # --- the real one ------------------------------------------------------------------------------------------------

    def real(self, operation: str, *, rules: str = "", killed_at: tuple[str, int] | None = None) -> End:
        """One try of the real tool, with rules for blkdebug, or killed at the n-th of a system call."""
        program = OPERATIONS[operation]
        place = self.directory / f"try{self._tries}"
        self._tries += 1
        place.mkdir()
        for name in "obn":
            shutil.copyfile(self.pair.directory / name, place / name)
        if isinstance(program, Commit) and rules:
            (place / "rules").write_text(_as_file(rules), encoding="ascii")
            _stand_on(place, f"blkdebug:{place}/rules:{place}/b")
        cache = () if operation == CACHED else ("-t", "writethrough")
        argv = [*_killing(killed_at), *_argv(program, place, rules, cache)]
        done = run(argv, place)
        words = done.stderr.decode().strip().replace(_options(program, place, rules), str(place / "o"))
        if isinstance(program, Commit):
            _stand_on(place, str(place / "b"))
        end = End(done.returncode, words.replace(str(place), SIMULATED), _left(program, place))
        shutil.rmtree(place)
        return end

    # --- the simulated one -------------------------------------------------------------------------------------------

    def failing(self, operation: str) -> Iterator[tuple[str, End]]:
        """The step that fails, and the end: with what was there before that step, and with what it has written."""
        program = OPERATIONS[operation]
        for name, words, fs in failing(program, self.fs):
            yield name, End(1, words, self._simulated(program, fs))

    def dying(self, operation: str) -> Iterator[Left]:
        """What is left at each step where it can die, the first and the last state included."""
        program, fs = OPERATIONS[operation], self.fs
        yield self._simulated(program, fs)
        for _, step in qemu_img.steps(program):
            fs = step(fs, program, 0)
            yield self._simulated(program, fs)

    def done(self, operation: str) -> Left:
        """What is left where all went well."""
        *_, last = self.dying(operation)
        return last

    def kind(self, operation: str, left: Left) -> Kind:
        """The kind of what is left."""
        old, *_, new = self.dying(operation)
        pairs = zip(left.shows, old.shows, new.shows, strict=True)
        letters = ["=" if now == before else "!" if now == after else "?" for now, before, after in pairs]
        return left.damage, left.tags, "".join(letters)

    def _simulated(self, program: Program, fs: FileSystem) -> Left:
        host = self.pair.host
        before = host.world
        try:
            host.cell.world = before.with_fs(fs)
            written = BASE if isinstance(program, Commit) else TOP
            stored = fs.inode(written.path).stored
            assert isinstance(stored, Qcow2)
            damage = "errors" if errors(stored) else "leaks" if leaks(stored) else "sound"
            tags = tuple(entry.told.tag for entry in stored.table)
            return Left(
                damage, tags, stored.size_bytes, (_digest(host.read_layer(TOP)), _digest(host.read_layer(BASE)))
            )
        finally:
            host.cell.world = before


def failing(program: Program, fs: FileSystem) -> Iterator[tuple[str, str, FileSystem]]:
    """Each step that a disk can let fail, what is said then, and the two states that it may leave."""
    for name, step in qemu_img.steps(program):
        after = step(fs, program, 0)
        if after is not fs:
            try:
                step(_Failing(**{field: getattr(fs, field) for field in fs.__struct_fields__}), program, 0)
            except qemu_img.ToolError as error:
                for found in (fs, after):
                    yield name, error.words, found
        fs = after


class _Failing(FileSystem, frozen=True):
    """A file system whose disk answers every write with EIO."""

    def store(self, number: int, stored: object, path: str = "") -> FileSystem:
        del number, stored
        raise OSError(errno.EIO, strerror(errno.EIO), path)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _killing(at: tuple[str, int] | None) -> list[str]:
    if at is None:
        return []
    call, number = at
    return [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={call}",
        "-e",
        f"inject={call}:signal=KILL:when={number}",
    ]


def _options(program: Program, place: Path, rules: str) -> str:
    """The overlay by options, with these rules for its file; those for a base stand in the name that it has there."""
    if not rules or isinstance(program, Commit):
        return f"driver=qcow2,file.driver=file,file.filename={place}/o"
    below = f"file.driver=blkdebug,file.image.driver=file,file.image.filename={place}/o"
    return ",".join(["driver=qcow2", below, *(f"file.{each}" for each in rules.split(","))])


def _as_file(rules: str) -> str:
    """Rules as blkdebug reads them from a file."""
    lines: list[str] = []
    for each in rules.split(","):
        kind, _, rest = each.partition(".")
        number, _, setting = rest.partition(".")
        key, _, value = setting.partition("=")
        section = f"[{kind}]  # {number}"
        lines += [section] if section not in lines else []
        lines.append(f'{key} = "{value}"')
    return "\n".join(line.partition("  #")[0] for line in lines) + "\n"


def _stand_on(place: Path, base: str) -> None:
    done = run(["qemu-img", "rebase", "-u", "-F", "qcow2", "-b", base, "o"], place)
    assert not done.returncode, done


def _argv(program: Program, place: Path, rules: str, cache: tuple[str, ...]) -> list[str]:
    image = ["--image-opts", _options(program, place, rules)]
    match program:
        case SnapshotCreate(_, tag):
            return ["qemu-img", "snapshot", "-c", tag, *image]
        case SnapshotApply(_, snapshot_id):
            return ["qemu-img", "snapshot", "-a", snapshot_id, *image]
        case SnapshotDelete(_, tag, _):
            return ["qemu-img", "snapshot", "-d", tag, *image]
        case Commit():
            return ["qemu-img", "commit", "-q", "-d", *image]
        case Rebase():
            return ["qemu-img", "rebase", "-q", *cache, "-b", str(place / "n"), "-F", "qcow2", *image]
        case Resize(_, size):
            return ["qemu-img", "resize", "-q", "--shrink", *image, str(size)]
    raise AssertionError(program)


def _left(program: Program, place: Path) -> Left:
    written = "b" if isinstance(program, Commit) else "o"
    check = run(["qemu-img", "check", "--output=json", "-f", "qcow2", written], place)
    damage = _DAMAGE.get(check.returncode, "does not open")
    try:
        image = read_image(Layer(str(place / written), Format.QCOW2))
    except XensnapError:
        return Left("does not open", (), 0, ("", ""))
    shows = []
    for name in "ob":
        raw = place / f"{name}.raw"
        done = run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", name, str(raw)], place)
        shows.append(_digest(raw.read_bytes()) if not done.returncode else "")
    tags = tuple(entry.tag for entry in image.snapshots)
    return Left(damage, tags, image.virtual_size_bytes, (shows[0], shows[1]))
