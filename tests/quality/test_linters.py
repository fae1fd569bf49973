"""The linters and the documentation, as tests: one command shows everything, and nobody can forget one."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

LINTERS = {
    "ruff-check": ("ruff", "test", ["-m", "ruff", "check", "."]),
    "ruff-format": ("ruff", "test", ["-m", "ruff", "format", "--check", "."]),
    "mypy": ("mypy", "test", ["-m", "mypy"]),
    # import-linter has no __main__, only a console script; this is what the script does.
    "import-contracts": (
        "importlinter",
        "test",
        ["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-logo"],
    ),
    # Links, references and docstrings: a warning is an error.
    "documentation": ("sphinx", "docs", ["-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", "{made}"]),
}


@pytest.mark.parametrize("linter", LINTERS)
def test_the_linter_finds_nothing(linter: str, tmp_path: Path) -> None:
    module, extra, arguments = LINTERS[linter]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"capability missing: {module} is not installed; the extra '{extra}' has it")
    argv = [sys.executable, *(word.format(made=tmp_path) for word in arguments)]
    answer = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, timeout=900, check=False)
    if answer.returncode != 0:
        pytest.fail(f"{linter} complains:\n{answer.stdout}{answer.stderr}", pytrace=False)
