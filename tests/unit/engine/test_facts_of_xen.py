"""What an engine that believed xl's documentation would get wrong, each by the number under which it was measured.

The simulated host behaves as measured (tests/unit/simulator/test_manners.py holds it to that); here the
engine meets it.
"""

from collections import Counter

import pytest

from simulator import Cut, SimulatedHost, after_engine_crash, crash_points
from simulator.checkers.guests import alone, torn
from simulator.checkers.leaks import unclean
from simulator.tools.qemu_img import SnapshotCreate
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Failed, Refused, XensnapError
from xensnap.hypervisor import TakeInternal, Then
from xensnap.model import DescribedBy, Format, GuestKind, Kind, Layer, RunState

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"
IMAGE = Layer("/images/a.qcow2", Format.QCOW2)
SECOND = Layer("/images/b.qcow2", Format.QCOW2)
K64 = 65536


def running(kind: str = "pv") -> SimulatedHost:
    """A guest that works on two disks, started from its operator's own file."""
    host = SimulatedHost.fresh()
    for image in (IMAGE, SECOND):
        host.create_image(image.path)
    disks = {"xvda": IMAGE.path, "xvdb": SECOND.path}
    host.add_domain("guest", UUID, disks, kind=kind, described_by=DescribedBy.OPERATOR)
    host.start("guest")
    host.guest_writes("guest", "xvda", 0, K64, flush=True)
    return host


def tags(host: SimulatedHost, image: Layer = IMAGE) -> list[str]:
    return [entry.tag for entry in host.run(host.images.inspect(image)).snapshots]


def opened(host: SimulatedHost) -> dict[str, Layer]:
    """What the guest's QEMU has open for each disk."""
    return {node.vdev: node.layer for node in host.run(host.blocks.nodes(Engine(host).view("guest").domain))}


# --- xen.md ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GuestKind)
def test_fact_10_a_guest_restored_paused_is_not_asked_for_its_memory_before_it_has_run(kind: GuestKind) -> None:
    """xen.md 10: "Bad mfn"; what it holds is what it was restored from, and its disks can be had"""
    host = running(kind)
    engine = Engine(host)
    engine.create("guest", CreateRequest("one"))
    engine.revert("guest", RevertRequest("one", Then.PAUSED))
    with host.recording(), pytest.raises(Refused):
        engine.create("guest", CreateRequest("two"))
    assert not [point for point in host.recorded if point.effect == "xl.save"]
    engine.unpause("guest")
    engine.create("guest", CreateRequest("two"))
    assert not list(torn(host.world))


@pytest.mark.parametrize("kind", Kind)
def test_fact_18_no_image_of_a_guest_that_runs_is_ever_given_to_qemu_img_to_write(kind: Kind) -> None:
    """xen.md 18: it takes no lock, so qemu-img's word that all went well is worth nothing"""
    host = running()
    engine = Engine(host)
    with host.recording():
        for name in ("one", "two", "three"):
            engine.create("guest", CreateRequest(name, kind=kind, disk_only=True))
        for name in ("two", "one"):
            engine.delete("guest", DeleteRequest(name))
    offline = {point.effect for point in host.recorded if point.effect.startswith("qemu-img.")}
    assert offline <= {"qemu-img.create-overlay"}, "an overlay that no guest has yet"
    assert not list(unclean(host.world.fs))


def test_fact_18_a_snapshot_from_outside_is_not_taken_for_ours() -> None:
    """xen.md 18: with the id that QEMU gives to its own next one"""
    host = running()
    engine = Engine(host)
    host.operate(SnapshotCreate(IMAGE, "outside"))
    held = host.visible("guest")
    engine.create("guest", CreateRequest("ours", disk_only=True))
    assert tags(host) == ["ours"]
    host.guest_writes("guest", "xvda", 0, K64, flush=True)
    engine.revert("guest", RevertRequest("ours", Then.STOPPED))
    assert host.visible("guest") == held


