"""What a plan for a guest that runs is refused for: what its host can do with some guests it cannot do with all."""

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.faults import damage
from xensnap.engine.engine import Engine
from xensnap.engine.live_steps import Checkpoint
from xensnap.engine.names import SAFETY
from xensnap.engine.opened import Opened
from xensnap.engine.request import CreateRequest, DeleteRequest, RevertRequest
from xensnap.errors import Failed, Refused, Unknown, XensnapError
from xensnap.hypervisor import Node, TakeOverlay, Then
from xensnap.model import Consistency, Disk, Domain, Format, GuestKind, Kind, Layer, RunState

UUID = "5c84adcc-bd59-488a-96d2-195f9b599cfe"


def running(kind: str, *, drivers: bool = True, shadow: bool = False) -> SimulatedHost:
    host = SimulatedHost.fresh(shadow_paging=shadow)
    host.create_image("/images/a.qcow2")
    host.add_domain("guest", UUID, {"xvda": "/images/a.qcow2"}, kind=kind, drivers=drivers)
    host.start("guest")
    return host


def refusals(host: SimulatedHost, request: CreateRequest) -> tuple[str, ...]:
    """The ids of the reasons for which a plan is refused; nothing is touched in any case."""
    before = host.world
    try:
        Engine(host).plan("guest", request)
    except Refused as error:
        assert host.world.fs == before.fs
        return tuple(reason.id for reason in error.reasons)
    return ()


@pytest.mark.parametrize("kind", GuestKind)
@pytest.mark.parametrize("shadow", [False, True])
def test_a_live_save_is_refused_where_xen_cannot_log_dirty_pages(kind: GuestKind, *, shadow: bool) -> None:
    """xen-live.md A1: Debian's Xen has no shadow paging, and a PV guest has nothing else"""
    host = running(kind, shadow=shadow)
    expected = ("no-live-save",) if kind is GuestKind.PV and not shadow else ()
    assert refusals(host, CreateRequest("s", live=True)) == expected
    assert refusals(host, CreateRequest("s")) == ()


def test_the_refusal_of_a_live_save_says_what_is_missing() -> None:
    with pytest.raises(Refused, match="shadow paging") as caught:
        Engine(running("pv")).plan("guest", CreateRequest("s", live=True))
    assert caught.value.remedy.startswith("Leave out --live. Or take the risk that the guest stands still")
    assert caught.value.remedy.endswith("--accept no-live-save.")


def test_a_live_save_falls_back_to_a_plain_one_where_that_is_accepted() -> None:
    engine = Engine(running("pv"))
    request = CreateRequest("s", live=True, accept=("no-live-save",))
    plan = engine.plan("guest", request)
    assert [step.live for step in plan.prepare if isinstance(step, Checkpoint)] == [False]
    assert [warning for warning in plan.warnings if "shadow paging" in warning]
    engine.create("guest", request)
    snapshot = engine.view("guest").snapshots["s"]
    assert (snapshot.consistency, snapshot.live) == (Consistency.CHECKPOINT, False)


def test_a_save_that_falls_back_cannot_promise_how_long_the_guest_stands_still() -> None:
    request = CreateRequest("s", live=True, max_downtime_s=1.0, accept=("no-live-save",))
    assert refusals(running("pv"), request) == ("no-downtime-limit",)


@pytest.mark.parametrize("kind", GuestKind)
def test_a_paused_guest_that_suspends_itself_gives_no_checkpoint(kind: GuestKind) -> None:
    """xen.md 3"""
    host = running(kind)
    Engine(host).pause("guest")
    assert refusals(host, CreateRequest("s")) == ("paused-guest",)
    assert refusals(host, CreateRequest("s", disk_only=True)) == ()


@pytest.mark.parametrize(("drivers", "kept"), [(False, True), (True, False)])
def test_a_revert_keeps_the_memory_of_a_paused_guest_only_if_it_can_be_saved(*, drivers: bool, kept: bool) -> None:
    """xen.md 3: only that of an HVM guest without PV drivers can"""
    host = running("hvm", drivers=drivers)
    engine = Engine(host)
    engine.stop("guest")
    engine.create("guest", CreateRequest("s"))
    engine.start("guest")
    engine.pause("guest")  # not from its start on: it has no drivers before it has run
    steps = [type(step).__name__ for step in engine.plan("guest", RevertRequest("s")).prepare]
    assert steps[0] == ("SaveAway" if kept else "EndDomain")


def test_a_guest_that_an_xl_create_has_left_half_built_is_not_started_again_before_it_is_stopped() -> None:
    """Its domain has a name and no memory, which xl tells as it tells of one that is dying"""
    host = running("pv")
    Engine(host).stop("guest")
    with host.recording():
        Engine(host).start("guest")
    died = [after_engine_crash(p.world, "killed") for p in host.recorded if p.effect == "xl.create"]
    half = next(each for each in map(SimulatedHost, died) if Engine(each).list("guest").domain.state is RunState.DYING)
    engine = Engine(half)
    with pytest.raises(Refused, match=r"guest is dying") as caught:
        engine.start("guest")
    assert caught.value.id == "still-dying"
    assert "xensnap domain stop guest" in caught.value.remedy
    assert engine.stop("guest").state is RunState.OFF
    assert engine.start("guest").state is RunState.RUNNING
    with pytest.raises(Refused, match="guest is running already"):
        engine.start("guest")


def test_no_snapshot_is_taken_through_one_of_two_nodes_of_an_image() -> None:
    """xen.md 16: it would be lost when the other writes its own table"""
    host = running("hvm", drivers=False)
    assert refusals(host, CreateRequest("s")) == ("image-open-twice",)
    assert refusals(host, CreateRequest("s", disk_only=True)) == ("image-open-twice",)


