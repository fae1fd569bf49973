"""The likeness of a host: what is there is there, what is shared is shared, and the host is only read."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator import SimulatedHost
from xensnap.backends.qemu.host import QemuHost
from xensnap.conformance import Trial, Workplace
from xensnap.conformance.places.doors import DoorPlace
from xensnap.conformance.places.plain_qemu import QemuPlace
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.flag_steps import Freeze
from xensnap.engine.plan import each
from xensnap.engine.steps import Step
from xensnap.errors import Refused
from xensnap.hypervisor import Hypervisor
from xensnap.model import Kind, RunState
from xensnap.testing import checks
from xensnap.testing.likeness import likeness

NAME = "xsct-1"


@pytest.fixture(params=["sim", "doors", "qemu"])
def place(request, tmp_path) -> Iterator[Workplace]:
    """A host with one domain of two disks, raw and qcow2, and four snapshots of both kinds in two branches."""
    if request.param == "qemu":
        request.getfixturevalue("qemu_img")
        request.getfixturevalue("qemu_io")
    made: Workplace
    match request.param:
        case "qemu":
            made = QemuPlace(str(tmp_path))
        case "doors":
            made = DoorPlace()
        case _:
            made = SimulatedPlace()
    guest = Trial(made, prefix="xsct-", case="", tell=lambda _: None).guest(xvda="qcow2", xvdb="raw")
    for number, name in enumerate(("root", "left")):
        guest.write(block=number * 20, blocks=30)
        guest.create(name)
    guest.revert("root")
    guest.write(block=100, blocks=40)
    guest.create("right")
    guest.write(block=200, blocks=20)
    yield made
    made.close()


def images(host: Hypervisor) -> dict[str, tuple[object, ...]]:
    """Every image of the domain, with what its header and its table say, and the stretches that its states have."""
    found: dict[str, tuple[object, ...]] = {}
    for disk in host.run(host.toolstack.inspect(NAME)).disks:
        for image in host.run(host.images.chain(disk.layer)).images:
            extents = host.run(host.images.extents(image.layer))
            stretches = {of: [(each.start_bytes, each.length_bytes) for each in some] for of, some in extents.items()}
            backing = image.backing.path if image.backing else ""
            told = (image.virtual_size_bytes, image.compat, image.cluster_size_bytes, backing, image.snapshots)
            found[image.layer.path] = (*told, {of: sum(length for _, length in some) for of, some in stretches.items()})
    return found


def test_everything_that_is_known_of_images_and_snapshots_is_the_same(place) -> None:
    drawn = likeness(place.host)
    assert drawn.without == ()
    sim = SimulatedHost(drawn.world)
    assert images(sim) == images(place.host)
    real, here = Engine(place.host), Engine(sim)
    assert here.list(NAME).current == real.list(NAME).current == "right"
    told = [engine.list(NAME).contents.snapshots for engine in (real, here)]
    assert [(each.name, each.parent) for each in told[0].values()] == [(e.name, e.parent) for e in told[1].values()]
    assert checks.store_findings(sim) == ()


def test_every_snapshot_can_be_reverted_to_and_deleted_there(place) -> None:
    world = likeness(place.host).world
    for name in ("root", "left", "right"):
        sim = SimulatedHost(world)
        engine = Engine(sim)
        engine.revert(NAME, RevertRequest(name))
        assert engine.list(NAME).current == name
        engine.delete(NAME, DeleteRequest(name))
        engine.create(NAME, CreateRequest("new"))
        assert engine.list(NAME).current == "new"
        assert checks.store_findings(sim) == ()


def test_a_plan_frees_and_needs_there_what_it_does_on_the_host(place) -> None:
    sim = SimulatedHost(likeness(place.host).world)
    for request in (RevertRequest("left"), DeleteRequest("root")):
        real, here = (Engine(host).plan(NAME, request) for host in (place.host, sim))
        assert kinds(here.prepare) == kinds(real.prepare)
        assert kinds(here.finish) == kinds(real.finish)
        assert abs(here.bytes_needed - real.bytes_needed) <= 4 * 65536


def kinds(steps: tuple[Step, ...]) -> list[type]:
    """What is done, but for flags: nobody but us starts the domains of a likeness."""
    return [type(step) for step in each(steps) if not isinstance(step, Freeze)]


def test_the_host_is_only_read(tmp_path, qemu_img, qemu_io) -> None:
    place = QemuPlace(str(tmp_path))
    guest = Trial(place, prefix="xsct-", case="", tell=lambda _: None).guest(xvda="qcow2")
    guest.write()
    guest.create("s")
    before = fingerprints(tmp_path)
    likeness(QemuHost(next(tmp_path.iterdir())))
    assert fingerprints(tmp_path) == before
    place.close()


def fingerprints(directory: Path) -> dict[str, str]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_record_that_no_longer_matches_its_image_does_not_match_there_either(place) -> None:
    host = place.host
    layer = next(disk.layer for disk in host.run(host.toolstack.inspect(NAME)).disks if disk.vdev == "xvda")
    entry = next(each for each in host.run(host.images.inspect(layer)).snapshots if each.tag == "left")
    host.run(host.images.snapshot_delete(layer, tag=entry.tag, snapshot_id=entry.id))
    sim = SimulatedHost(likeness(host).world)
    refusals = []
    for one in (host, sim):
        with pytest.raises(Refused) as refused:
            Engine(one).revert(NAME, RevertRequest("left"))
        refusals.append({reason.id for reason in refused.value.reasons})
    assert refusals[0] == refusals[1]


def test_memory_is_left_out_and_told_and_a_guest_that_runs_runs() -> None:
    place = SimulatedPlace()
    guest = Trial(place, prefix="xsct-", case="", tell=lambda _: None).guest(xvda="qcow2", runs=True)
    guest.create("with memory", kind=Kind.INTERNAL)
    drawn = likeness(place.host)
    assert drawn.without == (f"{NAME}: the memory of 'with memory'",)
    sim = SimulatedHost(drawn.world)
    assert sim.run(sim.toolstack.inspect(NAME)).state is RunState.RUNNING
    held = Engine(sim).list(NAME).contents.snapshots["with memory"]
    assert (held.memory, held.memory_bytes, held.live) == ("", 0, False)
    before = sim.incarnation(NAME).domid
    Engine(sim).revert(NAME, RevertRequest("with memory"))
    assert sim.incarnation(NAME).domid != before, "it was started anew, as from a snapshot of its disks"