def test_fact_21_a_transaction_that_fails_leaves_no_disk_with_a_point() -> None:
    """xen.md 21: where space went behind the plan; the guest runs on"""
    host = running()
    host.meanwhile("qmp.transaction", lambda: host.set_capacity(free_bytes=0))
    with pytest.raises(Failed, match="No space left on device"):
        Engine(host).create("guest", CreateRequest("s", disk_only=True))
    assert tags(host) == tags(host, SECOND) == []
    assert Engine(host).view("guest").domain.state is RunState.RUNNING


def test_fact_22_a_tag_that_qemu_would_refuse_is_not_asked_for() -> None:
    """xen.md 22: QEMU refuses a tag that somebody else has taken, so ours is another one, and theirs stays"""
    host = running()
    host.run(host.blocks.transaction(Engine(host).view("guest").domain, [TakeInternal("xvdb", "s")]))
    Engine(host).create("guest", CreateRequest("s", disk_only=True))
    ours = {disk.vdev: disk.tag for disk in Engine(host).view("guest").snapshots["s"].disks}
    assert ours["xvdb"] != "s"
    assert tags(host, SECOND) == ["s", ours["xvdb"]]
    assert tags(host) == [ours["xvda"]]


@pytest.mark.parametrize("names", [("2", "1"), ("1", "2"), ("2", "3", "1")])
def test_fact_24_a_snapshot_named_with_digits_is_never_taken_for_an_id(names: tuple[str, ...]) -> None:
    """xen.md 24: `-a 1` takes the one with the id 1, `-d 1` the one with the tag"""
    host = running()
    engine = Engine(host)
    engine.stop("guest")
    held = {}
    for name in names:
        host.write("guest", "xvda", 0, K64)
        held[name] = host.visible("guest")
        engine.create("guest", CreateRequest(name, kind=Kind.INTERNAL))
    for name in names:
        engine.revert("guest", RevertRequest(name, Then.STOPPED, no_undo=True))
        assert host.visible("guest") == held[name]
    for gone, left in zip(names, range(len(names) - 1, -1, -1), strict=True):
        engine.delete("guest", DeleteRequest(gone))
        assert len(tags(host)) == left
        assert gone not in tags(host)


# --- xen-live.md -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [GuestKind.PVH, GuestKind.HVM])
@pytest.mark.parametrize("live", [False, True])
def test_live_a7_and_c1_the_watcher_is_there_after_each_kind_of_checkpoint(kind: GuestKind, *, live: bool) -> None:
    """xen-live.md A7, C1: it ends where it sees "Domain has suspended", which a live save shows it, too"""
    host = running(kind)
    Engine(host).create("guest", CreateRequest("s", live=live))
    assert not list(alone(host.world))
    host.guest_reboot("guest")
    assert Engine(host).view("guest").domain.state is RunState.RUNNING


def test_live_a4_an_hvm_guest_has_its_images_again_before_its_points_are_taken() -> None:
    """xen-live.md A3, A4, A5: after the last pass, and before the receiver ends, on which xl waits to resume"""
    host = running("hvm")
    with host.recording():
        Engine(host).create("guest", CreateRequest("s", live=True))
    order = [point.effect for point in host.recorded if point.cut is Cut.AFTER]
    assert order.index("qmp.cont") < order.index("qmp.transaction")
    assert tags(host) == tags(host, SECOND) == ["s"]


@pytest.mark.parametrize("how", ["reboot", "cold start"])
def test_live_b1_a_guest_comes_up_on_its_overlays_or_not_at_all(how: str) -> None:
    """xen-live.md B1, B2, B6: whatever starts it next; xl still names the base, which a flag keeps as it is"""
    host = running()
    Engine(host).create("guest", CreateRequest("s", kind=Kind.EXTERNAL, disk_only=True))
    frozen = host.visible_layer(IMAGE)
    overlays = opened(host)
    if how == "reboot":
        host.guest_reboot("guest")
        assert opened(host) == overlays
    else:
        host.guest_poweroff("guest")
        host.start("guest")
    host.guest_writes("guest", "xvda", 0, K64, flush=True)
    assert host.visible_layer(IMAGE) == frozen


