"""Make the page of figures from one run: `python -m tests.benchmarks.figures RUN.json docs/reference/figures.md`.

RUN.json is what pytest writes for `--benchmark-json RUN.json`.
"""

import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from textwrap import fill as wrapped
from typing import Any

from tests.benchmarks.race import Goal
from tests.benchmarks.reasons import reason_for

INTRODUCTION = """\
# Figures

How long things take, and whether that is what was hoped for. This page is made from one run of the benchmarks:

    nox -s bench -- --benchmark-json run.json
    python -m tests.benchmarks.figures run.json docs/reference/figures.md

Only ratios mean something. All sides of a comparison were measured in turn, round by round, in the same run, and a
figure is the ratio of their medians. Absolute times moved by a factor of two and more with the neighbours' load. On a
busy machine that hits what takes milliseconds harder than what takes microseconds, so the ratio of the minima stands
beside it: it is nearer to what a quiet machine would show, but it is one round of each. No test fails because of a
time.
"""

COUNTED = """\
## Counted, not measured

G5: a create waits for the disk at three points beyond what its images need: the journal's begin, the snapshot's record
together with the decision, the journal's end. That is the same for one disk and four, inside the images or as
overlays, with one snapshot or twenty. It is five calls of fsync, because record and decision are two files and a
directory. `tests/benchmarks/test_barriers.py` holds it to exactly that.

G9: a simulated snapshot takes about half a kilobyte of memory for each cluster that has changed since the one before;
wanted is at most one. `tests/benchmarks/test_footprint.py` holds it to that.

G12: a checkpoint's memory file is as long as the one that QEMU writes when it is asked directly, to a thousandth, and
nothing is copied. `tests/benchmarks/test_memory.py` compares them in each round.
"""

LEFT_OUT = """\
## Not measured yet

- G1's limit on system calls, and G2's limits in microseconds: the limits here are ratios and exponents.
- G7 with more than 100 snapshots, G9 with more than 1,000: taking them would make the run too long.
- G10's time for all pairs of a crash and a crash in its recovery.
"""

WHY = """\
The counts in here were taken apart from times: calls of Python functions by cProfile, instructions by cachegrind,
effects by a watch on the simulated host. Microseconds are the least processor time of many rounds on the machine of
2026-11-26, an Intel Xeon; they are there to show which part of a limit something takes.
"""

NOTES = """\
What the sides are:

- qemu-img is started for each call, as a script would.
- The images with many snapshots and the deep chains have no data: only metadata is read.
- libvirt is its driver `test:///default`, asked in a process of its own that measures its own calls. It parses XML and
  keeps a tree of snapshots; it has no disks, no files, no journal, and nothing in it can crash.
- "Simulator alone" is a snapshot of four simulated disks through the image port, without an engine.
- A death is: the world at a cut of an effect, the death, a new process, and its recovery. "Run anew" repeats the whole
  create, recorded, before each. "Judged" adds every check of the crash tests. The real one is a Python process that
  kills itself before the decision, and the recovery from it.
- The bare side of a checkpoint is what a script would do over one connection: `stop`, a transaction, `migrate` to a
  file, fdatasync, `cont`. The guest of 1 GiB has something in every page.
- The silence of a guest is the longest time between two of its reports, which come every 10 ms; so the side that does
  nothing is the floor of what can be measured.
- G11 counts the calls into engine and simulator, apart for the rules' own work and for what the checks ask after each
  step. What remains is Hypothesis and the oracle.
"""


@dataclass(frozen=True)
class Group:
    """All sides of one comparison: medians and minima in seconds, and the number of rounds."""

    name: str
    medians: Mapping[str, float]
    minima: Mapping[str, float]
    rounds: int
    goals: tuple[Goal, ...]


def groups_of(run: Mapping[str, Any]) -> list[Group]:
    """The comparisons of a run, in its order."""
    sides: dict[str, dict[str, float]] = defaultdict(dict)
    minima: dict[str, dict[str, float]] = defaultdict(dict)
    rounds: dict[str, int] = {}
    goals: dict[str, tuple[Goal, ...]] = {}
    for each in run["benchmarks"]:
        name = each["group"]
        sides[name][each["extra_info"]["side"]] = each["stats"]["median"]
        minima[name][each["extra_info"]["side"]] = each["stats"]["min"]
        rounds[name] = each["stats"]["rounds"]
        goals[name] = tuple(Goal(**goal) for goal in each["extra_info"]["goals"])
    return [Group(name, medians, minima[name], rounds[name], goals[name]) for name, medians in sides.items()]


def measured(goal: Goal, times: Mapping[str, float]) -> float | None:
    """What came of a goal; None where a side was skipped."""
    if goal.top not in times or (goal.bottom and goal.bottom not in times):
        return None
    if not goal.bottom:
        return 1 / times[goal.top]
    ratio = times[goal.top] / times[goal.bottom]
    return math.log(ratio) / math.log(goal.scale) if goal.scale else ratio


