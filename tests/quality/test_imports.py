"""Importing xensnap is cheap and brings nothing that belongs to a simulator, an event loop or a test."""

import subprocess
import sys

import pytest

HEAVY = {"simulator", "hypothesis", "pytest", "asyncio", "rich", "qemu", "click", "tomlkit"}


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that are loaded after a statement has run in a fresh interpreter."""
    script = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(answer.stdout.split())


def test_a_bare_interpreter_loads_none_of_them_so_the_tests_below_can_fail() -> None:
    assert not loaded_by("pass") & HEAVY
    assert "asyncio" in loaded_by("import asyncio")


@pytest.mark.parametrize(
    "module",
    ["xensnap", "xensnap.model", "xensnap.errors", "xensnap.hypervisor"],
)
def test_importing_brings_nothing_heavy(module: str) -> None:
    assert not loaded_by(f"import {module}") & HEAVY
