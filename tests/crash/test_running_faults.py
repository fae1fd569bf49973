"""Every effect of an operation on a guest that runs fails once: before it happens, partly, after without an answer.

The error must tell the truth: either the host is as before, or `recover` makes it so (design 5.4), and the guest goes
on in any case (5.5, 5.10). With disks of both kinds at once, and for all other operations, this is tried from the table
(`table.py`).
"""

import errno

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.core.effects import Cut
from tests.crash.harness import GUEST, TRIED, every_effect
from tests.crash.running import OPERATIONS, PLAIN, Seen, guest_for, seen, sound
from xensnap.engine.engine import Engine
from xensnap.errors import ExitCode, XensnapError


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("verb", PLAIN)
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_one_effect_fails(kinds: str, verb: str, cut: Cut) -> None:
    host = guest_for(verb, kinds)
    before = seen(host)
    ended = host.fork()
    OPERATIONS[verb](Engine(ended))
    after = seen(ended)
    for number in every_effect(host, OPERATIONS[verb]):
        failing = host.fork()
        failing.fail_at(number, cut, errno.ENOSPC)
        where = f"effect {number} {cut}"
        TRIED["running: fault"] += 1
        try:
            OPERATIONS[verb](Engine(failing))
        except XensnapError as error:
            # Whoever was told the error has ended, and let go of what it held.
            told(SimulatedHost(after_engine_crash(failing.world)), error, before, after, f"{error.cause}: {where}")
        else:
            assert seen(failing) == after, where
            sound(failing, where)
        assert not failing.unmet_faults, f"never met: {where}"


def told(host: SimulatedHost, error: XensnapError, before: Seen, after: Seen, where: str) -> None:
    """The exit code says whether something is left; `recover` ends it if so."""
    assert error.cause, where
    if error.exit_code in (ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN):
        assert error.remedy, where
        Engine(host).recover(GUEST)
    else:
        assert seen(host) == before, where
    assert seen(host) in (before, after), where
    sound(host, where)
