"""The plugin as others meet it: in a project of their own, which knows nothing of this one."""

import os
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
    sim_host.add_domain("guest")
    assert sim_host.name == "xen"
""",
    "arms a fault": """
from errno import ENOSPC
import pytest
from xensnap.errors import FileFailed
def test_it(sim_host, faults):
    faults("file.create", "before", ENOSPC)
    with pytest.raises(FileFailed):
        sim_host.run(sim_host.files.create("/images/x"))
""",
    "on any backend": """
from xensnap.conformance import Trial
from xensnap.model import Kind
def test_it(xen_backend):
    guest = Trial(xen_backend, prefix="mine-", case="", tell=lambda _: None).guest(xvda="qcow2")
    guest.write()
    then = guest.shows()
    guest.create("s", kind=Kind.INTERNAL)
    guest.write(block=9)
    guest.revert("s")
    assert guest.shows() == then
""",
    "through the doors": """
def test_it(doors):
    with doors.host() as host:
        image = host.create_image("/images/root.qcow2")
        host.add_domain("guest", disks={"xvda": image.path})
        host.write_configuration("guest")
    assert doors.run("xl", "create", "-q", "/etc/xen/guest.cfg").returncode == 0
    listed = doors.run("xl", "list").stdout
    assert "guest" in listed, listed
    with doors.host() as host:
        assert host.run(host.toolstack.inspect("guest")).domid == 1
""",
    "machine": """
from hypothesis import settings
from xensnap.testing import OurTool, snapshot_machine
class Forgetful(OurTool):
    def revert(self, domain, name):
        return None if len(self.names(domain)) > 1 else super().revert(domain, name)
TestMine = snapshot_machine(Forgetful).TestCase
TestMine.settings = settings(max_examples=300, derandomize=True, deadline=None)
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


@pytest.mark.parametrize("name", ["arms a fault", "on any backend", "through the doors"])
def test_each_fixture_does_what_it_says(tmp_path, name) -> None:
    done = run(tmp_path, name)
    assert done.returncode == 0, done.stdout


def test_the_same_test_runs_on_real_images(tmp_path, qemu_img, qemu_io) -> None:
    done = run(tmp_path, "on any backend", f"--xensnap-backend=qemu:{tmp_path}")
    assert done.returncode == 0, done.stdout
    assert f"backend qemu:{tmp_path}" in done.stdout


def test_a_failed_machine_leaves_a_capsule_that_shows_it_again(tmp_path) -> None:
    done = run(tmp_path, "machine")
    assert done.returncode == 1, done.stdout
    path = "xensnap-capsules/test-theirs-py-TestMine.json"
    command = f"xensnap replay {path} --tool test_theirs:Forgetful"
    assert f"step by step: {command}" in done.stdout
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    argv = [sys.executable, "-m", "xensnap.cli", *command.split()[1:]]

    def replayed(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    again = replayed(*argv, "--html", "page.html")
    assert (again.returncode, again.stdout.splitlines()[-1][:17]) == (0, "The same as then,"), again.stdout
    assert "sectors 0 to 127: write 1" in (tmp_path / "page.html").read_text()
    untold = replayed(*argv[:-2])
    assert (untold.returncode, "say --tool test_theirs:Forgetful" in untold.stderr) == (6, True)
    right = replayed(*argv[:-1], "xensnap.testing.tools:OurTool")
    assert (right.returncode, "it ended with fail, and now with pass" in right.stdout) == (1, True)
    assert replayed(*argv[:-1], "no.such:tool").returncode == 2


def test_the_hosts_of_a_failed_test_can_be_looked_at(tmp_path) -> None:
    done = run(tmp_path, "fails", "--xensnap-record=kept")
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("its host: ")]
    words = line.removeprefix("its host: xensnap ").split()
    argv = [sys.executable, "-m", "xensnap.cli", *words]
    listed = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (listed.returncode, "guest" in listed.stdout) == (0, True), listed.stderr


def test_a_failure_says_how_to_see_it_again(tmp_path) -> None:
    done = run(tmp_path, "fails", "--xensnap-seed=7")
    assert done.returncode == 1
    assert "the same again: pytest 'test_theirs.py::test_it' --xensnap-seed=7" in done.stdout


@pytest.mark.parametrize("heavy", ["simulator", "hypothesis", "asyncio", "msgspec", "click"])
def test_loading_the_plugin_loads_nothing_heavy(heavy) -> None:
    script = "import sys; before = {*sys.modules}; import pytest; mid = {*sys.modules}; import xensnap.testing.plugin; "
    script += f"sys.exit({heavy!r} in {{*sys.modules}} - mid)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
