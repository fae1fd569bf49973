"""A Xen host for each test that asks for `lab`, thawed with its guest up. Left out unless pytest is told `--xen`."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.xenhost import report as page
from tests.real.xenhost.cache import CannotMake
from tests.real.xenhost.code import code_disk
from tests.real.xenhost.dom0 import StandsStill
from tests.real.xenhost.guests import PV, Guest
from tests.real.xenhost.lab import Before, XenLab, thawed
from tests.real.xenhost.states import image

TOOLS = ("cpio", "gcc", "mke2fs", "mmdebstrap", "qemu-img", "qemu-system-x86_64")
SHOWN = 12


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    wanted, here = config.getoption("--xen"), Path(__file__).parent
    ours = [item for item in items if here in item.path.parents and "lab" in getattr(item, "fixturenames", ())]
    for item in ours:
        item.add_marker("xen")
    left_out = [item for item in ours if not wanted or (wanted == "quick" and not item.get_closest_marker("quick"))]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


class Reporting:
    """Keeps the last outcome of each case beside the page that `--xen-report` names, and the page made from it.

    In the process that sees all workers' reports, and after each: a run that is cut off has shown what it has shown.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if "xen" not in report.keywords or not (report.failed or (report.passed and report.when == "call")):
            return
        kept = self.path.with_suffix(".json")
        known = page.read(kept.read_text(encoding="utf-8")) if kept.exists() else []
        cases = page.merged(known, case_of(report))
        for path, text in ((kept, page.written(cases)), (self.path, page.page(cases))):
            new = path.with_suffix(".new")
            new.write_text(text, encoding="utf-8")
            new.replace(path)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.write_line(f"written: {self.path}")


def case_of(found: pytest.TestReport) -> page.Case:
    path, _, test = found.nodeid.partition("::")
    name, _, parameters = test.partition("[")
    properties = {name: value for name, value in found.user_properties if isinstance(value, str)}
    return page.Case(Path(path).stem, name, parameters.rstrip("]"), found.outcome, found.duration, properties)


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--xen-report")
    if path and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Reporting(path), "xenhost-reporting")


@pytest.fixture(scope="session")
def code(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk with the code under test. Where no host can be made, the quick cases are skipped: others run beside."""
    try:
        need_tools()
        image()
        return code_disk(tmp_path_factory.mktemp("code"))
    except CannotMake as error:
        told = f"no Xen host can be made here: {error}"
        if request.config.getoption("--xen") == "quick":
            pytest.skip(told)
        pytest.fail(told, pytrace=False)


def need_tools() -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        raise CannotMake(f"it takes root and {', '.join(missing) or 'no more'}: sh .ci/setup xen")


@pytest.fixture
def guest() -> Guest:
    """The guest that is up; a test that is about another one is parametrised with it."""
    return PV


@pytest.fixture
def before() -> Before | None:
    """What is done already; a test that begins later is parametrised with it."""
    return None


@pytest.fixture
def lab(request: pytest.FixtureRequest, code: Path, guest: Guest, before: Before | None) -> Iterator[XenLab]:
    """The quick cases start `xensnap` as its operator does; the others fork it, which takes a third of the time."""
    with thawed(guest, code, before=before, forked=not request.node.get_closest_marker("quick")) as host:
        yield host


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    host = getattr(item, "funcargs", {}).get("lab")
    if call.when == "call" and host is not None:
        item.user_properties.append(("cpu_s", f"{host.host.cpu_s:.1f}"))
        if call.excinfo is not None and isinstance(call.excinfo.value, StandsStill):
            item.user_properties.append(("stood_still", str(call.excinfo.value)))  # told of the next try, too
    report = yield
    if report.failed and host is not None:
        report.sections.append(("last commands in dom0", "\n".join(map(str, host.dom0.said[-SHOWN:]))))
        report.sections.append(("Xen and dom0's kernel", host.host.log[-2000:]))
    return report
