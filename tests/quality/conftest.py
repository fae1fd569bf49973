"""The wheel, and an environment of its own that holds it: what the tests share that see the project from outside."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment that holds our wheel, and sees the dependencies of the running one."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "bin" / "python"

    def pip(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "--disable-pip-version-check"]
        run(*command, *arguments, "--quiet")

    def xensnap(self, *arguments: str, python_path: str = "") -> subprocess.CompletedProcess[str]:
        """Run the installed command away from the project, as somebody who has only the wheel."""
        return self.run(str(self.root / "bin" / "xensnap"), *arguments, python_path=python_path)

    def run(self, *command: str, place: Path | None = None, python_path: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program with nothing of this project around it."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XENSNAP"))}
        if python_path:
            environment["PYTHONPATH"] = python_path
        return subprocess.run(
            command,
            cwd=place or self.root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def run(*command: str) -> None:
    answer = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, f"{command}:\n{answer.stdout}{answer.stderr}"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    for module in ("build", "hatchling", "pip"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"capability missing: {module} is not installed; the extra 'test' has it")
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture
def environment(wheel, tmp_path) -> Environment:
    made = Environment(tmp_path / "environment")
    run(sys.executable, "-m", "venv", "--without-pip", str(made.root))
    made.pip("install", "--no-deps", "--no-index", str(wheel))
    # The dependencies come from the running environment, after the clean one on the path, so nothing is downloaded.
    (site_packages,) = made.root.glob("lib/python*/site-packages")
    paths = sysconfig.get_paths()
    (site_packages / "dependencies.pth").write_text(f"{paths['purelib']}\n{paths['platlib']}\n", encoding="utf-8")
    return made
