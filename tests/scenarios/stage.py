"""A domain for the stories, and the script that everybody writes first: qemu-img and mv, and no record of anything."""

from collections.abc import Callable

from simulator import SimulatedHost
from simulator.tools.qemu_img import Commit, SnapshotApply, SnapshotCreate, SnapshotDelete
from tests.crash.harness import CLUSTER, GUEST, guest, held_by, scribble
from xensnap.engine.engine import Engine
from xensnap.model import Backing, Format, Layer

__all__ = ["CLUSTER", "GUEST", "Naive", "fails", "guest", "held", "scribble"]


class Naive:
    """What a script does that knows of nothing but names. It stands for all that were written by hand."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host

    def tag(self, path: str, tag: str) -> str:
        return self.host.operate(SnapshotCreate(Layer(path, Format.QCOW2), tag))

    def apply(self, path: str, snapshot_id: str) -> str:
        return self.host.operate(SnapshotApply(Layer(path, Format.QCOW2), snapshot_id))

    def untag(self, path: str, tag: str, snapshot_id: str) -> str:
        return self.host.operate(SnapshotDelete(Layer(path, Format.QCOW2), tag, snapshot_id))

    def commit(self, top: str, base: Layer) -> str:
        return self.host.operate(Commit(Layer(top, Format.QCOW2), base))

    def overlay(self, path: str, backing: Layer, size_bytes: int) -> None:
        """And the domain goes on in it, as its file is edited to say."""
        self.host.run(self.host.files.create(path))
        below = Backing(backing.path, backing.path, backing.format)
        self.host.run(self.host.images.create_overlay(path, backing=below, size_bytes=size_bytes))
        domain = self.host.run(self.host.toolstack.inspect(GUEST))
        self.host.run(self.host.toolstack.set_layers(domain.uuid, {"xvda": Layer(path, Format.QCOW2)}))

    def tags(self, path: str) -> list[tuple[str, str]]:
        """Name and id of each snapshot in an image, the oldest first."""
        image = self.host.run(self.host.images.inspect(Layer(path, Format.QCOW2)))
        return [(entry.tag, entry.id) for entry in image.snapshots]

    def remove(self, path: str) -> None:
        self.host.run(self.host.files.remove(path))


def held(host: SimulatedHost) -> dict[tuple[str, str], object]:
    """What every snapshot of the domain would give back."""
    return held_by(host, Engine(host).list(GUEST).contents.snapshots)


def fails(work: Callable[[], object]) -> bool:
    """Whether it ends in an error."""
    try:
        work()
    except Exception:  # noqa: BLE001 - of a naive script anything may come
        return True
    return False
