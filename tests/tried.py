"""The page of what was tried, made from what the tests themselves count: `pytest --tried docs/reference/tried.md`.

Beside the page stand the counts as JSON, by the name of the run; a deep run is called by its tests. A run replaces
what an earlier one of its name has left. `python -m tests.tried PAGE fuzz DAY EXECUTIONS SECONDS FINDINGS` notes what a
fuzz session has done.
"""

import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

HEAD = """# What was tried

How often the engine died, failed, was interleaved with others or was given a damaged host by its own tests, and how
often it came out wrong: never, for a run with a single bad recovery fails. And how often the simulator and the real
tools were given the same at random, and came out alike: always, for a run with a single difference fails. This page is
made from the counts of the tests:

    pytest tests --tried docs/reference/tried.md
    XENSNAP_DEEP_S=3600 nox -s deep -- tests/crash --tried docs/reference/tried.md
    XENSNAP_DEEP_S=3600 nox -s deep -- tests/crash/test_sequences.py --tried docs/reference/tried.md
    XENSNAP_DEEP_S=3600 nox -s deep -- tests/parity --tried docs/reference/tried.md
    nox -s fuzz -- -max_total_time=3600 -print_final_stats=1
    python -m tests.tried docs/reference/tried.md fuzz DAY EXECUTIONS SECONDS FINDINGS

A death is one world at one cut of one effect, ended in one way, recovered and judged: the domain is as before or as
after, nothing is orphaned, leaked, torn or left standing still.
"""

RUNS_A_SECOND_MIN = 6000
"""The floor of goal G10 for what is tried on forks of simulated worlds, on one core."""

WRONG = "deaths and faults"
GROUPS = {
    "Where a sync lies": re.compile("where a sync lies"),
    "Who was at work meanwhile, or did not play along": re.compile("meanwhile|hindrance|hindered|loses QEMU"),
    "Damage": re.compile("damaged"),
    "Effects that failed, were late or never answered": re.compile(r"\bfaults?$|: fails$|is late|times out|^full$"),
    "Deaths": re.compile("engine|host|dies|again|a guest runs before the recovery"),
}
"""What went wrong, by what it is called, in the order in which a name is looked for."""

Sums = Mapping[str, Counter[str]]
"""The counts of several runs together, by title; none where there are none."""

OTHERS = "What else went wrong"
"""The group of what nobody has put into one."""

