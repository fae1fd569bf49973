"""What pytest loads by itself where xensnap is installed. Nothing heavy comes before a fixture is asked for."""

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

import xensnap

if TYPE_CHECKING:
    from simulator import SimulatedHost
    from xensnap.testing.crashes import Check, Operation

SEED = "--xensnap-seed"


def pytest_addoption(parser: pytest.Parser) -> None:
    """One option: where all chance of the simulated hosts comes from."""
    group = parser.getgroup("xensnap", "simulated Xen hosts")
    group.addoption(SEED, type=int, default=0, metavar="N", help="seed of all simulated hosts (default: 0)")


def pytest_report_header(config: pytest.Config) -> str:
    """The version and the seed: half of every bug report."""
    return f"xensnap {xensnap.__version__}: seed {config.getoption(SEED)}"


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Say of a test that failed how to see the very same again."""
    if call.excinfo is not None and "sim_factory" in getattr(item, "fixturenames", ()):
        again = f"pytest {item.nodeid!r} {SEED}={item.config.getoption(SEED)}"
        item.add_report_section(call.when, "xensnap", f"the same again: {again}")


@pytest.fixture
def sim_factory(request: pytest.FixtureRequest) -> "Iterator[Callable[[], SimulatedHost]]":
    """Makes simulated hosts, each with ids of its own, so that a test that knows one by heart fails.

    At the end every fault that was armed must have been met: a test that leaves one has not tested what it says.
    """
    from simulator import SimulatedHost  # noqa: PLC0415 -- loaded when it is used

    made: list[SimulatedHost] = []

    def make() -> SimulatedHost:
        words = f"{request.config.getoption(SEED)} {request.node.nodeid} {len(made)}"
        made.append(SimulatedHost.fresh(zlib.crc32(words.encode())))
        return made[-1]

    yield make
    unmet = [fault for host in made for fault in host.unmet_faults]
    assert not unmet, f"armed and never met: {unmet}"


@pytest.fixture
def sim_host(sim_factory: "Callable[[], SimulatedHost]") -> "SimulatedHost":
    """An empty simulated Xen host."""
    return sim_factory()


@pytest.fixture
def crash_everywhere() -> "Callable[[SimulatedHost, Operation, Check], int]":
    """Lets an operation die at every effect; see `xensnap.testing.crashes.crash_everywhere`."""
    from xensnap.testing import crashes  # noqa: PLC0415 -- loaded when it is used

    return crashes.crash_everywhere
