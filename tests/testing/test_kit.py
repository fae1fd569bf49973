"""The kit finds what is wrong with a tool, and says nothing where nothing is."""

import pytest
from hypothesis import given, settings

from simulator import SimulatedHost
from xensnap.engine import CreateRequest, Engine, RevertRequest
from xensnap.errors import NotFound, Refused, XensnapError
from xensnap.testing import checks, strategies
from xensnap.testing.crashes import ENGINE_DEATHS, HOST_DEATHS, BadRecovery, crash_everywhere


@pytest.fixture
def guest(sim_host: SimulatedHost) -> SimulatedHost:
    sim_host.add_domain("guest", disks={"xvda": sim_host.create_image("/images/root").path})
    sim_host.write("guest", "xvda", 0, 65536)
    return sim_host


def recovered(host: SimulatedHost) -> None:
    Engine(host).recover("guest")
    checks.require_sound(host)


def test_the_engine_survives_every_death(guest, crash_everywhere) -> None:
    tried = crash_everywhere(guest, lambda host: Engine(host).create("guest", CreateRequest("s")), recovered)
    assert tried > 100


def copied_by_hand(host: SimulatedHost) -> None:
    """A tool as it is often written: it replaces its state in place, and syncs nothing."""
    host.run(host.files.remove("/images/state"))
    host.run(host.files.create("/images/state", b"two"))


def has_a_state(host: SimulatedHost) -> None:
    try:
        state = host.run(host.files.read("/images/state"))
    except NotFound:
        state = b""
    assert state in (b"one", b"two"), f"the state is {state!r}"


@pytest.mark.parametrize("deaths", [ENGINE_DEATHS, HOST_DEATHS], ids=["process", "power"])
def test_a_careless_tool_is_found_and_the_death_is_named(guest, deaths) -> None:
    guest.run(guest.files.replace("/images/state", b"one"))
    guest.run(guest.files.sync_dir("/images"))
    with pytest.raises(BadRecovery, match=r"at file\.\w+ \(number \d+, .* the (process|power) .*the state is b''"):
        crash_everywhere(guest, copied_by_hand, has_a_state, deaths=deaths)


def test_an_operation_without_effect_is_no_test(guest) -> None:
    with pytest.raises(AssertionError, match="no effect"):
        crash_everywhere(guest, lambda _: None, recovered)


def test_old_memory_over_a_newer_disk_is_found(guest) -> None:
    guest.start("guest")
    guest.write("guest", "xvda", 0, 65536)
    assert guest.xl_save("guest", "/images/memory", then="-c") == ""
    guest.write("guest", "xvda", 0, 65536)
    assert [each.rule for each in checks.host_findings(guest)] == ["watcher-lost"]
    Engine(guest).stop("guest")
    assert guest.xl_restore("guest", "/images/memory") == ""
    with pytest.raises(AssertionError, match="memory-and-disk-disagree: guest xvda"):
        checks.require_sound(guest)


def test_an_operation_that_was_cut_off_is_found(guest) -> None:
    found: set[str] = set()

    def looked(host: SimulatedHost) -> None:
        found.update(each.rule for each in checks.store_findings(host))
        recovered(host)

    crash_everywhere(guest, lambda host: Engine(host).create("guest", CreateRequest("s")), looked, deaths=ENGINE_DEATHS)
    assert found == {"operation-pending"}


@settings(max_examples=30)
@given(strategies.domains(), strategies.op_sequences())
def test_whatever_is_done_to_whatever_domain_leaves_it_sound(drawn, operations) -> None:
    host, name = drawn
    engine = Engine(host)
    for request in operations:
        try:
            engine.perform(name, request)
        except Refused:
            continue
    checks.require_sound(host)


@settings(max_examples=40)
@given(strategies.domains(), strategies.fault_plans())
def test_any_one_fault_leaves_what_recovery_can_mend(drawn, plan) -> None:
    host, name = drawn
    engine = Engine(host)
    engine.create(name, CreateRequest("before"))
    held = host.visible(name)
    plan.arm(host)
    for request in (RevertRequest("before"), CreateRequest("after")):
        try:
            engine.perform(name, request)
        except XensnapError:
            continue
    unmet = host.unmet_faults
    again = SimulatedHost(host.world.ended(host.pid))
    Engine(again).recover(name)
    assert again.visible(name) == held
    assert unmet == () or unmet[0].at == plan.effect