@pytest.mark.parametrize("kind", Kind)
def test_live_b4_no_disk_is_ever_detached_under_a_guest(kind: Kind) -> None:
    """xen-live.md B4: `xl block-detach` takes a mounted disk away in half a second"""
    host = running()
    engine = Engine(host)
    with host.recording():
        for name in ("one", "two"):
            engine.create("guest", CreateRequest(name, kind=kind))
        engine.revert("guest", RevertRequest("one"))
        for name in ("one", "two"):
            engine.delete("guest", DeleteRequest(name))
    done = Counter(point.effect for point in host.recorded)
    assert done["xl.save"]
    assert done["xl.restore"]
    assert not [effect for effect in done if "detach" in effect or "attach" in effect]


def test_live_d_an_image_that_anybody_has_open_is_not_written_offline() -> None:
    """xen-live.md D: QEMU's lock bytes tell nothing under Xen; a lease tells of everybody, and xenstore names a base"""
    host = running()
    engine = Engine(host)
    engine.create("guest", CreateRequest("s", disk_only=True))
    engine.stop("guest")
    pid = host.open_image(IMAGE.path)
    before = host.visible_layer(IMAGE)
    with pytest.raises((Failed, Refused)) as caught:
        engine.revert("guest", RevertRequest("s"))
    assert str(pid) in str(caught.value)
    assert host.visible_layer(IMAGE) == before
    host.end_process(pid)
    engine.revert("guest", RevertRequest("s"))


def test_live_e1_a_guest_whose_save_is_whole_is_let_go_on_by_the_next_command() -> None:
    """xen-live.md E1: after a death between `xl save -p` and `xl unpause`"""
    host = running()
    with host.recording():
        Engine(host).create("guest", CreateRequest("s"))
    died = next(point for point in host.recorded if point.effect == "xl.save" and point.cut is Cut.AFTER)
    after = SimulatedHost(after_engine_crash(died.world, "killed"))
    engine = Engine(after)
    assert engine.view("guest").domain.state is RunState.PAUSED
    engine.recover("guest")
    assert engine.view("guest").domain.state is RunState.RUNNING
    assert not list(torn(after.world))
    assert not list(alone(after.world))


@pytest.mark.one_door("a guest is revived there by a save that fails, which is no one effect")
def test_live_c1_who_watches_a_guest_that_is_still_suspended_goes_on_when_recover_has_revived_it() -> None:
    """xen-live.md C1: beside a suspended guest it would end, and nobody would reboot the guest from then on"""
    host = running("pvh")
    host.fail_at("qmp.transaction")
    for nth in (1, 2):
        host.fail_at("xl.resume", nth=nth)
    with pytest.raises(XensnapError):
        Engine(host).create("guest", CreateRequest("s", live=True))
    comes_back(host)


@pytest.mark.one_door("a guest is revived there by a save that fails, which is no one effect")
@pytest.mark.parametrize("live", [False, True])
def test_live_c1_and_when_the_first_recover_could_not_revive_it(*, live: bool) -> None:
    host = running("pvh")
    with host.recording():
        Engine(host).create("guest", CreateRequest("s", live=live))
    worlds = [point.world for point in crash_points(host)]
    suspended = next(
        world for world in worlds if Engine(SimulatedHost(world)).view("guest").domain.state is RunState.SUSPENDED
    )
    after = SimulatedHost(after_engine_crash(suspended, "killed"))
    after.fail_at("xl.resume")
    with pytest.raises(XensnapError):
        Engine(after).recover("guest")
    comes_back(after)


def comes_back(host: SimulatedHost) -> None:
    """The suspended guest, by `recover`, with who reboots it."""
    engine = Engine(host)
    assert engine.view("guest").domain.state is RunState.SUSPENDED
    assert not list(alone(host.world))
    engine.recover("guest")
    host.guest_reboot("guest")
    assert engine.view("guest").domain.state is RunState.RUNNING
    assert not list(alone(host.world))
