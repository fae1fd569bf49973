"""Two domains on a common base, and what can be told of both."""

from simulator import SimulatedHost
from simulator.checkers.leaks import files, unclean
from tests.crash.harness import CLUSTER, GUEST, held_by, scribble
from tests.discovery.interleave import AsyncOperation
from xensnap.engine.engine import Engine
from xensnap.engine.request import CloneRequest, CreateRequest, DeleteRequest, RevertRequest
from xensnap.engine.view import View
from xensnap.model import Disk, Format, Kind, Layer

BESIDE = "beside"
BASE = Layer("/images/xvda.raw", Format.RAW)
BEFORE = "00000000-0000-4000-8000-000000000001"
AFTER = "ffffffff-ffff-4fff-bfff-fffffffffffe"
"""UUIDs of the one domain that come before and after that of the other: locks are taken in their order."""


def sharing(uuid: str, *, recorded: bool = True) -> SimulatedHost:
    """A guest with two snapshots, and a domain of this UUID with one, on an overlay on the image that the first froze.

    Where it is not `recorded`, both stand on a template that no store tells of.
    """
    host = SimulatedHost.fresh()
    layer = host.create_image(BASE.path, BASE.format, 4 * CLUSTER)
    if not recorded:
        layer = host.create_image("/images/over.qcow2", "qcow2", 4 * CLUSTER, backing=BASE)
    host.add_domain(GUEST, "5c84adcc-bd59-488a-96d2-195f9b599cfe", [Disk("xvda", layer.path, layer.format)])
    engine = Engine(host)
    scribble(host, 0)
    engine.create(GUEST, CreateRequest("first", kind=Kind.EXTERNAL))
    layer = host.create_image("/images/beside.qcow2", "qcow2", 4 * CLUSTER, backing=BASE)
    host.add_domain(BESIDE, uuid, [Disk("xvda", layer.path, layer.format)])
    scribble(host, 1)
    engine.create(GUEST, CreateRequest("second", kind=Kind.EXTERNAL))
    scribble(host, 2)
    host.write(BESIDE, "xvda", 3 * CLUSTER, CLUSTER)
    engine.create(BESIDE, CreateRequest("mine", kind=Kind.EXTERNAL))
    host.write(BESIDE, "xvda", 0, CLUSTER)
    return host


OF_THE_GUEST: dict[str, AsyncOperation] = {
    "create": lambda engine: engine.create(GUEST, CreateRequest("third")),
    "revert": lambda engine: engine.revert(GUEST, RevertRequest("first")),
    "delete": lambda engine: engine.delete(GUEST, DeleteRequest("first")),
    "delete the last": lambda engine: engine.delete(GUEST, DeleteRequest("second")),
}
CLONE: AsyncOperation = lambda engine: engine.make(CloneRequest(GUEST, "first", "new", linked=True))  # noqa: E731
BESIDE_IT: dict[str, AsyncOperation] = {
    "create": lambda engine: engine.create(BESIDE, CreateRequest("yours")),
    "revert": lambda engine: engine.revert(BESIDE, RevertRequest("mine")),
    "delete": lambda engine: engine.delete(BESIDE, DeleteRequest("mine")),
}


def at_rest(host: SimulatedHost, *directories: str) -> list[View]:
    """Every domain; nothing is pending or open, and in these directories no file is there that nobody needs."""
    engine = Engine(host)
    assert not list(unclean(host.world.fs))
    assert not engine.unborn()
    views = [engine.view(domain.uuid) for domain in engine.domains()]
    assert not any(view.pending for view in views)
    needed = {path for view in views for path, image in view.images.items() if image}
    needed |= {entry.path for view in views for entry in view.state.ours}
    needed |= {entry.path for view in views for entry in view.state.parked}
    there = {path for path, _ in files(host.world.fs) if path.startswith(directories)}
    assert there <= needed, f"orphans {there - needed}"
    return views


def seen(host: SimulatedHost) -> object:
    """All that anybody can tell of all domains at rest."""
    return {
        view.domain.name: (
            host.visible(view.domain.name),
            held_by(host, view.snapshots),
            sorted(name.partition("-")[0] for name in view.trashed),
            len(view.state.hidden),
        )
        for view in at_rest(host, "/images")
    }
