"""The wheel in an environment of its own: both packages, the command, and the foreign distribution named `simulator`.

A distribution of that name exists in the public registry. Installed after ours it overwrites files of ours, so the
first use of the simulator must notice and say what to do, whatever way the wrong package came to be there.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import xensnap


@pytest.fixture
def foreign_wheel(tmp_path) -> Path:
    """A distribution that is called `simulator`, as the one in the registry, and has a package of that name."""
    path = tmp_path / "simulator-9.9-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("simulator/__init__.py", '"""Something else altogether."""\n')
        archive.writestr("simulator-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: simulator\nVersion: 9.9\n")
        archive.writestr(
            "simulator-9.9.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(
            "simulator-9.9.dist-info/RECORD",
            "simulator/__init__.py,,\nsimulator-9.9.dist-info/METADATA,,\n"
            "simulator-9.9.dist-info/WHEEL,,\nsimulator-9.9.dist-info/RECORD,,\n",
        )
    return path


def test_the_wheel_holds_both_packages_and_says_that_they_are_typed(wheel) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"xensnap", "simulator", f"xensnap-{xensnap.__version__}.dist-info"}
    wanted = {"xensnap/__init__.py", "xensnap/py.typed", "simulator/__init__.py", "simulator/py.typed"}
    assert wanted <= names


def test_the_command_tells_its_version(environment) -> None:
    answer = environment.xensnap("--version")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert xensnap.__version__ in answer.stdout


def test_the_demo_runs_from_the_wheel_alone(environment) -> None:
    answer = environment.xensnap("demo")
    assert answer.returncode == 0, answer.stderr


BROKEN_HOST = """
from xensnap.conformance.places.simulated import SimulatedPlace

class Images:
    def __init__(self, images):
        self.images = images
    def __getattr__(self, name):
        return getattr(self.images, name)
    async def snapshot_apply(self, *arguments, **named):
        pass

def make(seed):
    place = SimulatedPlace(seed)
    place.host.images = Images(place.host.images)
    return place
"""


def test_a_failure_seen_elsewhere_is_seen_again_with_the_wheel_alone(environment, tmp_path) -> None:
    (tmp_path / "broken_host.py").write_text(BROKEN_HOST, encoding="utf-8")
    case = ["core/disks-come-back", "--host", "broken_host:make", "--capsules", str(tmp_path)]
    here = {**os.environ, "PYTHONPATH": str(tmp_path)}
    argv = [sys.executable, "-m", "xensnap.cli", "conformance", "run", *case]
    made = subprocess.run(argv, cwd=tmp_path, env=here, capture_output=True, text=True, check=False)
    assert (made.returncode, "replay" in made.stderr) == (1, True), made.stderr
    capsule = str(tmp_path / "core-disks-come-back-0.json")
    again = environment.xensnap("replay", capsule, "--host", "broken_host:make", python_path=str(tmp_path))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.splitlines()[-1] == "The same as then, in each of 7 deeds."


def assert_says_what_to_do(answer: subprocess.CompletedProcess[str]) -> None:
    assert answer.returncode == 2, answer.stderr
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    assert "Traceback" not in answer.stderr
    assert "pip" in answer.stderr
    assert "simulator" in answer.stderr


def test_a_foreign_simulator_installed_over_ours_is_named_with_its_remedy(environment, foreign_wheel) -> None:
    environment.pip("install", "--no-deps", "--no-index", str(foreign_wheel))
    assert_says_what_to_do(environment.xensnap("demo"))


def test_a_foreign_simulator_before_ours_on_the_path_is_named_with_its_remedy(
    environment, foreign_wheel, tmp_path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    with zipfile.ZipFile(foreign_wheel) as archive:
        archive.extractall(elsewhere)
    assert_says_what_to_do(environment.xensnap("demo", python_path=str(elsewhere)))


def test_a_simulator_torn_by_uninstalling_the_foreign_one_is_named_with_its_remedy(environment, foreign_wheel) -> None:
    environment.pip("install", "--no-deps", "--no-index", str(foreign_wheel))
    environment.pip("uninstall", "--yes", "simulator")
    assert_says_what_to_do(environment.xensnap("demo"))


def test_what_needs_no_simulator_works_beside_a_foreign_one(environment, foreign_wheel) -> None:
    environment.pip("install", "--no-deps", "--no-index", str(foreign_wheel))
    assert environment.xensnap("--help").returncode == 0
