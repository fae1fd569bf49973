"""A browser without a window, and the pages that it is shown: what the viewer's tests share.

The browser is Debian's chromium, driven through selenium; what judges contrast is axe-core, which `nox -s viewer` and
the setup script get from npm. Where one of them is missing, the tests that need it are skipped and say so.
"""

import importlib.util
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.broken import applies_nothing
from tests.conftest import require_tool
from xensnap.conformance import every_case, run_cases
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.reports.html import html, replayed
from xensnap.conformance.reports.outcomes import RunOutcome, gather
from xensnap.conformance.run import OpenPlace

AXE = Path(sys.prefix, "share", "viewer", "node_modules", "axe-core", "axe.min.js")
"""Where `npm install --prefix .venv/share/viewer axe-core` puts it."""
FAILING = "core/disks-come-back"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium. One for all tests: starting it takes longer than most of them."""
    if importlib.util.find_spec("selenium") is None:
        pytest.skip("capability missing: selenium is not installed; the extra 'viewer' has it")
    chromium, driver = require_tool("chromium"), require_tool("chromedriver")
    from selenium import webdriver  # noqa: PLC0415 -- an extra of its own

    options = webdriver.ChromeOptions()
    options.binary_location = str(chromium)
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # chromium refuses to start as root otherwise
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=str(driver))
    started = webdriver.Chrome(options=options, service=service)
    yield started
    started.quit()


@pytest.fixture(scope="session")
def axe() -> str:
    """The program that finds what people cannot see or reach."""
    if not AXE.exists():
        pytest.skip(f"capability missing: no axe-core; npm install --prefix {AXE.parents[2]} axe-core")
    return AXE.read_text(encoding="utf-8")


def outcome(place: OpenPlace) -> RunOutcome:
    quick = [each for each in every_case() if each.profile in {"core", "memory"}]
    return gather(run_cases(quick, place, clock=time.monotonic))


@pytest.fixture(scope="session")
def pages(tmp_path_factory) -> dict[str, str]:
    """The addresses of a report of two hosts, one of them broken, and of a replay of what failed on it."""
    directory = tmp_path_factory.mktemp("pages")
    good, bad = outcome(SimulatedPlace), outcome(applies_nothing)
    (case,) = [each for each in bad.cases if each.began.case == FAILING]
    written = {"report": html((good, bad)), "replay": replayed(case, host="sim", seed=0, versions=bad.began.versions)}
    for name, text in written.items():
        (directory / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: (directory / f"{name}.html").as_uri() for name in written}
