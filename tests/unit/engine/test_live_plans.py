"""What a plan for a guest that runs is refused for: what its host can do with some guests it cannot do with all."""

import pytest

from simulator import SimulatedHost
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.errors import Refused
from xensnap.hypervisor import Then
from xensnap.model import Consistency, GuestKind, RunState

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
    assert caught.value.remedy == "Leave out --live."


@pytest.mark.parametrize(("kind", "drivers"), [("pv", True), ("pvh", True), ("hvm", True), ("hvm", False)])
def test_only_an_hvm_guest_without_drivers_is_saved_while_it_is_paused(kind: str, *, drivers: bool) -> None:
    """xen.md 3, 4: it is left paused exactly once"""
    host = running(kind, drivers=drivers)
    Engine(host).pause("guest")
    if drivers:
        assert refusals(host, CreateRequest("s")) == ("paused-guest",)
        assert refusals(host, CreateRequest("s", disk_only=True)) == ()
        return
    assert refusals(host, CreateRequest("s")) == ()
    Engine(host).create("guest", CreateRequest("s", then=Then.PAUSED))
    assert host.incarnation("guest").pauses == 1


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
