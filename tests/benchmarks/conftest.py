"""What the benchmarks share: the fixture `race`, and what the figures must say about where they were taken."""

import os
import subprocess
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.benchmarks.images import file_system
from tests.benchmarks.libvirt import SYSTEM_PYTHON, version_of_libvirt
from tests.benchmarks.race import Race, Replay
from tests.conftest import tool_version

PACKAGES = ("hypothesis", "immutables", "msgspec", "pyfakefs", "qemu.qmp", "xensnap")
LOAD: list[float] = []


@pytest.fixture
def replay(request: pytest.FixtureRequest) -> Replay:
    """The clock of this test, made known before the fixture `benchmark` looks for one."""
    clock = Replay()
    request.node.add_marker(pytest.mark.benchmark(timer=clock))
    return clock


@pytest.fixture
def race(request: pytest.FixtureRequest, replay: Replay, benchmark: BenchmarkFixture) -> Iterator[Race]:
    """Measures all sides of a group in turn; the test is parametrised by `side`."""
    race = Race(benchmark, replay, request.node.callspec.params["side"])
    with race.resources:
        yield race


def pytest_sessionstart() -> None:
    """Remember how busy the machine was before us."""
    LOAD.extend(os.getloadavg()[:1])


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add all that a ratio depends on; leave out what the machine is called."""
    machine_info.pop("node", None)
    machine_info["cores"] = os.cpu_count()
    machine_info["load"] = [*LOAD, os.getloadavg()[0]]
    machine_info["file_system"] = file_system()
    machine_info["versions"] = {
        "qemu-img": _asked("qemu-img"),
        "qemu-system-x86_64": _asked("qemu-system-x86_64"),
        "libvirt": version_of_libvirt(),
        f"{SYSTEM_PYTHON.name} of the system": _asked(str(SYSTEM_PYTHON)),
        **{package: _installed(package) for package in PACKAGES},
    }


def _asked(program: str) -> str:
    try:
        if program == str(SYSTEM_PYTHON):
            return subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
        return tool_version(program)
    except (OSError, subprocess.SubprocessError):
        return ""


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