def is_met(goal: Goal, found: float) -> bool:
    """Whether it is what was hoped for."""
    return (goal.at_most is None or found <= goal.at_most) and (goal.at_least is None or found >= goal.at_least)


def told(goal: Goal, value: float, *, wanted: bool = False) -> str:
    """A number with its unit."""
    digits = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    if goal.scale:
        return f"n^{value:.2f}"
    if not goal.bottom:
        return f"{digits}/s"
    if goal.id == "G11":
        return f"{value:.0%}"
    return f"{digits}x" if wanted or value >= 0.01 else f"{value:.2g}x"


def goal_rows(groups: list[Group]) -> Iterator[str]:
    """One line for each goal, by its number."""
    rows = [(goal, group) for group in groups for goal in group.goals]
    for goal, group in sorted(rows, key=lambda row: int(row[0].id[1:])):
        sign, limit = ("≥", goal.at_least) if goal.at_least is not None else ("≤", goal.at_most)
        assert limit is not None
        what = f"{goal.top} / {goal.bottom}" if goal.bottom else goal.top
        values = [measured(goal, times) for times in (group.medians, group.minima)]
        figures = " | ".join("" if value is None else told(goal, value) for value in values)
        wanted = f"{sign} {told(goal, limit, wanted=True)}"
        yield f"| {goal.id} | {goal.says} | {what} | {figures} | {wanted} | {verdict(goal, values)} |"


def verdict(goal: Goal, values: list[float | None]) -> str:
    """Whether it is met by medians; and where the minima say otherwise, that."""
    by_medians, by_minima = (None if value is None else is_met(goal, value) for value in values)
    if by_medians is None:
        return "not measured"
    words = "yes" if by_medians else "**no**"
    return words if by_medians is by_minima else f"{words}, but {'yes' if by_minima else 'no'} by minima"


def reasons(groups: list[Group]) -> Iterator[str]:
    """Why those that are not met by medians are not, each reason once, in the order of the goals."""
    missed: dict[str, dict[str, None]] = {}
    for goal in sorted((goal for group in groups for goal in group.goals), key=lambda goal: int(goal.id[1:])):
        value = next(measured(goal, group.medians) for group in groups if goal in group.goals)
        if value is not None and not is_met(goal, value):
            missed.setdefault(reason_for(goal), {})[f"{goal.id}, {goal.says}"] = None
    for reason, whose in missed.items():
        yield wrapped(f"- {'; '.join(whose)}. {reason}", width=118, subsequent_indent="  ", break_on_hyphens=False)


def seconds(value: float) -> str:
    """A time in the unit that suits it."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def time_rows(groups: list[Group]) -> Iterator[str]:
    """One line for each side."""
    for group in groups:
        fastest = min(group.medians.values())
        for side, median in group.medians.items():
            yield f"| {group.name} | {side} | {seconds(median)} | {median / fastest:.3g} | {group.rounds} |"


def where(run: Mapping[str, Any]) -> Iterator[str]:
    """What it was measured on."""
    machine = run["machine_info"]
    load = " before and ".join(f"{value:.1f}" for value in machine["load"])
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    missing = [name for name, version in machine["versions"].items() if not version]
    day = datetime.fromisoformat(run["datetime"]).date().isoformat()
    cpu = machine.get("cpu", {}).get("brand_raw") or machine["processor"] or machine["machine"]
    yield f"- Day: {day}"
    yield f"- Machine: {machine['cores']} cores of {cpu}, {machine['system']} {machine['release']}"
    yield f"- Load (one-minute average): {load} after."
    yield f"- Files on {machine['file_system']}"
    yield f"- Python {machine['python_version']}, {versions}"
    if missing:
        yield f"- Missing, so not measured: {', '.join(missing)}"


def page(run: Mapping[str, Any], remark: str) -> str:
    """The whole page."""
    groups = groups_of(run)
    goals = list(goal_rows(groups))
    met = sum("| yes" in row[-30:] for row in goals)
    return "\n".join(
        [
            INTRODUCTION,
            "## Where and when\n",
            *where(run),
            *([f"- {remark}"] if remark else []),
            "\n## Goals\n",
            f"{met} of {len(goals)} are met by medians. `n^0.9` is an exponent: how time grows with what is named.\n",
            "| Goal | What | Measured | By medians | By minima | Wanted | Met |",
            "|---|---|---|---|---|---|---|",
            *goals,
            "",
            NOTES,
            "## Not met, and why\n",
            WHY,
            *reasons(groups),
            "",
            COUNTED,
            LEFT_OUT,
            "## Times\n",
            "Medians. The last but one column is against the fastest side of the same comparison.\n",
            "| Comparison | Side | Median | Against the fastest | Rounds |",
            "|---|---|---|---|---|",
            *time_rows(groups),
            "",
        ]
    )


def main(arguments: list[str]) -> None:
    """Read a run, write the page; a third argument is a remark on the machine."""
    source, target, *remark = arguments
    run = json.loads(Path(source).read_text(encoding="utf-8"))
    Path(target).write_text(page(run, " ".join(remark)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
