"""Guests that are to be quiet: whose agent answers, is absent, fails, is too slow, does not stay quiet, or hangs."""

import pytest

from simulator import SimulatedHost
from simulator.checkers.guests import standing
from simulator.guest import AgentManner
from tests.crash.harness import CLUSTER, GUEST, held_by
from tests.crash.running import running, seen, sound
from xensnap.engine.engine import Engine
from xensnap.engine.request import CreateRequest, Quiesce
from xensnap.errors import ExitCode, Failed, Refused
from xensnap.hypervisor import Capability
from xensnap.model import Consistency


def ask(host: SimulatedHost, quiesce: Quiesce) -> object:
    return Engine(host).create(GUEST, CreateRequest("second", disk_only=True, quiesce=quiesce))


def grade(host: SimulatedHost) -> Consistency:
    return Engine(host).list(GUEST).contents.snapshots["second"].consistency


@pytest.mark.parametrize("kinds", ["i", "e", "ie"])
@pytest.mark.parametrize("quiesce", [Quiesce.TRY, Quiesce.REQUIRE])
def test_a_quiet_snapshot_holds_all_that_the_guest_had_cached(kinds: str, quiesce: Quiesce) -> None:
    host = running(kinds)
    reads = host.guest_sees(GUEST)
    assert reads != host.running_disks(GUEST)
    ask(host, quiesce)
    assert grade(host) is Consistency.QUIESCED
    held = held_by(host, Engine(host).list(GUEST).contents.snapshots)
    assert all(held["second", vdev] == content for vdev, content in reads.items())
    host.guest_writes(GUEST, "xvda", 0, CLUSTER, flush=True)
    assert host.guest_sees(GUEST) == host.running_disks(GUEST), "the guest writes again"
    sound(host, "")


@pytest.mark.parametrize("manner", [each for each in AgentManner if each not in {"answers", "hangs"}])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_a_guest_that_is_not_quiet_is_told_so_or_gives_no_snapshot(manner: AgentManner, kinds: str) -> None:
    host = running(kinds)
    host.guest_agent(GUEST, manner)
    trying = host.fork()
    ask(trying, Quiesce.TRY)
    assert grade(trying) is Consistency.CRASH
    sound(trying, "")
    before = seen(host)
    with pytest.raises(Failed) as caught:
        ask(host, Quiesce.REQUIRE)
    assert caught.value.exit_code is ExitCode.NOTHING_CHANGED
    assert seen(host) == before
    sound(host, "")


@pytest.mark.parametrize("quiesce", [Quiesce.TRY, Quiesce.REQUIRE])
def test_an_agent_that_hangs_keeps_the_operation_open_until_it_answers(quiesce: Quiesce) -> None:
    host = running("i")
    before = seen(host)
    host.guest_agent(GUEST, AgentManner.HANGS)
    with pytest.raises(Failed, match="may still be frozen") as caught:
        ask(host, quiesce)
    assert caught.value.exit_code is ExitCode.SOMETHING_LEFT
    assert [finding.rule for finding in standing(host.world)] == ["left-frozen"]
    host.guest_agent(GUEST, AgentManner.ANSWERS)
    Engine(host).recover(GUEST)
    assert seen(host) == before
    sound(host, "")


def test_a_guest_that_has_rebooted_since_it_was_frozen_needs_no_thaw() -> None:
    host = running("i")
    host.guest_agent(GUEST, AgentManner.HANGS)
    with pytest.raises(Failed):
        ask(host, Quiesce.TRY)
    host.guest_reboot(GUEST)
    host.guest_agent(GUEST, AgentManner.ABSENT)
    Engine(host).recover(GUEST)
    sound(host, "")


def refusal(host: SimulatedHost, request: CreateRequest) -> str:
    with pytest.raises(Refused) as caught:
        Engine(host).plan(GUEST, request)
    return caught.value.id


def test_quiet_is_refused_where_it_means_nothing_or_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    host = running("i")
    required = CreateRequest("second", disk_only=True, quiesce=Quiesce.REQUIRE)
    assert refusal(host, CreateRequest("second", quiesce=Quiesce.REQUIRE)) == "quiesce-with-memory"
    paused = host.fork()
    Engine(paused).pause(GUEST)
    assert refusal(paused, required) == "cannot-quiesce"
    monkeypatch.setattr(SimulatedHost, "capabilities", SimulatedHost.capabilities - {Capability.QUIESCE})
    assert refusal(host, required) == "cannot-quiesce"
