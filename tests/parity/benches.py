"""The same operations on simulated images and on real ones, with the real qemu-img and qemu-io."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from simulator import SimulatedHost, pattern
from simulator.tools.qemu_img import Commit, Program, Rebase, Resize, SnapshotApply, SnapshotCreate, SnapshotDelete
from tests.parity.tools import WITH_QEMU_IMG
from xensnap.backends.local.reader import read_image
from xensnap.model import Format, Image, Layer

SIMULATED = "/images"


@dataclass(frozen=True)
class Told:
    """What both worlds must agree on about an image, besides its bytes."""

    size_bytes: int
    cluster_size_bytes: int
    compat: str
    refcount_bits: int
    backing: tuple[str, Format | None] | None
    snapshots: tuple[tuple[str, str, int], ...]


def told(image: Image) -> Told:
    backing = image.backing
    return Told(
        image.virtual_size_bytes,
        image.cluster_size_bytes,
        image.compat,
        image.refcount_bits,
        (backing.name, backing.format) if backing else None,
        tuple((entry.id, entry.tag, entry.disk_size_bytes) for entry in image.snapshots),
    )


class Pair:
    """A directory of real images and a simulated host, kept in step."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.host = SimulatedHost.fresh()
        self.formats: dict[str, Format] = {}

    def layer(self, name: str) -> Layer:
        return Layer(f"{SIMULATED}/{name}", self.formats[name])

    def real(self, *argv: str) -> str:
        """Run the real tool; what it says on stderr, with its paths as the simulated ones."""
        done = subprocess.run(argv, capture_output=True, cwd=self.directory, check=False)
        words = done.stderr.decode("utf-8", "surrogateescape").strip()
        assert done.returncode >= 0, (argv, done)
        assert bool(done.returncode) == bool(words), (argv, done)
        return words.replace(str(self.directory), SIMULATED)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def create(
        self,
        name: str,
        format: Format,
        size: int,
        cluster: int = 65536,
        compat: str = "1.1",
        backing: str = "",
        refcount_bits: int = 16,
        *,
        extended_l2: bool = False,
    ) -> None:
        options = ["-o", f"cluster_size={cluster},compat={compat}"] if format is Format.QCOW2 else []
        if refcount_bits != 16:
            options[1] += f",refcount_bits={refcount_bits}"
        if extended_l2:
            options[1] += ",extended_l2=on"
        below = ["-b", backing, "-F", self.formats[backing]] if backing else []
        words = self.real("qemu-img", "create", "-q", "-f", format, *options, *below, self.path(name), str(size))
        assert not words, words
        self.formats[name] = format
        self.host.create_image(
            f"{SIMULATED}/{name}",
            format,
            size,
            cluster,
            compat,
            Layer(backing, self.formats[backing]) if backing else None,
            refcount_bits,
            extended_l2=extended_l2,
        )

    def write(self, name: str, offset: int, length: int) -> None:
        number = self.host.write_layer(self.layer(name), offset, length)
        source = self.directory / "pattern.tmp"
        source.write_bytes(pattern(number, offset, length))
        command = f"write -q -s {source} {offset} {length}"
        words = self.real("qemu-io", "-f", self.formats[name], "-c", command, self.path(name))
        assert not words, words

    def both(self, program: Program) -> str:
        """Do the same in both worlds, and see that both say the same."""
        simulated = self.host.operate(program)
        real = self.real(*self.argv(program))
        assert simulated == real, program
        WITH_QEMU_IMG[self.argv(program)[1]] += 1
        return real

    def argv(self, program: Program) -> list[str]:
        def at(layer: Layer) -> str:
            return layer.path.replace(SIMULATED, str(self.directory))

        match program:
            case SnapshotCreate(layer, tag):
                return ["qemu-img", "snapshot", "-c", tag, at(layer)]
            case SnapshotApply(layer, snapshot_id):
                return ["qemu-img", "snapshot", "-a", snapshot_id, at(layer)]
            case SnapshotDelete(layer, tag):
                return ["qemu-img", "snapshot", "-d", tag, at(layer)]
            case Commit(top, into):
                return ["qemu-img", "commit", "-q", "-d", "-f", top.format, "-b", at(into), at(top)]
            case Rebase(layer, name, form, copy):
                onto = ["-b", name, "-F", form] if name else ["-b", ""]
                return ["qemu-img", "rebase", "-q", *([] if copy else ["-u"]), "-f", layer.format, *onto, at(layer)]
            case Resize(layer, size):
                return ["qemu-img", "resize", "-q", "--shrink", "-f", layer.format, at(layer), str(size)]
        raise AssertionError(program)

    def agree(self, name: str) -> None:
        """Bytes, sizes, chains and snapshot tables are equal, and the real image is whole."""
        layer = self.layer(name)
        real_layer = Layer(self.path(name), self.formats[name])
        ours, theirs = self.host.run(self.host.images.inspect(layer)), read_image(real_layer)
        assert told(ours) == told(theirs), name
        raw = self.directory / "content.tmp"
        words = self.real("qemu-img", "convert", "-f", layer.format, "-O", "raw", real_layer.path, str(raw))
        assert not words, words
        assert self.host.read_layer(layer) == raw.read_bytes(), name

    def whole(self, name: str) -> None:
        if self.formats[name] is Format.QCOW2:
            done = subprocess.run(
                ["qemu-img", "check", "-q", "-f", "qcow2", self.path(name)], capture_output=True, check=False
            )
            checked = self.host.run(self.host.images.check(self.layer(name)))
            assert checked.clean == (done.returncode == 0), (name, checked, done.stderr)
