"""Every effect fails once, before it happens, partly, and after; the error must tell what is left (design 5.4).

With disks of both kinds at once this is tried from the table (`table.py`).
"""

import errno

import pytest

from simulator import SimulatedHost
from simulator.core.effects import Cut
from tests.crash.harness import GUEST, TRIED, every_effect, nothing_is_left, truth
from tests.crash.test_every_effect import OPERATIONS, with_history
from xensnap.engine.engine import Engine
from xensnap.engine.request import RevertRequest
from xensnap.errors import ExitCode, XensnapError


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("verb", OPERATIONS)
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_one_effect_fails(kinds: str, verb: str, cut: Cut) -> None:
    host = with_history(kinds)
    before = truth(host)
    ended = host.fork()
    OPERATIONS[verb](Engine(ended))
    after = truth(ended)
    for number in every_effect(host, OPERATIONS[verb]):
        failing = host.fork()
        failing.fail_at(number, cut, errno.ENOSPC)
        where = f"effect {number} {cut}"
        TRIED["fault"] += 1
        try:
            OPERATIONS[verb](Engine(failing))
        except XensnapError as error:
            told(failing, error, before, after, where)
        else:
            assert truth(failing) == after, where
        assert not failing.unmet_faults, f"never met: {where}"


def told(host: SimulatedHost, error: XensnapError, before: object, after: object, where: str) -> None:
    """The exit code says whether something is left; `recover` ends it if so."""
    assert error.cause, where
    if error.exit_code in (ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN):
        assert error.remedy, where
        Engine(host).recover(GUEST)
    else:
        assert truth(host) == before, f"{error.cause}: {where}"
    assert truth(host) in (before, after), where
    assert Engine(host).list(GUEST).pending == "", f"{error.cause}: {where}"
    nothing_is_left(host, Engine(host).view(GUEST), where)


@pytest.mark.parametrize("cut", [Cut.BEFORE, Cut.UNACKNOWLEDGED])
@pytest.mark.parametrize("kinds", ["i", "e"])
def test_a_revert_that_fails_after_it_has_saved_the_present_says_so(kinds: str, cut: Cut) -> None:
    def revert(engine: Engine) -> object:
        return engine.revert(GUEST, RevertRequest("root", save_current="kept"))

    host = with_history(kinds)
    before, ended, saved = truth(host), host.fork(), 0
    revert(Engine(ended))
    for number in every_effect(host, revert):
        failing = host.fork()
        failing.fail_at(number, cut, errno.EIO)
        where = f"effect {number} {cut}"
        TRIED["fault"] += 1
        try:
            revert(Engine(failing))
        except XensnapError as error:
            saved += says_what_it_has_saved(failing, error, before, where)
        else:
            assert truth(failing) == truth(ended), where
    assert saved


def says_what_it_has_saved(host: SimulatedHost, error: XensnapError, before: object, where: str) -> bool:
    """Whether the present was saved and nothing else was done; the error tells the truth in any case."""
    found = truth(host)
    if error.exit_code is ExitCode.NOTHING_CHANGED:
        assert found == before, where
        return False
    assert error.exit_code is ExitCode.SOMETHING_LEFT, where
    assert error.remedy, where
    assert "nothing is changed" not in error.cause, where
    left_open = bool(Engine(host).list(GUEST).pending)
    Engine(host).recover(GUEST)
    if left_open or found == before or "it is decided" in error.cause:
        return False
    assert "the snapshot 'kept'" in error.cause, where
    assert "xensnap delete" in error.remedy, where
    return True
