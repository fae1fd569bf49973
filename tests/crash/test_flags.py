"""A domain that its operator starts from a file of his own: what is frozen carries the immutable flag, and no more."""

import pytest

from simulator import SimulatedHost
from tests.crash.harness import DEATHS, GUEST, Operation, every_crash, nothing_is_left, scribble, truth
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Refused, Usage
from xensnap.hypervisor import Capability
from xensnap.model import DescribedBy, Disk, Format, Kind

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"


def guest() -> SimulatedHost:
    """A domain with two raw disks, whose snapshots are external."""
    host = SimulatedHost.fresh()
    layers = [host.create_image(f"/images/{vdev}.raw", "raw", 4 * 65536) for vdev in ("xvda", "xvdb")]
    disks = [Disk(vdev, layer.path, Format.RAW) for vdev, layer in zip(("xvda", "xvdb"), layers, strict=True)]
    host.add_domain(GUEST, UUID, disks, described_by=DescribedBy.OPERATOR)
    return host


def flagged(host: SimulatedHost) -> set[str]:
    """The images that carry the flag."""
    names = host.run(host.files.names("/images"))
    return {f"/images/{name}" for name in names if host.run(host.files.is_immutable(f"/images/{name}"))}


def frozen(host: SimulatedHost) -> set[str]:
    """The images that snapshots, there or gone, have frozen."""
    view = Engine(host).view(GUEST)
    return {path for disk in view.domain.disks for path in view.frozen(disk.vdev)}


def test_what_is_frozen_is_flagged_through_a_life_of_snapshots() -> None:
    host = guest()
    engine = Engine(host)
    scribble(host, 0)
    engine.create(GUEST, CreateRequest("one"))
    assert flagged(host) == frozen(host) == {"/images/xvda.raw", "/images/xvdb.raw"}
    scribble(host, 1)
    engine.create(GUEST, CreateRequest("two"))
    assert flagged(host) == frozen(host)
    assert len(frozen(host)) == 4
    for name in ("one", "two", "one"):
        engine.revert(GUEST, RevertRequest(name))
        assert flagged(host) == frozen(host), name
        assert len(frozen(host)) == 6, "those of the snapshots, and what was given up"
        scribble(host, 2)
    engine.undo(GUEST)
    assert flagged(host) == frozen(host)
    (back,) = set(engine.view(GUEST).snapshots) - {"one", "two"}
    engine.create(GUEST, CreateRequest("branch"))
    for name in ("one", back, "branch", "two"):
        engine.delete(GUEST, DeleteRequest(name))
        assert flagged(host) == frozen(host), name
    assert not flagged(host)
    scribble(host, 3)


def test_the_plan_tells_what_to_write_into_the_operators_file() -> None:
    host = guest()
    plan = Engine(host).plan(GUEST, CreateRequest("one"))
    overlays = sorted(entry.path for entry in plan.state.ours if entry.role == "overlay")
    told = [warning for warning in plan.warnings if "file that you start guest from" in warning]
    assert [warning.rpartition("target=")[2].rstrip("'") for warning in told] == overlays


def test_without_a_flag_the_next_start_is_a_risk_that_must_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimulatedHost, "capabilities", SimulatedHost.capabilities - {Capability.IMMUTABLE})
    host = guest()
    before = host.world.fs
    with pytest.raises(Refused) as caught:
        Engine(host).create(GUEST, CreateRequest("one"))
    assert [reason.id for reason in caught.value.reasons] == ["next-start-elsewhere"]
    assert "--accept next-start-elsewhere" in caught.value.remedy
    assert set(host.run(host.files.names("/images"))) == {"xvda.raw", "xvdb.raw"}
    assert host.world.fs.find("/images/xvda.raw") == before.find("/images/xvda.raw")
    accept = ("next-start-elsewhere",)
    assert Engine(host).create(GUEST, CreateRequest("one", accept=accept)).plan.accepted == accept
    assert frozen(host) == {"/images/xvda.raw", "/images/xvdb.raw"}
    Engine(host).revert(GUEST, RevertRequest("one", save_current="kept", accept=accept))
    assert set(Engine(host).list(GUEST).contents.snapshots) == {"one", "kept"}


def test_a_risk_that_a_plan_does_not_have_cannot_be_taken() -> None:
    engine = Engine(guest())
    engine.create(GUEST, CreateRequest("one"))
    for request in (CreateRequest("two", accept=("pinned",)), DeleteRequest("one", accept=("next-start-elsewhere",))):
        with pytest.raises(Usage, match="this has no risk") as caught:
            engine.perform(GUEST, request)
        assert caught.value.remedy == "It has none; leave --accept out."
    with pytest.raises(Usage) as caught:
        engine.plan(GUEST, CreateRequest("two", accept=("next-start-elsewhere", "pinned")))
    assert caught.value.remedy == "Accept what it has: next-start-elsewhere."


def test_a_domain_described_by_us_needs_no_flag() -> None:
    host = SimulatedHost.fresh()
    layer = host.create_image("/images/xvda.raw", "raw", 4 * 65536)
    host.add_domain(GUEST, UUID, [Disk("xvda", layer.path, Format.RAW)])
    Engine(host).create(GUEST, CreateRequest("one", kind=Kind.EXTERNAL))
    assert not flagged(host)


@pytest.mark.parametrize(
    ("before", "operation"),
    [
        ([], lambda engine: engine.create(GUEST, CreateRequest("one"))),
        (["one"], lambda engine: engine.revert(GUEST, RevertRequest("one"))),
        (["one"], lambda engine: engine.delete(GUEST, DeleteRequest("one"))),
        (["one", "two"], lambda engine: engine.delete(GUEST, DeleteRequest("one"))),
        (["one", "two"], lambda engine: engine.delete(GUEST, DeleteRequest("two"))),
    ],
    ids=["create", "revert", "commit-down", "merge-below", "merge-above"],
)
def test_whatever_dies_the_flags_are_right_again(before: list[str], operation: Operation) -> None:
    host = guest()
    for name in before:
        Engine(host).create(GUEST, CreateRequest(name))
        scribble(host, len(name))
    tried = 0
    for point in every_crash(host, operation):
        for name, death in DEATHS:
            where = f"{point!r}, {name}"
            survivor = SimulatedHost(death(point.world))
            Engine(survivor).recover(GUEST)
            view = Engine(survivor).view(GUEST)
            nothing_is_left(survivor, view, where)
            truth(survivor)
            assert flagged(survivor) == frozen(survivor), where
            scribble(survivor, 3)
            tried += 1
    assert tried > 100
