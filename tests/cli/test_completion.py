"""Shells complete verbs, options, and the domains and snapshots that there are; and nothing at all where that fails."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from xensnap.cli.completing import SHELLS


def completed(shell, *words: str, kind: str = "fish") -> list[str]:
    """The words that are offered in place of the last one."""
    environment = {
        "_XENSNAP_COMPLETE": f"{kind}_complete",
        "COMP_WORDS": " ".join(["xensnap", *words]),
        "COMP_CWORD": words[-1] if kind == "fish" else str(len(words)),
    }
    shell.environment.update(environment)
    try:
        result = shell.run()
    finally:
        for name in environment:
            del shell.environment[name]
    return [line.partition(",")[2].partition("\t")[0] for line in result.stdout.splitlines() if line]


def test_live_names_are_offered(sim) -> None:
    for name in ("alpha", "beta"):
        sim.ok("create", "guest1", "-n", name, "--description", f"for {name}")
    assert completed(sim, "revert", "gu") == ["guest1"]
    assert completed(sim, "revert", "guest1", "") == ["alpha", "beta"]
    assert completed(sim, "diff", "guest1", "alpha", "b") == ["beta"]
    assert completed(sim, "create", "g") == ["guest1"]
    assert completed(sim, "explain", "image-s") == ["image-shared"]


def test_verbs_and_options_are_offered(shell) -> None:
    assert completed(shell, "rev") == ["revert"]
    assert "--save-current" in completed(shell, "revert", "--")
    assert completed(shell, "chain", "c") == ["compact"]


def test_where_there_is_no_host_nothing_is_offered_and_nothing_is_told(shell) -> None:
    assert completed(shell, "revert", "gu") == []
    assert completed(shell, "revert", "guest1", "") == []


def test_the_host_before_the_verb_is_the_one_that_is_asked(shell, sim) -> None:
    place, sim.host = sim.host, ""
    assert completed(sim, "--host", place, "revert", "gu") == ["guest1"]


@pytest.mark.parametrize("kind", SHELLS)
def test_each_shell_gets_a_script(shell, kind) -> None:
    script = shell.ok("completion", kind)
    assert "_XENSNAP_COMPLETE" in script
    assert f"{kind}_complete" in script


@pytest.mark.real
def test_bash_itself_completes(sim) -> None:
    bash = shutil.which("bash")
    assert bash is not None, "every machine that runs these tests has one"
    sim.ok("create", "guest1", "-n", "alpha")
    script = sim.ok("completion", "bash")
    typed = """
COMP_WORDS=(xensnap revert guest1 a); COMP_CWORD=3
_xensnap_completion xensnap
printf '%s\\n' "${COMPREPLY[@]}"
"""
    environment = os.environ | {"XENSNAP_HOST": sim.host, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", script + typed], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "alpha\n"
