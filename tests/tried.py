"""The page of what was tried, made from what the tests themselves count: `pytest --tried docs/reference/tried.md`.

Beside the page stand the counts as JSON, by the name of the run; a deep run is called by its tests. A run replaces
what an earlier one of its name has left. `python -m tests.tried PAGE fuzz DAY EXECUTIONS SECONDS FINDINGS` notes what a
fuzz session has done.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Counts = Mapping[str, Mapping[str, int]]

HEAD = """# What was tried

How often the engine died, failed, was interleaved with others or was given a damaged host by its own tests, and how
often it came out wrong: never, for a run with a single bad recovery fails. And how often the simulator and the real
tools were given the same at random, and came out alike: always, for a run with a single difference fails. This page is
made from the counts of the tests:

    pytest tests/crash tests/doctor tests/discovery tests/stateful --tried docs/reference/tried.md
    XENSNAP_DEEP_S=3600 nox -s deep -- tests/crash/test_sequences.py --tried docs/reference/tried.md
    XENSNAP_DEEP_S=3600 nox -s deep -- tests/parity --tried docs/reference/tried.md
    nox -s fuzz -- -max_total_time=3600 -print_final_stats=1
    python -m tests.tried docs/reference/tried.md fuzz DAY EXECUTIONS SECONDS FINDINGS

A death is one world at one cut of one effect, ended in one way, recovered and judged: the domain is as before or as
after, nothing is orphaned, leaked, torn or left standing still.
"""

TOLD = {
    "compared with QEMU": "Commands to the monitor of QEMU and of the simulator",
    "compared with qemu-img": "Command lines to qemu-img and to the simulated one",
    "compared with qemu-storage-daemon": "Commands to the monitor of qemu-storage-daemon and of the simulator",
    "deaths and faults": "Deaths, faults and damage",
    "let fail": "What failed, by effect or kind",
    "must happen sometimes": "How it ended, where something went wrong",
    "power cuts on real files": "Power cuts on real files, by what was left of what was not durable",
    "schedules": "Schedules of several processes",
    "sequences": "Sequences of operations",
    "through executables and sockets": "What came through executables and sockets",
    "steps": "Steps of state machines",
}
COMPARED = "compared with "
LONG = 12
"""Lists with more entries than this are summed up."""


def noted(page: Path, run: str, facts: Mapping[str, Any]) -> None:
    """Write what a run has tried into the JSON beside the page, and the page anew."""
    store = page.with_suffix(".json")
    known = json.loads(store.read_text(encoding="utf-8")) if store.exists() else {}
    known[run] = facts
    store.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    page.write_text(text(known), encoding="utf-8")


def text(known: Mapping[str, Mapping[str, Any]]) -> str:
    """The page."""
    return HEAD + "".join(f"\n{line}\n" if line.startswith("#") else f"{line}\n" for line in _lines(known))


def _lines(known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for run, facts in sorted(known.items()):
        yield f"## {run[0].upper()}{run[1:]}"
        yield ""
        yield f"Day: {facts['day']}. {facts.get('how', '')}".rstrip()
        if "executions" in facts:
            yield ""
            yield f"{facts['executions']:,} inputs in {facts['seconds']:,} s, {facts['findings']} findings."
        yield from _alike(facts)
        for title, counts in sorted(facts.get("counts", {}).items()):
            if title in TOLD and sum(counts.values()):
                yield from _table(TOLD[title], counts)


def _alike(facts: Mapping[str, Any]) -> Iterator[str]:
    """How often real tools and ours were compared; a run with a difference is not told at all."""
    compared = sum(
        sum(counts.values()) for title, counts in facts.get("counts", {}).items() if title.startswith(COMPARED)
    )
    if compared and (seconds := facts.get("seconds")):
        yield ""
        yield f"Compared with the real tools {compared:,} times, {60 * compared / seconds:,.0f} in a minute of the run:"
        yield "no difference."


def _table(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    there = {name: count for name, count in counts.items() if "there are" in name}
    done = {name: count for name, count in counts.items() if name not in there}
    yield f"### {title}"
    yield ""
    yield "| What | How often |"
    yield "|---|---:|"
    if len(done) <= LONG * 2:
        yield from (f"| {name} | {count:,} |" for name, count in sorted(done.items()))
    yield f"| all {len(done)} kinds together | {sum(done.values()):,} |"
    for name, count in sorted(there.items()):
        what = name.removesuffix(" there are")
        tried = sum(n for each, n in done.items() if each.startswith(what))
        yield f"| {what}: share of {count:,} | {100 * tried / count:.1f} % |"


if __name__ == "__main__":
    place, name, day, executions, seconds, findings = sys.argv[1:]
    facts = {"day": day, "executions": int(executions), "seconds": int(seconds), "findings": int(findings)}
    noted(Path(place), name, {**facts, "how": "Every parser in one process, guided by coverage (atheris)."})
