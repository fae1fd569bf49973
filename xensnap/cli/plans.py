"""A plan in words: what `--dry-run` prints."""

from collections.abc import Iterable, Iterator

from xensnap.cli.output import clean, size
from xensnap.engine.live_steps import Checkpoint, EndDomain, SaveAway, TakePoints
from xensnap.engine.plan import Plan, each
from xensnap.engine.quiet_steps import TakeQuietPoints
from xensnap.engine.steps import Step, Together
from xensnap.engine.store_steps import StayRecognised

GIVEN_UP = "---- the guest and what is in its memory are given up here, whatever becomes of the rest ----"
MARK = "---- point of no return: from here on it is finished, never undone ----"


def plan_text(plan: Plan, following: Iterable[Plan] = ()) -> str:
    """The steps, numbered as progress tells them, and what else should be known before.

    `following` are the merges that come after it, each an operation of its own, and the first of its disk.
    """
    merges = (f"afterwards: {_merge(each)}" for each in following)
    return clean("\n".join((*_lines(plan), *merges)))


def _merge(plan: Plan) -> str:
    """In words, with what is written for it."""
    copying = next((step.says() for step in each(plan.prepare) if not isinstance(step, StayRecognised)), "")
    return f"{plan.summary}{': ' if copying else ''}{copying}"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"plan: {plan.summary}"
    yield f"host: {plan.host}"
    number = 0
    for number, step in enumerate(plan.prepare, 1):
        if isinstance(step, EndDomain):
            yield f"  {GIVEN_UP}"
        yield from _step(number, step)
    yield f"  {number + 1}. write down the decision"
    if plan.point_of_no_return:
        yield f"  {MARK}"
    for later, step in enumerate(plan.finish, number + 2):
        yield from _step(later, step)
    if standing := standstill(plan):
        yield f"guest: {standing}"
    yield f"writes: up to {size(plan.bytes_needed)}" if plan.bytes_needed else "writes: records only"
    yield from (f"warning: {text}" for text in plan.warnings)


def standstill(plan: Plan) -> str:
    """What its guest notices, as far as the plan knows; empty where none runs."""
    for step in each((*plan.prepare, *plan.finish)):
        match step:
            case Checkpoint(max_downtime_s=float() as most_s):
                return f"stands still for at most {most_s:g} s"
            case Checkpoint(live=True):
                return "stands still while the last of its memory is written, and for one transaction of its disks"
            case Checkpoint():
                return "stands still while its memory is written, and for one transaction of its disks"
            case TakeQuietPoints(timeout_s=most_s):
                return f"is not stopped; its writes wait for at most {most_s:g} s"
            case TakePoints():
                return "is not stopped; its writes wait for one transaction of its disks"
            case SaveAway() | EndDomain():
                return "is ended, and comes back as the steps say"
    return ""


def _step(number: int, step: Step) -> Iterator[str]:
    if not isinstance(step, Together) or len(step.steps) == 1:
        yield f"  {number}. {step.says()}"
        return
    yield f"  {number}. side by side:"
    yield from (f"       {one.says()}" for one in step.steps)
