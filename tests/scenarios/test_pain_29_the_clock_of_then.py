"""After a restore the guest's clock was days old: certificates were "not yet valid", and nobody could log in.

Source: kevoreilly/CAPEv2#783, enterprisemediawiki/meza#324, deeplethe/forkd#288.
"""

from collections.abc import Mapping

from simulator import SimulatedHost
from tests.crash.running import running
from tests.scenarios.stage import GUEST
from xensnap.engine.engine import Engine
from xensnap.engine.request import RevertRequest

DAYS = 9


class SetsTheClock:
    """The operator's program after a revert."""

    def __init__(self) -> None:
        self.set: list[str] = []

    async def run(self, hook: str, facts: Mapping[str, str], *, timeout_s: float) -> tuple[str, ...]:
        assert timeout_s > 0
        if hook == "post-revert":
            self.set.append(f"{facts['XENSNAP_DOMAIN']} {facts['XENSNAP_RESULT']}")
        return ()


def story() -> SimulatedHost:
    host = running("i")
    host.run(host.machine.sleep(DAYS * 86400))
    return host


def test_a_script_that_restores_says_nothing_of_it() -> None:
    host = running("i")
    assert host.xl_save(GUEST, "/images/memory", then="-p") == ""
    then = host.memory(GUEST).counter
    Engine(host).stop(GUEST)
    host.run(host.machine.sleep(DAYS * 86400))
    assert host.xl_restore(GUEST, "/images/memory") == ""
    assert host.memory(GUEST).counter - then < 10**6, "for the guest, no time has passed"


def test_the_engine_says_how_old_it_is_and_lets_the_operator_set_the_clock() -> None:
    host = story()
    program = SetsTheClock()
    host.hooks = program
    plan = Engine(host).plan(GUEST, RevertRequest("first"))
    assert f"the guest goes on as of {DAYS} days ago" in " ".join(plan.warnings)
    Engine(host).revert(GUEST, RevertRequest("first"))
    assert program.set == ["guest done"]


def test_a_guest_that_starts_anew_asks_its_clock_and_needs_no_word() -> None:
    plan = Engine(story()).plan(GUEST, RevertRequest("first", disks_only=True))
    assert not any("ago" in warning for warning in plan.warnings)
