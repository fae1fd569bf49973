"""The stories of the guides, typed into a shell on real QEMU: the words of the pages, less those that only simulate.

What the pages print is held to the simulated host elsewhere; here it counts that each command does what it did there,
and that the guest, which compares its memory with its disks all the time, never finds them apart.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xensnap.engine import Engine
from xensnap.model import RunState

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to"
COMMAND = re.compile(r"^\$ (.*)$", re.MULTILINE)
SIMULATED = re.compile(r"xensnap sim [^;]*(; |$)")


def words(page: str, host: str) -> list[str]:
    """The commands of a page for another host. What only a simulated guest has to be told, a real one does itself."""
    typed = COMMAND.findall((HOW_TO / page).read_text(encoding="utf-8"))
    told = [SIMULATED.sub("", command).replace("sim:./lab", host) for command in typed]
    return [command for command in told if command]


def typed(lab, page: str) -> dict[str, int]:
    """What each command of a page came to."""
    commands = words(page, f"qemu:{lab.directory}")
    script = "".join(f"{{ {command}; }} > told 2>&1\necho $?\n" for command in commands)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XENSNAP_")},
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(lab.directory),
    }
    place = lab.directory / "at"
    place.mkdir()
    done = subprocess.run(["bash"], input=script, cwd=place, env=environment, check=True, text=True, stdout=-1)
    return dict(zip(commands, map(int, done.stdout.split()), strict=True))


def failed(codes: dict[str, int]) -> dict[str, int]:
    return {command: code for command, code in codes.items() if code}


@pytest.fixture
def sound(lab):
    """Afterwards nothing is left to be done or repaired, and the guest goes on."""

    def check(name: str) -> Engine:
        engine = Engine(lab.host)
        listing = engine.list(name)
        assert (listing.domain.state, listing.pending) == (RunState.RUNNING, "")
        lab.heard(listing.domain)
        assert not [each for each in engine.diagnose(name).found if each.severity != "note"]
        return engine

    return check


def test_a_kernel_is_tried_and_given_up_again(lab, sound) -> None:
    lab.describe("web1", xvda="qcow2", xvdb="raw")
    assert not failed(typed(lab, "before-an-update.md"))
    assert not sound("web1").list("web1").contents.snapshots


def test_a_lab_goes_back_again_and_again_and_its_chain_stays_as_long_as_it_is(lab, sound) -> None:
    lab.describe("victim", xvda="qcow2", xvdb="qcow2")
    assert failed(typed(lab, "revert-a-lab.md")) == {"xensnap delete victim golden": 6}
    view = sound("victim").view("victim")
    assert list(view.snapshots) == ["golden"]
    assert [len(disk.chain.images) for disk in view.disks] == [2, 2]


def test_every_night_the_disks_of_a_guest_that_runs_on(lab, sound) -> None:
    lab.describe("db1", xvda="qcow2", xvdb="raw")
    assert not failed(typed(lab, "nightly-snapshots.md"))
    assert list(sound("db1").list("db1").contents.snapshots) == ["night-2", "night-3"]
