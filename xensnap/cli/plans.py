"""A plan in words: what `--dry-run` prints."""

from collections.abc import Iterator

from xensnap.cli.output import clean, size
from xensnap.engine.plan import Plan
from xensnap.engine.steps import Step, Together

MARK = "---- point of no return: from here on it is finished, never undone ----"


def plan_text(plan: Plan) -> str:
    """The steps, numbered as progress tells them, and what else should be known before."""
    return clean("\n".join(_lines(plan)))


def _lines(plan: Plan) -> Iterator[str]:
    yield f"plan: {plan.summary}"
    yield f"host: {plan.host}"
    number = 0
    for number, step in enumerate(plan.prepare, 1):
        yield from _step(number, step)
    yield f"  {number + 1}. write down the decision"
    if plan.point_of_no_return:
        yield f"  {MARK}"
    for later, step in enumerate(plan.finish, number + 2):
        yield from _step(later, step)
    yield f"writes: up to {size(plan.bytes_needed)}" if plan.bytes_needed else "writes: records only"
    yield from (f"warning: {text}" for text in plan.warnings)


def _step(number: int, step: Step) -> Iterator[str]:
    if not isinstance(step, Together) or len(step.steps) == 1:
        yield f"  {number}. {step.says()}"
        return
    yield f"  {number}. side by side:"
    yield from (f"       {one.says()}" for one in step.steps)
