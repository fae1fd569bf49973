"""The contract of `Toolstack.watched`, `watch` and `hold_watcher`: the daemon that reboots and cleans up a guest.

Plain QEMU needs none. Under Xen it is an xl, which every plain `xl save -c` ends (facts/xen.md 1, xen-live.md C).
"""

from collections.abc import Iterator

import pytest

from simulator.host import SimulatedHost
from tests.unit.contracts.conftest import SIMULATED, Workbench
from xensnap.model import Domain, RunState


@pytest.fixture
def guest(bench: Workbench) -> Domain:
    """A domain that is off."""
    return bench.domain("guest", {"xvda": bench.image("a.qcow2")})


@pytest.fixture
def started(bench: Workbench, guest: Domain, request: pytest.FixtureRequest) -> Iterator[Domain]:
    """It runs, started by the toolstack itself."""
    if not isinstance(bench.host, SimulatedHost):
        request.getfixturevalue("qemu_system")
    yield bench.run(bench.host.toolstack.create(guest.uuid))
    found = bench.run(bench.host.toolstack.inspect(guest.uuid))
    if found.state is not RunState.OFF:
        bench.run(bench.host.toolstack.destroy(found))


@pytest.fixture(params=SIMULATED)
def xen(request: pytest.FixtureRequest) -> SimulatedHost:
    """A guest that runs where one is needed: the simulator's own toolstack, and that of a real host over its xl."""
    host = SIMULATED[request.param].fresh(seed=0)
    host.add_domain("guest", disks={"xvda": host.create_image("/images/a.qcow2").path})
    host.start("guest")
    return host


def look(host: SimulatedHost) -> Domain:
    return host.run(host.toolstack.inspect("guest"))


def watched(host: SimulatedHost) -> bool | None:
    return host.run(host.toolstack.watched(look(host)))


def test_a_domain_that_is_off_needs_nobody(bench, guest):
    assert bench.run(bench.host.toolstack.watched(guest)) is None
    bench.run(bench.host.toolstack.watch(guest))
    assert bench.run(bench.host.toolstack.hold_watcher(guest)) is None
    assert bench.run(bench.host.toolstack.inspect("guest")) == guest


def test_a_guest_that_was_started_is_watched_or_needs_nobody(bench, started):
    assert bench.run(bench.host.toolstack.watched(started)) is (True if isinstance(bench.host, SimulatedHost) else None)
    bench.run(bench.host.toolstack.watch(started))
    assert bench.run(bench.host.toolstack.inspect("guest")) == started


def test_one_that_was_ended_is_watched_no_more(bench, started):
    bench.run(bench.host.toolstack.destroy(started))
    assert bench.run(bench.host.toolstack.watched(started)) is None


def test_a_watcher_that_is_lost_is_known_and_replaced_once(xen):
    assert watched(xen) is True
    xen.xl_save("guest", "/images/by-hand.save", then="-c")
    assert watched(xen) is False
    before = look(xen)
    for _ in range(2):
        xen.run(xen.toolstack.watch(look(xen)))
        assert watched(xen) is True
    assert look(xen) == before
    xen.guest_reboot("guest")
    assert (look(xen).state, watched(xen)) == (RunState.RUNNING, True)


def test_nobody_acts_on_the_end_of_a_guest_whose_watcher_is_lost(xen):
    xen.xl_save("guest", "/images/by-hand.save", then="-c")
    xen.guest_poweroff("guest")
    assert (look(xen).state, watched(xen)) == (RunState.SHUTDOWN, False)
    xen.run(xen.toolstack.watch(look(xen)))
    assert (look(xen).state, watched(xen)) == (RunState.OFF, None)


def test_a_watcher_that_is_held_is_still_there_and_acts_when_it_goes_on(xen):
    watcher = xen.run(xen.toolstack.hold_watcher(look(xen)))
    assert watched(xen) is True
    xen.guest_reboot("guest")
    assert look(xen).state is RunState.SHUTDOWN
    xen.run(watcher.resume())
    assert (look(xen).state, watched(xen)) == (RunState.RUNNING, True)


def test_asking_changes_nothing(xen):
    before = xen.world
    watched(xen)
    assert (xen.world.fs, xen.world.xen) == (before.fs, before.xen)
