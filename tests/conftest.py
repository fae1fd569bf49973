"""What every test shares: Hypothesis profiles, the environment in pytest's header, and the real tools as fixtures."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Generator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import tried

# A run in CI is told by the same seed on every machine; a developer asks for luck by name.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("random", deadline=None, print_blob=True)
settings.register_profile(
    "deep",
    max_examples=10_000,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)

REAL_TOOLS = ("qemu-img", "qemu-io", "qemu-storage-daemon", "qemu-system-x86_64", "virsh", "xl")


def tool_version(path: str) -> str:
    """The number in the first line a tool prints for `--version`, or `?` where it prints none."""
    # xl is not asked: without a Xen below it every call fails, and its version is Xen's anyway.
    if Path(path).name == "xl":
        return "?"
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    first_line = answer.stdout.partition("\n")[0]
    _, found, rest = first_line.partition("version ")
    return rest.split()[0] if found and rest.split() else "?"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The cases on a real Xen host inside QEMU take minutes to hours, so they are asked for by name."""
    xen = {"choices": ("quick", "all"), "default": os.environ.get("XENSNAP_XEN")}
    parser.addoption("--xen", **xen, help="run tests/real/xenhost: its core, or all of it; or $XENSNAP_XEN")
    parser.addoption(
        "--door", choices=("one", "two", "three"), default="one", help="how tests reach the simulated host"
    )
    parser.addoption("--share", type=float, metavar="PART", default=1.0, help="of all tests so many, drawn at random")
    parser.addoption("--share-seed", type=int, metavar="N", default=0, help="which ones")
    parser.addoption("--tried", type=Path, metavar="FILE", help="write how much was tried into this page")
    parser.addoption("--xen-report", type=Path, metavar="FILE", help="write what those cases have shown as a page")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Name the real tools that were found, and the Hypothesis profile: half of every bug report."""
    wanted = config.getoption("--xen")
    found = {tool: shutil.which(tool) for tool in REAL_TOOLS}
    told = ", ".join(f"{tool} {tool_version(path)}" if path else f"{tool} missing" for tool, path in found.items())
    cases = wanted or "left out, being long; nox -s xen runs them"
    return [f"real tools: {told}", f"hypothesis profile: {PROFILE}", f"cases on a Xen host: {cases}"]


def require_tool(name: str) -> Path:
    """The path of a real tool; where it is missing the test is skipped, and in CI it fails."""
    path = shutil.which(name)
    if path is None:
        reason = f"capability missing: no {name} on PATH"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; with CI=true nothing real may be skipped", pytrace=False)
        pytest.skip(reason)
    return Path(path)


@pytest.fixture(scope="session")
def qemu_img() -> Path:
    """The real qemu-img."""
    return require_tool("qemu-img")


@pytest.fixture(scope="session")
def qemu_io() -> Path:
    """The real qemu-io, which reads and writes patterns inside an image."""
    return require_tool("qemu-io")


@pytest.fixture(scope="session")
def qemu_storage_daemon() -> Path:
    """The real qemu-storage-daemon."""
    return require_tool("qemu-storage-daemon")


@pytest.fixture(scope="session")
def qemu_system() -> Path:
    """The real qemu-system-x86_64."""
    return require_tool("qemu-system-x86_64")


def counters() -> dict[str, dict[str, int]]:
    """What the tests of this process have counted, by what it is; empty where those tests were not run."""
    sources = {
        "deaths and faults": ("tests.crash.harness", "TRIED"),
        "sequences": ("tests.crash.harness", "COVERED"),
        "let fail": ("tests.crash.harness", "MET"),
        "must happen sometimes": ("tests.crash.harness", "SOMETIMES"),
        "power cuts on real files": ("tests.real.power_cuts", "CUT"),
        "damages": ("tests.doctor.damages", "MET"),
        "syncs": ("tests.crash.syncs", "LET_LIE"),
        "time spent on what went wrong": ("tests.conftest", "SPENT"),
        "schedules": ("tests.discovery.interleave", "SCHEDULES"),
        "steps": ("tests.stateful.machine", "STEPS"),
        "through executables and sockets": ("xensnap.served", "PASSED"),
        "compared with qemu-img": ("tests.parity.tools", "WITH_QEMU_IMG"),
        "compared with QEMU": ("tests.parity.tools", "WITH_QEMU"),
        "compared with qemu-storage-daemon": ("tests.parity.tools", "WITH_STORAGE_DAEMON"),
        "compared with libxlutil": ("tests.parity.libxlutil", "COMPARED"),
    }
    return {
        title: dict(getattr(sys.modules[module], name))
        for title, (module, name) in sources.items()
        if module in sys.modules
    }


SPENT: Counter[str] = Counter()
"""Milliseconds in tests that have counted what went wrong, in one process."""


def gone_wrong() -> int:
    """How much has gone wrong on purpose by now in this process."""
    module = sys.modules.get("tests.crash.harness")
    return module.TRIED.total() if module else 0


class Counting:
    """Adds up what all worker processes have counted, and prints it at the end of the run."""

    def __init__(self) -> None:
        self.totals: dict[str, Counter[str]] = defaultdict(Counter)
        self.began_s = time.monotonic()

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker has ended: take over its figures."""
        for title, counted in getattr(node, "workeroutput", {}).get("counters", {}).items():
            self.totals[title].update(counted)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
    ) -> None:
        """One line for each kind of figure."""
        for title, counted in counters().items():
            self.totals[title].update(counted)
        for title, totals in self.totals.items():
            if totals.total():
                parts = ", ".join(f"{name} {count}" for name, count in sorted(totals.items()))
                terminalreporter.write_line(f"{title}: {totals.total()} ({parts})")
        page = config.getoption("--tried")
        if page and exitstatus == 0:
            run, how = "ordinary run", " ".join(f"`{each}`" for each in config.args)
            if seconds := os.environ.get("XENSNAP_DEEP_S"):
                run, how = f"deep run of {how}", f"For {seconds} s, profile {PROFILE}."
            counts = {title: dict(totals) for title, totals in self.totals.items()}
            facts = {"day": date.today().isoformat(), "how": how, "counts": counts}  # noqa: DTZ011
            tried.noted(page, run, {**facts, "seconds": round(time.monotonic() - self.began_s)})


