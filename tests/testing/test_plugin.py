"""The plugin as others meet it: in a project of their own, which knows nothing of this one."""

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = {
    "good": """
def test_a_host(sim_host):
    assert len(sim_host.world.domains) == 0
def test_two_hosts(sim_factory):
    one, two = sim_factory(), sim_factory()
    uuids = {host.add_domain("guest").uuid for host in (one, two)}
    assert len(uuids) == 2
""",
    "leaves a fault": """
def test_it(sim_host):
    sim_host.fail_at("file.create")
""",
    "fails": """
def test_it(sim_host):
    assert sim_host.name == "xen"
""",
}


def run(directory: Path, name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    (directory / "test_theirs.py").write_text(TESTS[name])
    (directory / "pytest.ini").write_text("[pytest]\n")
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words]
    return subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)


def test_fixtures_are_there_without_being_asked_for(tmp_path) -> None:
    done = run(tmp_path, "good", "--xensnap-seed=7")
    assert done.returncode == 0, done.stdout
    assert "xensnap 0.1.0: seed 7" in done.stdout


def test_a_fault_that_is_never_met_fails_the_test(tmp_path) -> None:
    done = run(tmp_path, "leaves a fault")
    assert done.returncode == 1
    assert "armed and never met: [Fault(" in done.stdout


def test_a_failure_says_how_to_see_it_again(tmp_path) -> None:
    done = run(tmp_path, "fails", "--xensnap-seed=7")
    assert done.returncode == 1
    assert "the same again: pytest 'test_theirs.py::test_it' --xensnap-seed=7" in done.stdout


@pytest.mark.parametrize("heavy", ["simulator", "hypothesis", "asyncio", "msgspec", "click"])
def test_loading_the_plugin_loads_nothing_heavy(heavy) -> None:
    script = "import sys; before = {*sys.modules}; import pytest; mid = {*sys.modules}; import xensnap.testing.plugin; "
    script += f"sys.exit({heavy!r} in {{*sys.modules}} - mid)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
