"""Random lives of a simulated host, for the laws that must hold whatever happened before."""

from dataclasses import dataclass

from hypothesis import strategies as st

from simulator import SimulatedHost
from simulator.tools.qemu_img import SnapshotApply, SnapshotCreate, SnapshotDelete
from xensnap.model import Format, Layer

KIB = 1024
SIZE = 512 * KIB
CLUSTERS = st.sampled_from([512, 4 * KIB, 64 * KIB])


@dataclass(frozen=True)
class Write:
    layer: int
    sector: int
    sectors: int


@dataclass(frozen=True)
class Take:
    layer: int
    tag: str


@dataclass(frozen=True)
class Apply:
    layer: int
    which: int


@dataclass(frozen=True)
class Drop:
    layer: int
    which: int


Deed = Write | Take | Apply | Drop

DEEDS = st.lists(
    st.one_of(
        st.builds(Write, st.integers(0, 2), st.integers(0, 1023), st.sampled_from([1, 7, 128, 300])),
        st.builds(Take, st.integers(0, 2), st.sampled_from(["a", "b", ""])),
        st.builds(Apply, st.integers(0, 2), st.integers(0, 9)),
        st.builds(Drop, st.integers(0, 2), st.integers(0, 9)),
    ),
    max_size=12,
)


@st.composite
def hosts(draw: st.DrawFn) -> tuple[SimulatedHost, tuple[Layer, ...]]:
    """A host with a chain of three images, raw or qcow2 at the bottom, that has lived; the base first."""
    host = SimulatedHost.fresh(draw(st.integers(0, 3)))
    layers = [host.create_image("/images/0", draw(st.sampled_from(["raw", "qcow2"])), SIZE, draw(CLUSTERS))]
    for number in (1, 2):
        below = Layer(str(number - 1), layers[-1].format)
        layers.append(host.create_image(f"/images/{number}", "qcow2", SIZE, draw(CLUSTERS), backing=below))
    host.add_domain("guest", "5c84adcc-bd59-488a-96d2-195f9b599cfe", {"xvda": "/images/2"})
    for deed in draw(DEEDS):
        do(host, tuple(layers), deed)
    return host, tuple(layers)


def do(host: SimulatedHost, layers: tuple[Layer, ...], deed: Deed) -> None:
    """One deed, where it is possible."""
    layer = layers[deed.layer]
    if isinstance(deed, Write):
        host.write_layer(layer, deed.sector * 512, min(deed.sectors, SIZE // 512 - deed.sector) * 512)
        return
    if layer.format is Format.RAW:
        return
    entries = host.run(host.images.inspect(layer)).snapshots
    if isinstance(deed, Take):
        assert not host.operate(SnapshotCreate(layer, deed.tag))
    elif entries:
        entry = entries[deed.which % len(entries)]
        done = Apply if isinstance(deed, Apply) else Drop
        words = host.operate(
            SnapshotApply(layer, entry.id) if done is Apply else SnapshotDelete(layer, entry.tag, entry.id)
        )
        assert not words
