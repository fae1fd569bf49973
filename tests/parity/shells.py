"""The same command lines to the simulated qemu-img and to the real one, each in a directory of its own."""

import json
import re
from pathlib import Path
from typing import Any

from simulator.disk import chain as chains
from simulator.disk.content import bytes_of, pattern
from simulator.disk.filesystem import FileSystem
from simulator.disk.image import Raw
from simulator.disk.operations import written
from simulator.tools.img.opening import probed
from simulator.tools.img.run import Done
from simulator.tools.img.run import run as simulated
from tests.parity.tools import WITH_QEMU_IMG, run
from xensnap.model import Format, Layer

PLACE = "/images"
CLUSTER = 65536
NOW_NS = 1_700_000_000_000_000_000

_DATE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_UNLIKE = [
    (re.compile(r"^disk size: .*$", re.MULTILINE), "disk size: ?"),
    (re.compile(r"^Image end offset: .*$", re.MULTILINE), "Image end offset: ?"),
    (re.compile(r"\d+\.\d+% fragmented"), "?% fragmented"),
    (_DATE, "DATE"),
    (re.compile(r"^(Leaked|Repairing) cluster \d+", re.MULTILINE), r"\1 cluster ?"),
    (re.compile(r"Cluster at offset 0x[0-9a-f]+ has a refcount of \d+"), "Cluster at offset ? has a refcount of ?"),
    # How often the real one tells its progress follows its polling.
    (re.compile(r"    \((?!0\.00|100)\d+\.\d\d/100%\)\r"), ""),
    (re.compile(r"(    \(\d+\.\d\d/100%\)\r)\1+"), r"\1"),
    (re.compile(r"#block\d+"), "#block?"),
]
_VOLATILE = {"actual-size", "date-sec", "date-nsec", "vm-clock-sec", "vm-clock-nsec", "image-end-offset"}
_VOLATILE |= {"fragmented-clusters", "offset"}