TOLD = {
    "compared with QEMU": "Commands to the monitor of QEMU and of the simulator",
    "compared with qemu-img": "Command lines to qemu-img and to the simulated one",
    "compared with qemu-storage-daemon": "Commands to the monitor of qemu-storage-daemon and of the simulator",
    "damages": "Damage done to healthy hosts, each in a way of its own",
    "let fail": "What failed, by effect or kind",
    "must happen sometimes": "How it ended, where something went wrong",
    "power cuts on real files": "Power cuts on real files, by what was left of what was not durable",
    "schedules": "Schedules of several processes",
    "sequences": "Sequences of operations",
    "through executables and sockets": "What came through executables and sockets",
    "steps": "Steps of state machines",
    "syncs": "Places of the engine that make something durable, each let lie until the power is cut",
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
    lines = [*_in_short(known), *_lines(known)]
    return HEAD + "".join(f"\n{line}\n" if line.startswith("#") else f"{line}\n" for line in lines)


def group(name: str) -> str:
    """To which of the groups it belongs that this went wrong."""
    return next((title for title, pattern in GROUPS.items() if pattern.search(name)), OTHERS)


def _in_short(known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The figures of all ordinary runs, and of all deep ones."""
    ordinary, deep = (
        _figures(_summed(facts for run, facts in known.items() if run.startswith(kind) and "counts" in facts))
        for kind in ("ordinary", "deep")
    )
    yield "## In short"
    yield ""
    yield "| What | Ordinary run | Deep runs |"
    yield "|---|---:|---:|"
    yield from (f"| {name} | {ordinary[name]} | {deep[name]} |" for name in ordinary)
    fuzzed = sum(facts["executions"] for facts in known.values() if "executions" in facts)
    yield f"| inputs of a fuzzer for all parsers | | {fuzzed:,} |"


def _summed(runs: Iterable[Mapping[str, Any]]) -> Sums:
    sums: dict[str, Counter[str]] = defaultdict(Counter)
    for facts in runs:
        for title, counts in facts["counts"].items():
            sums[title].update(counts)
    return sums


def _a_second(sums: Sums) -> float:
    """How many runs a second one core has tried; 0 where that was not measured."""
    spent_ms = sums["time spent on what went wrong"]["ms"]
    return 1000 * sums[WRONG].total() / spent_ms if spent_ms else 0.0


def _noticed(places: Counter[str]) -> str:
    return f"{places['noticed']:,} of {places.total():,}" if places else ""


def _share(sums: Sums, what: str) -> str:
    counts = sums["sequences"]
    there = counts[f"{what} there are"]
    return f"{100 * (counts[f'{what} tried'] + counts[f'{what} refused']) / there:.1f} %" if there else ""


def _figures(sums: Sums) -> dict[str, str]:
    """What is told of all runs together."""
    wrong = sums[WRONG]
    groups, rate = _grouped(wrong), _a_second(sums)
    damages = sums["damages"].total()
    return {
        "all that went wrong (goals: 100,000 and 1,000,000)": _count(wrong.total()),
        "bad recoveries among it": "0" if wrong else "",  # else the run has failed, and is not told of
        **{f"{title[0].lower()}{title[1:]}": _count(groups[title].total()) for title in GROUPS},
        "tried in a second on one core": _count(round(rate)),
        f"that against the floor of G10, {RUNS_A_SECOND_MIN:,}": f"{rate / RUNS_A_SECOND_MIN:.2f}x" if rate else "",
        "interleavings of several processes": _count(sums["schedules"].total()),
        "sequences of two on a domain that is off that were covered": _share(sums, "pairs"),
        "sequences of three": _share(sums, "threes"),
        "sequences of two on a guest that runs": _share(sums, "of a guest that runs, pairs"),
        "sequences of three on a guest that runs": _share(sums, "of a guest that runs, threes"),
        "ways of damage that were found": _count(damages),
        "ways of damage that were overlooked": "0" if damages else "",  # as above
        "places that must make something durable whose lie was noticed, of all": _noticed(sums["syncs"]),
        "power cuts on real files": _count(sums["power cuts on real files"].total()),
    }


def _count(number: int) -> str:
    """Nothing where nothing was counted: not every run has all of it."""
    return f"{number:,}" if number else ""


def _grouped(counts: Mapping[str, int]) -> Mapping[str, Counter[str]]:
    groups: dict[str, Counter[str]] = defaultdict(Counter)
    for name, count in counts.items():
        groups[group(name)][name] += count
    return groups


def _lines(known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for run, facts in sorted(known.items()):
        yield f"## {run[0].upper()}{run[1:]}"
        yield ""
        yield f"Day: {facts['day']}. {facts.get('how', '')}".rstrip()
        if "executions" in facts:
            yield ""
            yield f"{facts['executions']:,} inputs in {facts['seconds']:,} s, {facts['findings']} findings."
        yield from _alike(facts)
        counts = facts.get("counts", {})
        tables = {
            **_grouped(counts.get(WRONG, {})),
            **{TOLD[title]: counts[title] for title in counts if title in TOLD},
        }
        for title, each in sorted(tables.items()):
            if sum(each.values()):
                yield from _table(title, each)


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
    if len(done) > 1:
        yield f"| all {len(done)} kinds together | {sum(done.values()):,} |"
    for name, count in sorted(there.items()):
        what = name.removesuffix(" there are")
        tried = sum(n for each, n in done.items() if each.startswith(what))
        yield f"| {what}: share of {count:,} | {100 * tried / count:.1f} % |"


if __name__ == "__main__":
    place, name, day, executions, seconds, findings = sys.argv[1:]
    facts = {"day": day, "executions": int(executions), "seconds": int(seconds), "findings": int(findings)}
    noted(Path(place), name, {**facts, "how": "Every parser in one process, guided by coverage (atheris)."})
