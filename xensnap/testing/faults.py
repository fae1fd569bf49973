"""A deed under a tool with a fault at every effect, in turn: what drawn faults find by luck, found surely."""

from collections.abc import Collection, Iterator, Sequence
from errno import ENOSPC

import msgspec

from simulator import Cut, World
from simulator.faults import points
from xensnap.testing.course import Course, Create, Deed, Delete, Revert
from xensnap.testing.tools import MakeTool
from xensnap.testing.values import FaultPlan

CUTS = (Cut.BEFORE, Cut.PARTLY, Cut.UNACKNOWLEDGED)


def fail_everywhere(
    world: World,
    domain: str,
    tool: MakeTool,
    deeds: Sequence[Deed],
    *,
    cuts: Collection[Cut] = CUTS,
    errno: int = ENOSPC,
) -> int:
    """Let the last deed meet a fault at every effect that it has, at every cut, each time on a course of its own.

    Args:
        world: the host to begin with; it is not changed.
        domain: name or UUID of the domain.
        tool: starts a process of the tool on a host.
        deeds: what is done; the last is the tool's, and what fails.
        cuts: how far the effects come that fail.
        errno: what the system says of them.

    Returns:
        How many faults were tried.

    Raises:
        Wrong: after one of them something was not as it must be. The words name the fault.
        AssertionError: the last deed has no effect, so that nothing would be tested.
    """
    *before, last = deeds
    assert isinstance(last, Create | Revert | Delete), "the last deed is not the tool's"
    plans = [FaultPlan(effect, cut, errno, nth) for effect, nth in _met(world, domain, tool, deeds) for cut in cuts]
    assert plans, "the last deed has no effect that could fail"
    for plan in plans:
        course = Course(world, domain, [tool])
        for deed in (*before, msgspec.structs.replace(last, fault=plan)):
            course.do(deed)
    return len(plans)


def _met(world: World, domain: str, tool: MakeTool, deeds: Sequence[Deed]) -> Iterator[tuple[str, int]]:
    """Every effect of the last deed that changes something: its name, and which of its name it is."""
    course = Course(world, domain, [tool])
    for deed in deeds[:-1]:
        course.do(deed)
    with course.hosts[0].recording() as watch:
        course.do(deeds[-1])
    writing = {effect.name for effect in points.effects() if effect.writes}
    seen: dict[str, int] = {}
    for event in watch.trace:
        seen[event.effect] = seen.get(event.effect, 0) + 1
        if event.effect in writing:
            yield event.effect, seen[event.effect]
