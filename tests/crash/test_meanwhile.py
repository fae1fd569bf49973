"""A guest that reboots, powers off or crashes at each effect of an operation on it; nobody can forbid it to.

Whatever comes of the operation, the error tells the truth, the disks are those that the guest has left or those of the
snapshot, nothing is torn, and every other snapshot is what it was.
"""

from contextlib import suppress

import pytest

from simulator import SimulatedHost, after_engine_crash
from simulator.checkers.guests import torn
from simulator.core.effects import Cut
from tests.crash.harness import GUEST, TRIED, every_effect
from tests.crash.running import OPERATIONS, Seen, guest_for, seen, sound
from xensnap.engine.engine import Engine
from xensnap.engine.request import RevertRequest
from xensnap.errors import ExitCode, Usage, XensnapError
from xensnap.model import RunState

TRIED_ON = [
    *((kinds, verb) for verb in ("checkpoint", "disks", "revert", "delete") for kinds in ("i", "e")),
    *(("e", verb) for verb in ("checkpoint live", "checkpoint and stop", "quiet disks", "revert disks", "delete all")),
]


@pytest.mark.parametrize("end", ["reboot", "poweroff", "crash"])
@pytest.mark.parametrize(("kinds", "verb"), TRIED_ON)
def test_the_guest_ends_meanwhile(kinds: str, verb: str, end: str) -> None:
    host = guest_for(verb, kinds)
    ended = host.fork()
    OPERATIONS[verb](Engine(ended))
    for number in every_effect(host, OPERATIONS[verb]):
        for cut in (Cut.BEFORE, Cut.PARTLY):
            TRIED[f"running: {end} meanwhile"] += 1
            where = f"{end} {cut} effect {number}"
            left = interrupted(host, verb, end, number, cut, where)
            judged(left, host, ended, end, where)


def interrupted(
    host: SimulatedHost, verb: str, end: str, number: int | str, cut: Cut, where: str, *, nth: int = 1
) -> SimulatedHost:
    """The host when the operation is over, one way or another, and what was left of it has been brought to an end.

    The guest ends at the effect of this number, or at the `nth` of a name.
    """
    busy = host.fork()

    def happens() -> None:
        with suppress(Usage):  # a guest that stands still does nothing
            getattr(busy, f"guest_{end}")(GUEST)

    busy.meanwhile(number, happens, cut, nth=nth)
    left_open = False
    try:
        OPERATIONS[verb](Engine(busy))
    except XensnapError as error:
        left_open = error.exit_code in (ExitCode.SOMETHING_LEFT, ExitCode.UNKNOWN)
    after = SimulatedHost(after_engine_crash(busy.world))
    assert bool(Engine(after).list(GUEST).pending) == left_open, where
    Engine(after).recover(GUEST)
    return after


def judged(left: SimulatedHost, before: SimulatedHost, ended: SimulatedHost, end: str, where: str) -> None:
    sound(left, where)
    found, was, will = seen(left), seen(before), seen(ended)
    assert found.parents in (was.parents, will.parents), where
    for held in (was, will):
        same = {key: content for key, content in items(held) if key in dict(items(found)) and key[0] != "second"}
        assert same.items() <= dict(items(found)).items(), f"another snapshot has changed: {where}"
    assert found.state in (was.state, will.state, RunState.OFF if end != "reboot" else was.state), where
    assert found.reads in left_behind(before) + left_behind(ended), f"the disks are of no moment: {where}"
    for name in dict(Engine(left).list(GUEST).contents.snapshots):
        back = left.fork()
        Engine(back).revert(GUEST, RevertRequest(name))
        assert not list(torn(back.world)), f"{name} came back torn: {where}"


def items(found: Seen) -> list[tuple[tuple[str, str], object]]:
    assert isinstance(found.held, dict)
    return list(found.held.items())


def left_behind(host: SimulatedHost) -> list[object]:
    """What can be on the disks of a guest that has ended by itself: with what it had cached, or without."""
    if Engine(host).view(GUEST).domain.state is RunState.OFF:
        return [host.visible(GUEST)]
    return [host.guest_sees(GUEST), host.running_disks(GUEST)]
