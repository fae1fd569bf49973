"""Make the page of the reference about hosts from runs on all of them: `python -m tests.conformance.hosts_page`.

It tells what each host of ours has come to, requirement by requirement, and the kit's figures: how long profiles take,
what the pytest plugin costs, and how long it takes from a machine's first failure to the capsule of its shortest one.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings

from tests.conformance import xen_run
from tests.testing.test_machines import Forgetful
from xensnap.conformance import REQUIREMENTS, Options, every_case, run_cases
from xensnap.conformance.places.choosing import opener
from xensnap.conformance.reports.outcomes import RunOutcome, coverage, gather
from xensnap.testing import capsules, snapshot_machine

PATH = Path(__file__).parents[2] / "docs" / "reference" / "conformance-hosts.md"
HOSTS = ("sim", "doors", "qemu")
STRIDE = 11
ROUNDS = 15

INTRODUCTION = """\
# What the hosts have come to

Made by `nox -s hosts` from one run on each host of ours; deaths only every eleventh, for all are died elsewhere. What a
real Xen host has come to is kept from runs in dom0, profile by profile, inside a machine that is made for it
(`tests/real/xenhost/test_conformance.py`); cases of its own are in [](xen-host.md).
"""


def main() -> None:
    """Run everything and write the page."""
    runs = {host: _run(host) for host in HOSTS}
    if (xen := xen_run.kept()) is not None:
        runs["xen"] = xen
    PATH.write_text("\n".join([*_hosts(runs), *_times(runs), *_plugin(), *_shrinking()]) + "\n", encoding="utf-8")


def _run(host: str) -> RunOutcome:
    return gather(run_cases(every_case(), opener(host), clock=time.monotonic, options=Options(stride=STRIDE)))


def _hosts(runs: dict[str, RunOutcome]) -> Iterator[str]:
    shown = {id for case in every_case() for id in case.requirements}
    yield INTRODUCTION
    load = os.getloadavg()[0]
    yield f"On {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, one-minute load {load:.1f}."
    yield f"{len(every_case())} cases show {len(shown)} of {len(REQUIREMENTS)} requirements ([](requirements.md))."
    yield ""
    yield "| Host | Versions | Cases by state |"
    yield "|---|---|---|"
    for host, run in runs.items():
        versions = ", ".join(f"{name} {version}" for name, version in run.began.versions.items())
        yield f"| {host} | {versions} | {', '.join(f'{n} {state}' for state, n in run.ended.counts.items())} |"
    yield ""
    yield "## Requirement by requirement"
    yield ""
    yield f"| Id | Requirement | Level | {' | '.join(runs)} |"
    yield f"|---|---|---|{'---|' * len(runs)}"
    for rows in zip(*map(coverage, runs.values()), strict=True):
        about = rows[0].requirement
        if about.id in shown:
            yield f"| {about.id} | {about.title} | {about.level} | {' | '.join(row.verdict for row in rows)} |"
    yield ""


def _times(runs: dict[str, RunOutcome]) -> Iterator[str]:
    seconds: dict[str, dict[str, float]] = {host: defaultdict(float) for host in runs}
    for host, run in runs.items():
        for case in run.cases:
            seconds[host][case.began.profile] += case.ended.seconds
    yield "## How long the profiles take"
    yield ""
    yield "Wall time of one run, in seconds, and how much longer than on the simulated host. On the real Xen host it is"
    yield "dom0's own clock, which goes by the instructions that were executed."
    yield ""
    yield f"| Profile | {' | '.join(runs)} |"
    yield f"|---|{'---|' * len(runs)}"
    for profile in dict.fromkeys(case.began.profile for case in runs["sim"].cases):
        base = seconds["sim"][profile]
        cells = [_cell(seconds[host], profile, base) for host in runs]
        yield f"| {profile} | {' | '.join(cells)} |"
    yield ""


def _cell(seconds: dict[str, float], profile: str, base: float) -> str:
    return f"{seconds[profile]:.2f} ({seconds[profile] / base:.0f}x)" if profile in seconds else "not tried"


def _plugin() -> Iterator[str]:
    """Bare pytest and pytest with the plugin, in turn, on one test that does nothing."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "test_nothing.py").write_text("def test_nothing(): pass\n")
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        sides = {"without": [*argv, "-p", "no:xensnap"], "with": argv}
        taken: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(ROUNDS):
            for name, words in sides.items():
                began_s = time.monotonic()
                subprocess.run(words, cwd=directory, check=True, capture_output=True)
                taken[name].append(time.monotonic() - began_s)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    least = {name: min(times) for name, times in taken.items()}
    yield "## What the pytest plugin costs"
    yield ""
    ratio, fastest = medians["with"] / medians["without"], least["with"] / least["without"]
    yield f"One test that does nothing, {ROUNDS} rounds in turn: bare pytest {medians['without']:.2f} s, and with the"
    yield f"plugin {medians['with']:.2f} s. That is {ratio:.2f}x by medians and {fastest:.2f}x by the fastest rounds."
    yield ""


class _Timed(snapshot_machine(Forgetful)):  # type: ignore[misc] # a class that is made
    first_s: ClassVar[float] = 0.0

    def teardown(self) -> None:
        failed = sys.exc_info()[0] is not None
        if failed and not _Timed.first_s:
            _Timed.first_s = time.monotonic()
        super().teardown()


def _shrinking() -> Iterator[str]:
    """From the first failure that is met to the capsule of the shortest."""
    case = _Timed.TestCase("runTest")
    how = settings(
        max_examples=500,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    setattr(case, "settings", how)  # noqa: B010 -- unittest's way, not the type checker's
    began_s = time.monotonic()
    held = None
    try:
        case.runTest()
    except AssertionError as error:
        held = capsules.attached(error)
    assert held is not None, "the machine has found nothing"
    ended_s = time.monotonic()
    yield "## From a failure to its capsule"
    yield ""
    first_s = _Timed.first_s
    yield "A tool that believes to have reverted as soon as there are two snapshots, found by `snapshot_machine`: the"
    yield f"first failure after {first_s - began_s:.1f} s, and {ended_s - first_s:.1f} s later the capsule of the"
    yield f"shortest course, of {len(held.deeds)} deeds and {len(capsules.encode(held))} bytes."


if __name__ == "__main__":
    main()