def _enter_by(door: str) -> None:
    """Every test that makes a simulated host gets one that is worked on through the real host's code.

    The tests take the name from the package, so it is put there before any of them is imported.
    """
    import simulator.host  # noqa: PLC0415 -- only such a run needs these
    from xensnap.doors import DoorHost  # noqa: PLC0415
    from xensnap.served import ServedHost  # noqa: PLC0415

    through = DoorHost if door == "two" else ServedHost
    simulator.SimulatedHost = simulator.host.SimulatedHost = through  # type: ignore[misc]


def pytest_configure(config: pytest.Config) -> None:
    """Count in the main process; workers hand theirs over when they end. Choose the door to simulated hosts."""
    if config.getoption("--door") != "one":
        _enter_by(config.getoption("--door"))
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Counting(), "xensnap-counting")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the share of the tests that was asked for."""
    share, seed = config.getoption("--share"), config.getoption("--share-seed")
    drawn = {item: random.Random(f"{seed} {item.nodeid}").random() < share for item in items}
    config.hook.pytest_deselected(items=[item for item in items if not drawn[item]])
    items[:] = [item for item in items if drawn[item]]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what cannot be where a host is reached through the real host's code."""
    door = item.config.getoption("--door")
    for name in {"one": (), "two": ("one_door",), "three": ("one_door", "in_process")}[door]:
        marker = item.get_closest_marker(name)
        if marker is not None:
            pytest.skip(f"capability missing: {marker.args[0]}")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol() -> Generator[None, None, bool | None]:
    """Measure how long what went wrong was tried."""
    before, began_s = gone_wrong(), time.monotonic()
    try:
        return (yield)
    finally:
        if gone_wrong() > before:
            SPENT["ms"] += round(1000 * (time.monotonic() - began_s))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """By door three: count the tests whose host was worked on, and close its doors."""
    if item.config.getoption("--door") != "three":
        yield
        return
    from xensnap import served  # noqa: PLC0415 -- only such a run needs it

    before = served.PASSED.total()
    try:
        yield
    finally:
        served.shut()
        served.PASSED["tests"] += served.PASSED.total() > before


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker: hand the figures over."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["counters"] = counters()
