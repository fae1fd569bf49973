"""What pytest loads by itself where xensnap is installed. Nothing heavy comes before a fixture is asked for."""

import re
import shutil
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import xensnap

if TYPE_CHECKING:
    from simulator import SimulatedHost
    from simulator.faults.watch import Fault
    from xensnap.conformance.workplace import Workplace
    from xensnap.testing.crashes import Check, Operation
    from xensnap.testing.doors import Doors

SEED, BACKEND = "--xensnap-seed", "--xensnap-backend"
CAPSULES, RECORD = "--xensnap-capsules", "--xensnap-record"
TOOLS = ("qemu-img", "qemu-system-x86_64", "xl")
_HOSTS = pytest.StashKey["list[SimulatedHost]"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Where chance comes from, what `xen_backend` is, and what a failure leaves behind."""
    group = parser.getgroup("xensnap", "simulated Xen hosts")
    group.addoption(SEED, type=int, default=0, metavar="N", help="seed of all simulated hosts (default: 0)")
    group.addoption(
        BACKEND, default="sim", metavar="HOST", help="what `xen_backend` is: sim, qemu, qemu:DIR or MODULE:FACTORY"
    )
    group.addoption(
        CAPSULES, default="xensnap-capsules", metavar="DIR", help="where a failed machine leaves its replay capsule"
    )
    group.addoption(
        RECORD, metavar="DIR", help="keep the simulated hosts of each failed test: xensnap --host sim:DIR/…"
    )


def pytest_report_header(config: pytest.Config) -> str:
    """Version, seed and real tools: half of every bug report."""
    found = [name for name in TOOLS if shutil.which(name)]
    tools = f"real tools: {', '.join(found) or 'none'}"
    settings: Any = sys.modules.get("hypothesis")
    profile = f", hypothesis profile {settings.settings.get_current_profile_name()}" if settings else ""
    seed, backend = config.getoption(SEED), config.getoption(BACKEND)
    return f"xensnap {xensnap.__version__}: seed {seed}, backend {backend}{profile}, {tools}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say of a test that failed how to see the very same again."""
    report = yield
    if call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception):
        told = [*_again(item), *_capsule(item, call.excinfo.value), *_recorded(item)]
        if told:
            report.sections.append(("xensnap", "\n".join(told)))
    return report


def _again(item: pytest.Item) -> Iterator[str]:
    if {"sim_factory", "xen_backend", "doors"} & {*getattr(item, "fixturenames", ())}:
        options = "".join(f" {name}={item.config.getoption(name)}" for name in (SEED, BACKEND) if _told(item, name))
        yield f"the same again: pytest {item.nodeid!r}{options}"


def _told(item: pytest.Item, option: str) -> bool:
    return option == SEED or item.config.getoption(option) != "sim"


def _capsule(item: pytest.Item, error: BaseException) -> Iterator[str]:
    if "xensnap.testing.capsules" not in sys.modules:
        return
    from xensnap.testing import capsules  # noqa: PLC0415 -- loaded already, where a machine has run

    held = capsules.attached(error)
    if held is None:
        return
    path = Path(item.config.getoption(CAPSULES)) / f"{_file_name(item)}.json"
    tools = "".join(f" --tool {name}" for name in held.tools) if held.foreign else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(capsules.encode(held))
    except OSError as trouble:
        yield f"no capsule could be written: {trouble}"
    else:
        yield f"step by step: xensnap replay {path}{tools}"


def _recorded(item: pytest.Item) -> Iterator[str]:
    place = item.config.getoption(RECORD)
    made: list[SimulatedHost] = item.stash.get(_HOSTS, []) if place else []
    for number, host in enumerate(made):
        from xensnap import hosts  # noqa: PLC0415 -- only where something is to be kept

        directory = Path(place) / f"{_file_name(item)}-{number}"
        directory.mkdir(parents=True, exist_ok=True)
        hosts.SimulatedPlace(str(directory)).write(host.world.ended(host.pid))
        yield f"its host: xensnap --host sim:{directory} list"


def _file_name(item: pytest.Item) -> str:
    """The name of a test as a file can have it."""
    return re.sub(r"[^A-Za-z0-9]+", "-", item.nodeid.removesuffix("::runTest")).strip("-")[:120]


def _seed(request: pytest.FixtureRequest, number: int) -> int:
    words = f"{request.config.getoption(SEED)} {request.node.nodeid} {number}"
    return zlib.crc32(words.encode())


@pytest.fixture
def sim_factory(request: pytest.FixtureRequest) -> "Iterator[Callable[[], SimulatedHost]]":
    """Makes simulated hosts, each with ids of its own, so that a test that knows one by heart fails.

    At the end every fault that was armed must have been met: a test that leaves one has not tested what it says.
    """
    from simulator import SimulatedHost  # noqa: PLC0415 -- loaded when it is used

    made: list[SimulatedHost] = request.node.stash.setdefault(_HOSTS, [])

    def make() -> SimulatedHost:
        made.append(SimulatedHost.fresh(_seed(request, len(made))))
        return made[-1]

    yield make
    unmet = [fault for host in made for fault in host.unmet_faults]
    assert not unmet, f"armed and never met: {unmet}"


@pytest.fixture
def sim_host(sim_factory: "Callable[[], SimulatedHost]") -> "SimulatedHost":
    """An empty simulated Xen host."""
    return sim_factory()


@pytest.fixture
def faults(sim_host: "SimulatedHost") -> "Callable[..., Fault]":
    """Arms a fault on `sim_host`: `faults("file.replace", "partly", ENOSPC)`; see `SimulatedHost.fail_at`."""
    return sim_host.fail_at


@pytest.fixture
def xen_backend(request: pytest.FixtureRequest) -> "Iterator[Workplace]":
    """A host made ready for one test, simulated or real by `--xensnap-backend`; a `xensnap.conformance.Workplace`."""
    from xensnap.conformance.places.choosing import opener  # noqa: PLC0415 -- loaded when it is used

    place = opener(request.config.getoption(BACKEND))(_seed(request, 0))
    yield place
    place.close()


@pytest.fixture
def doors(request: pytest.FixtureRequest, tmp_path: Path) -> "Iterator[Doors]":
    """A simulated host for programs that know nothing of one; see `xensnap.testing.doors.Doors`."""
    from xensnap.testing.doors import opened  # noqa: PLC0415 -- loaded when it is used

    with opened(tmp_path / "host", _seed(request, 0)) as made:
        yield made


@pytest.fixture
def crash_everywhere() -> "Callable[[SimulatedHost, Operation, Check], int]":
    """Lets an operation die at every effect; see `xensnap.testing.crashes.crash_everywhere`."""
    from xensnap.testing import crashes  # noqa: PLC0415 -- loaded when it is used

    return crashes.crash_everywhere
