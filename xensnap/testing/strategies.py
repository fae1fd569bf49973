"""What Hypothesis draws: disks, chains, domains, writes, faults and whole sequences of operations."""

from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st

from simulator import Cut, SimulatedHost
from simulator.faults import points
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.model import Format, Kind
from xensnap.testing.values import CLUSTER_BYTES, DiskLayout, FaultPlan, GuestWrite

VDEVS = ("xvda", "xvdb", "xvdc", "xvdd")


def disk_layouts(*, min_size: int = 1, max_size: int = 4, max_layers: int = 1) -> st.SearchStrategy[list[DiskLayout]]:
    """Disks with different vdevs."""
    one = st.builds(
        DiskLayout,
        vdev=st.just(""),
        format=st.sampled_from([Format.QCOW2, Format.QCOW2, Format.RAW]),
        clusters=st.integers(1, 8),
        cluster_size_bytes=st.sampled_from([512, 4096, CLUSTER_BYTES]),
        compat=st.sampled_from(["1.1", "0.10"]),
        layers=st.integers(1, max_layers),
    )
    many = st.lists(one, min_size=min_size, max_size=min(max_size, len(VDEVS)))
    return many.map(lambda found: [msgspec.structs.replace(d, vdev=v) for d, v in zip(found, VDEVS, strict=False)])


def chains(*, max_layers: int = 4) -> st.SearchStrategy[list[DiskLayout]]:
    """One disk that stands on a chain of images."""
    return disk_layouts(max_size=1, max_layers=max_layers)


@st.composite
def domains(draw: st.DrawFn, *, name: str = "guest") -> tuple[SimulatedHost, str]:
    """A host with one domain that is off and has been written to; the host and the domain's name."""
    layouts = draw(disk_layouts(max_layers=2))
    host = SimulatedHost.fresh(draw(st.integers(0, 1 << 16)))
    host.add_domain(name, disks=[layout.make(host, name) for layout in layouts])
    sizes = {layout.vdev: layout.clusters for layout in layouts}
    for write in draw(guest_writes([*sizes], max_size=6)):
        write.do(host, name, sizes)
    return host, name


def guest_writes(vdevs: Sequence[str], *, max_size: int = 8) -> st.SearchStrategy[list[GuestWrite]]:
    """Writes to these disks."""
    one = st.builds(GuestWrite, st.sampled_from(vdevs), st.integers(0, 7), st.integers(1, 4))
    return st.lists(one, max_size=max_size)


def fault_plans() -> st.SearchStrategy[FaultPlan]:
    """One fault at any effect that changes something."""
    writing = sorted(effect.name for effect in points.effects() if effect.writes)
    cuts = st.sampled_from([Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
    # ENOSPC, EIO, EACCES, EROFS
    return st.builds(FaultPlan, st.sampled_from(writing), cuts, st.sampled_from([28, 5, 13, 30]), st.integers(1, 3))


Operation = CreateRequest | RevertRequest | DeleteRequest


def op_sequences(*, names: Sequence[str] = ("a", "b", "c"), max_size: int = 8) -> st.SearchStrategy[list[Operation]]:
    """Creates, reverts and deletes. Some will be refused: of names that are taken, or not there."""
    name = st.sampled_from(names)
    kind = st.sampled_from([None, Kind.INTERNAL, Kind.EXTERNAL])
    return st.lists(
        st.one_of(
            st.builds(CreateRequest, name=name, kind=kind),
            st.builds(RevertRequest, name=name),
            st.builds(DeleteRequest, name=name, children=st.booleans()),
        ),
        max_size=max_size,
    )