def test_a_guest_that_runs_on_another_image_than_it_would_start_from_gives_no_snapshot() -> None:
    """xen.md 23: what somebody has made over QMP by hand is in no configuration"""
    host = running("pv")
    overlay = host.create_image("/images/by-hand.qcow2", backing=Layer("a.qcow2", Format.QCOW2))
    domain = Engine(host).view("guest").domain
    host.run(host.blocks.transaction(domain, [TakeOverlay("xvda", overlay)]))
    assert refusals(host, CreateRequest("s")) == ("runs-on-another",)


@pytest.mark.parametrize("kind", ["internal", "external"])
def test_a_guest_whose_image_somebody_has_replaced_gives_no_snapshot(kind: str) -> None:
    """design 5.12: QEMU writes to the old file, and tells its name, which another file has by now"""
    host = running("pv")
    replaced = SimulatedHost(damage.damaged(host.world, damage.Copy("/images/a.qcow2", "/images/a.qcow2")))
    request = CreateRequest("s", kind=Kind(kind))
    assert refusals(host, request) == ()
    assert refusals(replaced, request) == ("image-replaced",)


def test_a_guest_whose_qemu_does_not_answer_gives_no_snapshot() -> None:
    """xen.md 19, 25"""
    host = running("pv")
    host.hold_monitor("guest", "libxenstat")
    assert refusals(host, CreateRequest("s")) == ("qemu-not-asked",)
    host.hold_monitor("guest", "")
    assert refusals(host, CreateRequest("s")) == ()
    host.kill_qemu("guest")
    assert refusals(host, CreateRequest("s")) == ("qemu-not-asked",)


@pytest.mark.parametrize("error", [Unknown("hung up", id="reply-lost"), Failed("nobody is there", id="no-monitor")])
def test_a_guest_that_ends_while_its_qemu_is_asked_is_looked_at_anew(
    monkeypatch: pytest.MonkeyPatch, error: XensnapError
) -> None:
    """Xen 4.17.7: whoever watches a guest that has shut down destroys it, its QEMU with it"""
    host = running("pv")

    async def ends(domain: Domain) -> tuple[Node, ...]:
        await host.toolstack.destroy(domain)
        raise error

    monkeypatch.setattr(host.blocks, "nodes", ends)
    view = Engine(host).view("guest")
    assert (view.domain.state, view.opened) == (RunState.OFF, Opened())


def test_a_guest_whose_qemu_hangs_up_gives_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    host = running("pv")

    async def hangs_up(_: Domain) -> tuple[Node, ...]:
        raise Unknown("hung up", id="reply-lost")

    monkeypatch.setattr(host.blocks, "nodes", hangs_up)
    assert refusals(host, CreateRequest("s")) == ("qemu-not-asked",)


def test_a_tag_in_an_image_that_was_detached_is_deleted_by_qemu_img() -> None:
    host = running("pv")
    other = host.create_image("/images/b.qcow2")
    host.attach("guest", Disk("xvdb", other.path, other.format))
    engine = Engine(host)
    engine.create("guest", CreateRequest("s", disk_only=True))
    host.detach("guest", "xvdb")
    engine.delete("guest", DeleteRequest("s"))
    assert host.run(host.images.inspect(other)).snapshots == ()
    assert host.run(host.images.check(other)).clean


@pytest.mark.parametrize("kind", GuestKind)
def test_a_live_checkpoint_comes_back_whole(kind: GuestKind) -> None:
    host = running(kind, shadow=True)
    engine = Engine(host)
    host.guest_writes("guest", "xvda", 0, 65536)
    engine.create("guest", CreateRequest("s", live=True))
    at_s = host.guest_sees("guest")
    assert engine.list("guest").contents.snapshots["s"].consistency is Consistency.CHECKPOINT
    host.guest_writes("guest", "xvda", 0, 1 << 20, flush=True)
    engine.revert("guest", RevertRequest("s"))
    assert host.guest_sees("guest") == at_s
    assert engine.view("guest").domain.state is RunState.RUNNING


def test_no_tag_is_deleted_through_one_of_two_copies_of_a_disk() -> None:
    """An HVM guest that was restored has its disks open twice until it runs (xen.md 16)."""
    host = running("hvm")
    engine, layer = Engine(host), Layer("/images/a.qcow2", Format.QCOW2)

    def tags() -> list[str]:
        return [entry.tag for entry in host.run(host.images.inspect(layer)).snapshots]

    engine.create("guest", CreateRequest("s"))
    engine.revert("guest", RevertRequest("s", Then.PAUSED, no_undo=True))
    assert len(host.run(host.blocks.nodes(engine.view("guest").domain))) == 2
    assert tags()[0] == "s"
    assert [tag.startswith(SAFETY) for tag in tags()] == [False, True]
    engine.unpause("guest")
    engine.revert("guest", RevertRequest("s", no_undo=True))
    assert tags() == ["s"]


def test_only_the_newest_of_what_reverts_gave_up_stays_though_the_guest_comes_back_with_its_disks_open_twice() -> None:
    host = running("hvm")
    engine, layer = Engine(host), Layer("/images/a.qcow2", Format.QCOW2)
    engine.create("guest", CreateRequest("s"))
    for _ in range(3):
        told = engine.revert("guest", RevertRequest("s")).warnings
        assert not told
        (kept,) = engine.view("guest").trashed
        assert [entry.tag for entry in host.run(host.images.inspect(layer)).snapshots] == ["s", kept]
    assert not engine.diagnose("guest").found
