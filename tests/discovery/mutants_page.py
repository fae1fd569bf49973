"""The page of the mutants of the engine, each with the shrunk plan that shows it.

`python -m tests.discovery.mutants_page` lets every mutant loose and finds its plan anew, which takes a minute or two.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from simulator.core.effects import Cut
from tests.discovery.danger_mutants import DANGER_MUTANTS, Spares
from tests.discovery.judgements import (
    Dies,
    DiesAndTheGuestRuns,
    Failed,
    Fails,
    LosesItsLock,
    Plan,
    Strange,
    TakesTurns,
    Walk,
    fails,
    state_machine,
)
from tests.discovery.mutants import MUTANTS, Mutant
from tests.discovery.pivot_mutants import PIVOT_MUTANTS, DiesBelowAWriter
from tests.discovery.running_mutants import RUNNING_MUTANTS, DiesBelowAGuest, Ends, OneMoment
from xensnap.model import Format
from xensnap.testing.values import FaultPlan

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "mutants.md"
PARTS: dict[str, tuple[Mutant, ...]] = {
    "Domains that are off": MUTANTS,
    "Guests that run": RUNNING_MUTANTS,
    "Images that are ended below a guest": PIVOT_MUTANTS,
    "What real tools punish without a word": DANGER_MUTANTS,
}
ALL: dict[str, Mutant] = {mutant.name: mutant for some in PARTS.values() for mutant in some}
WORDS: dict[str, object] = {
    each.__name__: each
    for each in (
        Cut,
        Dies,
        DiesAndTheGuestRuns,
        DiesBelowAGuest,
        DiesBelowAWriter,
        Ends,
        Fails,
        FaultPlan,
        LosesItsLock,
        OneMoment,
        Spares,
        Strange,
        TakesTurns,
        Walk,
    )
}
"""All that a plan is written with."""

HEAD = """# Mutants of the engine

Engines that are wrong in one small way each. The tests of the engine are worth as much as they find of these, so each
must be found by a judgement that every change of the engine has to pass; and this page tells for each what it breaks,
which rule of the design says that it must not, and the smallest plan that shows it: one death, fault, order of turns or
walk. Each plan is tried by the tests, with the mutant, where it must fail, and with the engine as it is, where it must
not. To try one by hand:

    python -c 'from tests.discovery.mutants_page import *; again("takes no lock")'
    python -c 'from tests.discovery.mutants_page import *; Strange("delete").trial()()'

The first line tries it with the mutant, the second one with the engine as it is. An effect is the `nth` of its name in
the operation; where it has no name, the operation itself goes wrong before anybody has died. `cut` is how far it has
come. This page is written by `python -m tests.discovery.mutants_page`, which finds the plans anew.
"""

_ENTRY = re.compile(r"^\*\*(?P<name>.+?)\*\* .*?\n\n    (?P<plan>.+?)\n", re.MULTILINE | re.DOTALL)


def read(text: str) -> dict[str, Plan]:
    """The plans of a page, by the names of the mutants."""
    return {found["name"]: eval(found["plan"], dict(WORDS)) for found in _ENTRY.finditer(text)}


def written(plans: Mapping[str, Plan]) -> str:
    """The page."""
    return "".join(_lines(plans))


def _lines(plans: Mapping[str, Plan]) -> Iterator[str]:
    yield HEAD
    for part, mutants in PARTS.items():
        yield f"\n## {part}\n"
        for mutant in mutants:
            yield f"\n**{mutant.name}** ({mutant.rule}): {mutant.breaks}.\n\n    {plans[mutant.name]!r}\n"


def again(name: str) -> None:
    """Try the plan of the page with this mutant."""
    mutant, trial = ALL[name], read(PAGE.read_text(encoding="utf-8"))[name].trial()
    with mutant.loose():
        trial()


def shrunk(mutant: Mutant) -> Plan:
    """The smallest plan that finds it."""
    if mutant.judgement is state_machine:
        return shortest_walk(mutant)
    trial = mutant.judgement()
    try:
        with mutant.loose():
            trial()
    except Failed as failed:
        if failed.effort.plan is not None:
            return failed.effort.plan
    raise AssertionError(f"no plan finds: {mutant.name}")


STEPS = (*(f"{verb} {name}" for verb in ("create", "revert", "delete") for name in "ab"), "resize 4", "resize 16")
LONGEST = 5


def shortest_walk(mutant: Mutant) -> Walk:
    """What the state machine finds by chance, by trying every walk, the short ones first."""
    with mutant.loose():
        for length in range(1, LONGEST + 1):
            for steps, disk in product(product(STEPS, repeat=length), (Format.RAW, Format.QCOW2)):
                walk = Walk(disk.value, steps)
                if possible(steps) and fails(walk.trial()):
                    return walk
    raise AssertionError(f"no walk of {LONGEST} steps finds: {mutant.name}")


def possible(steps: tuple[str, ...]) -> bool:
    """Whether every step speaks of a snapshot that there is, or makes the next one."""
    names: list[str] = []
    for step in steps:
        verb, _, name = step.partition(" ")
        if verb == "resize":
            continue
        if (name in names) == (verb == "create"):
            return False
        if verb == "create":
            names.append(name)
        elif verb == "delete":
            names.remove(name)
    return True


if __name__ == "__main__":
    PAGE.write_text(written({name: shrunk(mutant) for name, mutant in ALL.items()}), encoding="utf-8")
