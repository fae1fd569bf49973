"""An agent hung while the file systems were frozen; the time-out was inside the call that hung, and never came.

27 905 seconds instead of 480, in one report; the guest wrote nothing all that while.
Source: oVirt/vdsm#160, kubevirt/kubevirt#9998, #10759; home-assistant/operating-system#3251.
"""

from contextlib import suppress

import pytest

from simulator.checkers.guests import standing
from simulator.guest import AgentManner
from tests.crash.running import running, sound
from tests.scenarios.stage import GUEST
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, Quiesce
from xensnap.errors import XensnapError


def story(manner: AgentManner):
    host = running("i")
    host.guest_agent(GUEST, manner)
    return host


@pytest.mark.one_door("a Xen host has no agent")
def test_a_script_leaves_the_file_systems_frozen() -> None:
    host = story(AgentManner.HANGS)
    assert host.agent is not None
    with pytest.raises(XensnapError):
        host.run(host.agent.freeze(Engine(host).view(GUEST).domain, timeout_s=10))
    assert [finding.rule for finding in standing(host.world)] == ["left-frozen"]


@pytest.mark.parametrize("manner", [AgentManner.HANGS, AgentManner.SLOW, AgentManner.SHORT])
def test_the_engine_has_a_deadline_of_its_own_and_thaws_as_soon_as_it_can(manner: AgentManner) -> None:
    host = story(manner)
    begun_ns = host.world.clock.monotonic_ns
    with suppress(XensnapError):
        Engine(host).create(GUEST, CreateRequest("quiet", disk_only=True, quiesce=Quiesce.TRY, quiesce_timeout_s=5))
    assert host.world.clock.monotonic_ns - begun_ns < 60 * 10**9
    host.guest_agent(GUEST, AgentManner.ANSWERS)
    Engine(host).recover(GUEST)
    sound(host, manner)
