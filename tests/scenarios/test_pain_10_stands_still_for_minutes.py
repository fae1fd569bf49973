"""A snapshot with memory stopped the guest for as long as its disks took to copy: minutes, and the cluster gave it up.

Source: xapi-project/xen-api#5683, OpenNebula/one#790, apache/cloudstack-documentation#571.
"""

from collections.abc import Callable

from simulator import SimulatedHost
from simulator.guest import TICK_NS
from tests.crash.running import running
from tests.scenarios.stage import GUEST
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest

COPY_S = 180
"""What copying a disk takes."""


def stood_still_s(host: SimulatedHost, work: Callable[[], object]) -> float:
    """How much less than the clock the guest has counted meanwhile."""
    counter, clock_ns = host.memory(GUEST).counter, host.world.clock.monotonic_ns
    work()
    executed_ns = (host.memory(GUEST).counter - counter) * TICK_NS
    return (host.world.clock.monotonic_ns - clock_ns - executed_ns) / 10**9


def by_hand(host: SimulatedHost) -> None:
    """`xl save -p`, `cp`, `xl unpause`."""
    assert host.xl_save(GUEST, "/images/memory", then="-p") == ""
    host.run(host.machine.sleep(COPY_S))
    Engine(host).unpause(GUEST)


def test_a_script_keeps_it_paused_while_it_copies() -> None:
    host = running("i")
    assert stood_still_s(host, lambda: by_hand(host)) > COPY_S


def test_the_engine_needs_one_transaction_and_with_live_hardly_the_memory() -> None:
    plain, live = running("ie", "pvh"), running("ie", "pvh")
    usual = stood_still_s(plain, lambda: Engine(plain).create(GUEST, CreateRequest("second")))
    short = stood_still_s(live, lambda: Engine(live).create(GUEST, CreateRequest("second", live=True)))
    assert 0 < short <= usual < COPY_S / 10
    disks = running("ie")
    request = CreateRequest("second", disk_only=True)
    assert stood_still_s(disks, lambda: Engine(disks).create(GUEST, request)) < short
