"""A run's events gathered by case and by requirement, which is how reports tell them."""

from collections.abc import Iterable

import msgspec

from xensnap.conformance.events import CaseBegan, CaseEnded, Did, Event, RunBegan, RunEnded, State
from xensnap.conformance.requirements import REQUIREMENTS, Requirement


class CaseOutcome(msgspec.Struct, frozen=True):
    """One case from its beginning to its end."""

    began: CaseBegan
    deeds: tuple[Did, ...]
    ended: CaseEnded


class RunOutcome(msgspec.Struct, frozen=True):
    """A whole run."""

    began: RunBegan
    cases: tuple[CaseOutcome, ...]
    ended: RunEnded


WORST_FIRST = (
    State.FAIL,
    State.ERROR,
    State.UNEXPECTED_PASS,
    State.KNOWN_BROKEN,
    State.NOT_RUN,
    State.PASS,
    State.UNSUPPORTED,
    State.NOT_APPLICABLE,
)


class Coverage(msgspec.Struct, frozen=True):
    """What is known of one requirement: its cases by state, none where nothing tried it."""

    requirement: Requirement
    cases: tuple[CaseOutcome, ...]

    @property
    def verdict(self) -> str:
        """The worst that happened to any of them; `no case` where there is none.

        `pass` is said only where all passed that could be tried on this host: what it declares to be unable to do, or
        what is about hosts that are unable, does not count. One that was not run, for want of time say, does.
        """
        states = {each.ended.state for each in self.cases}
        return next((state.value for state in WORST_FIRST if state in states), "no case")


def gather(events: Iterable[Event]) -> RunOutcome:
    """The events of one whole run.

    Raises:
        ValueError: they are not one run from its beginning to its end.
    """
    began: RunBegan | None = None
    ended: RunEnded | None = None
    open_case: CaseBegan | None = None
    deeds: list[Did] = []
    cases: list[CaseOutcome] = []
    for event in events:
        match event:
            case RunBegan():
                began = event
            case CaseBegan():
                open_case, deeds = event, []
            case Did():
                deeds.append(event)
            case CaseEnded() if open_case is not None:
                cases.append(CaseOutcome(open_case, tuple(deeds), event))
                open_case = None
            case RunEnded():
                ended = event
            case _:
                raise ValueError(f"a case ends that never began: {event}")
    if began is None or ended is None or open_case is not None:
        raise ValueError("the run was cut off: it has no beginning or no end")
    return RunOutcome(began, tuple(cases), ended)


def coverage(run: RunOutcome) -> tuple[Coverage, ...]:
    """Every requirement, in the order of the list, with the cases of this run that are about it."""
    return tuple(
        Coverage(requirement, tuple(each for each in run.cases if id in each.began.requirements))
        for id, requirement in REQUIREMENTS.items()
    )


def failing(case: CaseOutcome) -> str:
    """What a reader needs of a case that is bad: the words and the blocks."""
    return "\n".join([case.ended.words, *case.ended.blocks])
