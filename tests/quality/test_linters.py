"""The linters, as tests: one command shows everything, and nobody can forget one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

LINTERS = {
    "ruff-check": ("ruff", ["-m", "ruff", "check", "."]),
    "ruff-format": ("ruff", ["-m", "ruff", "format", "--check", "."]),
    "mypy": ("mypy", ["-m", "mypy"]),
    # import-linter has no __main__, only a console script; this is what the script does.
    "import-contracts": (
        "importlinter",
        ["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-logo"],
    ),
}


@pytest.mark.parametrize("linter", LINTERS)
def test_the_linter_finds_nothing(linter: str) -> None:
    module, arguments = LINTERS[linter]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"capability missing: {module} is not installed; the extra 'test' has it")
    answer = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False
    )
    if answer.returncode != 0:
        pytest.fail(f"{linter} complains:\n{answer.stdout}{answer.stderr}", pytrace=False)
