"""Death at every effect of operations on a guest that runs; then `recover`."""

import pytest

from simulator import SimulatedHost, after_host_crash
from tests.crash.harness import CLUSTER, ENGINE_DEATHS, GUEST, HOST_DEATHS, TRIED, every_crash
from tests.crash.running import CASES, OPERATIONS, guest_for, judge, running, sound
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, RevertRequest
from xensnap.errors import Usage


@pytest.mark.parametrize(("kinds", "verb"), CASES)
def test_die_at_every_effect(kinds: str, verb: str) -> None:
    assert judge(guest_for(verb, kinds), OPERATIONS[verb]) > 100


@pytest.mark.parametrize("verb", ["checkpoint", "revert", "quiet disks"])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_die_again_while_recovering(kinds: str, verb: str) -> None:
    deaths = (ENGINE_DEATHS[2], HOST_DEATHS[0], HOST_DEATHS[2])
    assert judge(guest_for(verb, kinds), OPERATIONS[verb], deaths, twice=7) > 300


@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
def test_a_checkpoint_brings_back_what_the_guest_read(kinds: str) -> None:
    host = running(kinds)
    before = host.fork()
    Engine(host).create(GUEST, CreateRequest("second"))
    assert host.guest_sees(GUEST) == before.guest_sees(GUEST)
    at_second = host.guest_sees(GUEST)
    host.guest_writes(GUEST, "xvda", 0, 4 * CLUSTER, flush=True)
    Engine(host).revert(GUEST, RevertRequest("second"))
    assert host.guest_sees(GUEST) == at_second


@pytest.mark.parametrize("verb", ["checkpoint", "checkpoint live", "disks", "quiet disks", "delete", "delete oldest"])
@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
def test_what_the_guest_flushed_just_before_a_power_cut_is_kept(kinds: str, verb: str) -> None:
    flushed = 0
    for point in every_crash(guest_for(verb, kinds), OPERATIONS[verb]):
        last = SimulatedHost(point.world)
        try:
            last.guest_writes(GUEST, "xvda", 0, CLUSTER, flush=True)
        except Usage:  # it stands still
            continue
        flushed += 1
        TRIED["running: host, the guest has just flushed"] += 1
        after = SimulatedHost(after_host_crash(last.world))
        Engine(after).recover(GUEST)
        assert after.visible(GUEST) == last.running_disks(GUEST), repr(point)
        sound(after, repr(point))
    assert flushed > 10