class Shells:
    """Two directories, kept in step."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self.fs = FileSystem().mkdir(PLACE).mkdir(f"{PLACE}/sub")
        if directory is not None:
            (directory / "sub").mkdir()
        self._writes = 0

    @classmethod
    def alone(cls) -> "Shells":
        """The simulated one only."""
        return cls(None)

    def both(self, argv: list[str]) -> tuple[int, Any, Any]:
        """Both say the same and end the same; what that is."""
        told = self.simulated(argv)
        ours, theirs = (told.returncode, normal(told.stdout), normal(told.stderr)), self.real(argv)
        if argv[:1] == ["measure"] and self._has_raw():
            # How much of a raw image is holes is the affair of the host's file system.
            ours, theirs = _without_required(ours), _without_required(theirs)
        if argv[:1] == ["map"] and ours != theirs:
            ours, theirs = _in_clusters(ours), _in_clusters(theirs)
        assert ours == theirs, (argv, ours, theirs)
        WITH_QEMU_IMG[argv[0] if argv and argv[0].isalpha() else "no subcommand"] += 1
        self.fs = told.fs
        return ours

    def _has_raw(self) -> bool:
        return any(isinstance(getattr(inode, "stored", None), Raw) for inode in self.fs.inodes.values())

    def simulated(self, argv: list[str]) -> Done:
        """What the simulated one says, and the files after it."""
        return simulated(self.fs, argv, cwd=PLACE, now_ns=NOW_NS)

    def real(self, argv: list[str]) -> tuple[int, Any, Any]:
        """What the real one says."""
        assert self.directory is not None
        done = run(["qemu-img", *(word.replace(PLACE, str(self.directory)) for word in argv)], self.directory)
        assert done.returncode >= 0, (argv, done)
        return done.returncode, self._words(done.stdout), self._words(done.stderr)

    def _words(self, output: bytes) -> Any:
        return normal(output.decode("utf-8", "surrogateescape").replace(str(self.directory), PLACE))

    def write(self, name: str, offset: int, length: int) -> None:
        """The same bytes at the same place, where there is an image that large."""
        layer = Layer(f"{PLACE}/{name}", Format(probed(self.fs, f"{PLACE}/{name}")))
        try:
            images = tuple(link.image for link in chains.chain(self.fs, layer))
        except chains.OpenError:
            return
        offset = min(offset, images[0].size_bytes - 512) // 512 * 512
        length = min(length, images[0].size_bytes // 512 * 512 - offset)
        if offset < 0 or length <= 0:
            return
        self._writes += 1
        run_ = (offset // 512, (offset + length) // 512, self._writes)
        self.fs = self.fs.store(self.fs.number(layer.path), written(images, [run_]))
        if self.directory is None:
            return
        source = self.directory / "pattern.tmp"
        source.write_bytes(pattern(self._writes, offset, length))
        command = f"write -q -s {source} {offset} {length}"
        done = run(["qemu-io", "-f", layer.format, "-c", command, str(self.directory / name)], self.directory)
        assert not done.returncode, done

    def same_bytes(self, name: str) -> None:
        """What a guest would read is equal, or both cannot be opened."""
        path = f"{PLACE}/{name}"
        form = probed(self.fs, path)
        assert self.directory is not None
        raw = self.directory / "content.tmp"
        argv = ["qemu-img", "convert", "-f", form, "-O", "raw", name, str(raw)]
        try:
            links = chains.chain(self.fs, Layer(path, Format(form)))
        except chains.OpenError as error:
            if error.loop:
                return  # which the real one never ends reading
            links = ()
        done = run(argv, self.directory)
        assert bool(done.returncode) == (not links), (name, done)
        if not links:
            return
        images = tuple(link.image for link in links)
        size = images[0].size_bytes
        ours = bytes_of(chains.between(images, 0, -(-size // 512)), 0, size)
        assert ours == raw.read_bytes()[:size], name


def _without_required(told: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
    code, out, err = told
    if isinstance(out, dict):
        return code, {key: value for key, value in out.items() if key != "required"}, err
    return code, re.sub(r"required size: \d+", "required size: ?", out), err


def _in_clusters(told: tuple[int, Any, Any]) -> tuple[int, Any, Any]:
    """What `map` tells, in clusters that hold data.

    Where a file is sparser than its counts say, QEMU 7.2.22 asks the host's file system for holes inside of clusters.
    """
    code, out, err = told
    if not isinstance(out, list):
        return told
    found = {
        (each.get("depth", each.get("file")), cluster)
        for each in out
        if each.get("data", True)
        for cluster in range(each["start"] // CLUSTER, -(-(each["start"] + each["length"]) // CLUSTER))
    }
    return code, sorted(found), err


def normal(output: str) -> Any:
    """What is printed without what differs between any two runs; JSON as values."""
    if output[:1] in {"{", "["}:
        return _values(json.loads(output))
    if output.startswith("Offset  "):
        return _joined([_extent(line) for line in output.splitlines()[1:]])
    for what, instead in _UNLIKE:
        output = what.sub(instead, output)
    return output


def _values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _values(each) for key, each in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        listed = [_values(each) for each in value]
        return _joined(listed) if listed and isinstance(listed[0], dict) and "start" in listed[0] else listed
    return value


def _extent(line: str) -> dict[str, Any]:
    """A line of `map` for people."""
    start, length, _, name = line.split(maxsplit=3)
    return {"start": int(start, 16), "length": int(length, 16), "file": name}


def _joined(extents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What `map` tells, whatever places in files the parts of it have: where QEMU puts a cluster is not modelled."""
    told: list[dict[str, Any]] = []
    for each in extents:
        if told and _goes_on(told[-1], each):
            told[-1]["length"] += each["length"]
        else:
            told.append(dict(each))
    return told


def _goes_on(one: dict[str, Any], other: dict[str, Any]) -> bool:
    follows = one["start"] + one["length"] == other["start"]
    return follows and one == {**other, "start": one["start"], "length": one["length"]}
