"""What the runs have shown, as a page of the documentation: what each type of guest can do, and every case."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

TYPES = ("pv", "pvh", "hvm")
COVERS = "test_what_a_snapshot_covers_comes_back_while_the_guest_works"
PAUSES = ("transaction", "disk-only", "xl save -c", "checkpoint", "live checkpoint")


@dataclass(frozen=True, slots=True)
class Case:
    """One test that ran. `seconds` is how long by our clock, `properties` what it has recorded."""

    module: str
    name: str
    parameters: str
    outcome: str
    seconds: float = 0.0
    properties: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> tuple[str, str, str]:
        return self.module, self.name, self.parameters


class Figure(NamedTuple):
    """What something of ours costs, as a multiple of what it is held against; at most `wanted` is the goal."""

    goal: str
    what: str
    against: str
    ratio: float
    wanted: float


def page(cases: Sequence[Case]) -> str:
    """The page in Markdown."""
    parts = (_head, _capabilities, _pauses, _figures, _recoveries, _outcomes)
    return "\n".join(line for part in parts for line in part(cases)) + "\n"


def merged(known: Sequence[Case], new: Case) -> list[Case]:
    """With the last outcome of one case, in a stable order."""
    cases = {case.id: case for case in (*known, new)}
    return [cases[id] for id in sorted(cases)]


def read(text: str) -> list[Case]:
    return [Case(**each) for each in json.loads(text)]


def written(cases: Sequence[Case]) -> str:
    return json.dumps([asdict(case) for case in cases], indent=1) + "\n"


def _head(cases: Sequence[Case]) -> Iterator[str]:
    yield "# On a real Xen host"
    yield ""
    yield "<!-- Written by `nox -s xen`. Changes made by hand are lost. -->"
    yield ""
    passed = sum(case.outcome == "passed" for case in cases)
    yield "Cases on a real Xen host inside QEMU ({doc}`../how-to/xen-host`), each with its last outcome:"
    yield f"{passed} of {len(cases)} passed. A case that has not been run yet is not in the list."
    if all(case.seconds for case in cases):
        yield f"Together they took {sum(case.seconds for case in cases) / 60:.0f} minutes, one after the other."
    if busy := [float(case.properties["cpu_s"]) for case in cases if "cpu_s" in case.properties]:
        mean_s = sum(busy) / len(busy)
        yield f"Counted for {len(busy)} of them: a case keeps one processor busy for {mean_s:.0f} seconds."
    for found in [case.properties["versions"] for case in cases if "versions" in case.properties][:1]:
        told = ", ".join(f"{tool} {version}" for tool, version in json.loads(found).items())
        yield f"Versions: {told}."
    if still := [f"`{case.name}[{case.parameters}]`" for case in cases if "stood_still" in case.properties]:
        yield f"The emulated machine stood still in {', '.join(still)}: such a case is begun once more."
    yield ""


def _capabilities(cases: Sequence[Case]) -> Iterator[str]:
    """A row for each kind of snapshot, a column for each type of guest."""
    found = {case.parameters: case.outcome for case in cases if case.name == COVERS}
    ways = list(dict.fromkeys(parameters.partition("-")[2] for parameters in found))
    if not ways:
        return
    yield "## What each type of guest can do"
    yield ""
    yield "While a guest works on two disks: snapshot, damage, revert, delete; memory and disks are compared."
    yield ""
    yield f"| snapshot | {' | '.join(each.upper() for each in TYPES)} |"
    yield f"| --- | {' | '.join('---' for _ in TYPES)} |"
    for way in ways:
        yield f"| {way} | {' | '.join(found.get(f'{each}-{way}', 'not tried') for each in TYPES)} |"
    yield ""


def _pauses(cases: Sequence[Case]) -> Iterator[str]:
    """Ratios only: the clock of such a guest goes by instructions."""
    measured = [
        (case.parameters, json.loads(case.properties["pauses"])) for case in cases if "pauses" in case.properties
    ]
    for guest, found in measured:
        yield f"## How long the guest stands still ({guest})"
        yield ""
        yield "Measured inside the guest. Its clock goes by instructions that were executed, so only ratios count."
        yield ""
        yield "| | longest gap, against `xl save -c` | longest read and write, against the bare transaction | command |"
        yield "| --- | --- | --- | --- |"
        for deed in PAUSES:
            gap = found[deed]["gap_ms"] / found["xl save -c"]["gap_ms"]
            stall = found[deed]["stall_ms"] / found["transaction"]["stall_ms"]
            took = found[deed]["took_s"] / found["xl save -c"]["took_s"]
            yield f"| {deed} | {gap:.2f} | {stall:.2f} | {took:.2f} |"
        yield ""
        yield "`command` is the whole command against `xl save -c`, Python's start included, which TCG makes long."
        yield ""
    for case in cases:
        if "pause_goals" in case.properties:
            yield from _goals(case.properties["pause_goals"])


def _goals(told: str) -> Iterator[str]:
    """A table of figures, each with what is wanted."""
    yield "| goal | what | against | found | wanted |"
    yield "| --- | --- | --- | --- | --- |"
    for each in (Figure(*values) for values in json.loads(told)):
        yield f"| {each.goal} | {each.what} | {each.against} | {each.ratio:.3g}x | ≤ {each.wanted}x |"
    yield ""


def _figures(cases: Sequence[Case]) -> Iterator[str]:
    """The goals that can be looked at there."""
    for case in cases:
        if "figures" not in case.properties:
            continue
        yield f"## Against the bare commands ({case.parameters})"
        yield ""
        yield "In dom0's time, which goes by instructions; Python's start is left out."
        yield ""
        yield from _goals(case.properties["figures"])


def _recoveries(cases: Sequence[Case]) -> Iterator[str]:
    """Which way it went after each death. `nothing` was to recover where we lived on and had put all back ourselves."""
    ways = ("undone", "done", "nothing")
    found: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        if "recovered" in case.properties:
            found[case.name].append(case.properties["recovered"])
    if not found:
        return
    yield "## Which way a death was recovered from"
    yield ""
    yield "| died | undone | finished | nothing was left |"
    yield "| --- | --- | --- | --- |"
    for name, told in found.items():
        yield f"| {_sentence(name)} | {' | '.join(str(told.count(way)) for way in ways)} |"
    yield ""


def _sentence(name: str) -> str:
    return name.removeprefix("test_").replace("_", " ")


def _outcomes(cases: Sequence[Case]) -> Iterator[str]:
    by_module: dict[str, dict[str, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for case in cases:
        by_module[case.module][case.name].append(case)
    yield "## Every case"
    yield ""
    yield "| case | passed | failed |"
    yield "| --- | --- | --- |"
    for module in sorted(by_module):
        for name, group in by_module[module].items():
            failed = [case.parameters or "it" for case in group if case.outcome != "passed"]
            yield f"| {_sentence(name)} | {len(group) - len(failed)} | {', '.join(failed) or '0'} |"
