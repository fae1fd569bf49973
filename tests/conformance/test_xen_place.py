"""The place that tries a real Xen host, over a simulated machine: what it makes, and what it will not touch."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.test_hosts import ended
from tests.conftest import require_tool
from xensnap.backends.xen.host import LOGS
from xensnap.conformance import Case, Options, every_case
from xensnap.conformance.events import State
from xensnap.conformance.places import xen
from xensnap.conformance.places.simulated import SimulatedPlace
from xensnap.conformance.places.xen import VARIABLE, GuestKit, LocalXenPlace, XenPlace, kit
from xensnap.conformance.plan import planned
from xensnap.conformance.workplace import BLOCK_BYTES, Content, Wish
from xensnap.doors import DoorHost
from xensnap.errors import Refused, Usage
from xensnap.hypervisor import Files
from xensnap.model import Disk, DomId, Format

DIRECTORY = "/images/xensnap-conformance-1"
KIT = GuestKit("/boot/vmlinuz", "/boot/guest.img")
PROFILES = {"core", "external", "chain", "metadata", "safety"}
CASES = {case.id: case for case in every_case() if case.profile in PROFILES or case.id.endswith("one-moment")}


class Here(DoorHost):
    """The real Xen host's code, its snapshot store where the place has it."""

    root = f"{DIRECTORY}/snapshots"
    name = "xen"


class SimulatedHands:
    """What is done beside the ports, done to a simulated machine."""

    def __init__(self, host: Here) -> None:
        self.host = host
        self._place = SimulatedPlace(on=host)
        self.removed: set[str] = set()

    def run(self, *argv: str) -> str:
        match argv:
            case ("rmdir", _):
                return ""  # simulated directories are nothing but the names in them
            case ("rm", path):
                self.removed.add(path)  # simulated logs are told anew each time that they are read
                return ""
            case ("xl", "info"):
                return "xen_version            : 4.17.7-pre\n"
            case ("qemu-img", "--version"):
                return "qemu-img version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\n"
        done = self.host.run(self.host.xen._low.runner.run(argv))
        assert done.returncode == 0, done
        return done.stdout.decode()

    def write(self, disk: Disk, block: int, blocks: int, number: int) -> None:
        made = self.host.write_layer(disk.layer, block * BLOCK_BYTES, blocks * BLOCK_BYTES)
        self._place._writes[made] = number

    def shows(self, disk: Disk) -> Content:
        return self._place.shows(disk)

    def console(self, domid: DomId) -> str:
        """What the simulated guest would have said: it tells when it is asked."""
        (name,) = {each.name for each in self.host.run(self.host.toolstack.domains()) if each.domid == domid}
        first, now = self._place.first_counter(name), self._place.counter(name)
        bad = int(bool(self._place.sound(name)))
        return "".join(f"n={n:08x} bad={bad:08x}\r\n" for n in range(first, now + 1))


class Place(XenPlace):
    """A place whose simulated logs can be removed."""

    _hands: SimulatedHands

    def _logs_of(self, name: str) -> tuple[str, ...]:
        return tuple(log for log in super()._logs_of(name) if f"{LOGS}/{log}" not in self._hands.removed)


def place_on(host: Here, guest: GuestKit | None = KIT) -> Place:
    return Place(host.xen, directory=DIRECTORY, hands=SimulatedHands(host), guest=guest)


class LeavesLogs:
    """Files, and one more log."""

    def __init__(self, files: Files, log: str) -> None:
        self._files = files
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    async def names(self, path: str) -> tuple[str, ...]:
        return (*await self._files.names(path), *([self._log] if path == LOGS else []))


def paths(host: Here) -> set[str]:
    """Every file there is, directories apart."""
    dirs = host.world.fs.dirs
    return {path for place in dirs for name in dirs[place].entries if (path := f"{place}/{name}") not in dirs}


def host_of_others(name: str) -> Here:
    """A host that is at work: somebody's domain runs on it."""
    host = DoorHost.fresh(0)
    host.add_domain(name, disks={"xvda": host.create_image("/images/theirs").path})
    host.start(name)
    return Here(host.world.ended(host.pid))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_cases_pass_and_nothing_is_left(case: Case) -> None:
    hosts: list[Here] = []

    def make(seed: int) -> Place:
        hosts.append(Here.fresh(seed))
        return place_on(hosts[-1])

    found = ended(case, make)
    assert found.state is (State.NOT_APPLICABLE if case.lacks else State.PASS), (found.words, found.blocks)
    for host in hosts:
        assert {*host.world.xen.there} == set()
        assert not any(path.startswith(DIRECTORY) for path in paths(host))


def test_what_others_have_on_the_host_is_told_and_stays() -> None:
    host = host_of_others("theirs")
    told = place_on(host).inventory()
    assert {"file /images/theirs", f"domain theirs {host.world.xen.there[1].uuid}"} <= told
    world = host_of_others("theirs").world

    found = ended(CASES["memory/memory-and-disks-are-of-one-moment"], lambda _: place_on(Here(world)))
    assert found.state is State.PASS, found.words


@pytest.mark.parametrize("name", ["theirs", "gone"])
def test_names_of_others_are_refused_and_nothing_is_touched(name: str) -> None:
    host = host_of_others("theirs")
    if name == "gone":  # a domain had it, and its log is still there
        host.xen.files = LeavesLogs(host.xen.files, f"xl-{name}.log")
    place = place_on(host)
    before = paths(host)
    with pytest.raises(Refused, match="and it is not ours"):
        place.add_domain(name, [Wish("xvda")])
    assert paths(host) == before
    place.close()
    assert len(host.world.xen.there) == 1


def test_a_directory_that_is_there_is_not_taken() -> None:
    host = Here.fresh(0)
    host.run(host.files.mkdir(DIRECTORY))
    with pytest.raises(Refused, match="is there already"):
        place_on(host)


def test_without_a_guest_what_needs_one_is_not_run_and_the_rest_is() -> None:
    def without(seed: int) -> Place:
        return place_on(Here.fresh(seed), guest=None)

    found = ended(CASES["memory/memory-and-disks-are-of-one-moment"], without)
    assert (found.state, VARIABLE in found.words) == (State.NOT_RUN, True)
    assert ended(CASES["core/disks-come-back"], without).state is State.PASS


def test_every_path_that_a_run_makes_is_told_beforehand() -> None:
    case = CASES["external/disks-come-back-from-frozen-images"]
    host = Here.fresh(0)
    place = place_on(host)
    (plan,) = planned([case], host.capabilities, Options(prefix="xsct-"), objects=place.objects)
    before = paths(host)
    place.add_domain("xsct-1", [Wish("xvda"), Wish("xvdb", Format.RAW)])
    made = paths(host) - before
    assert made
    for path in made:
        assert path in plan.objects or any(each.endswith("/") and path.startswith(each) for each in plan.objects), path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("vmlinuz,/guest.img", "'vmlinuz' is no file with an absolute path"),
        ("{here},{here}/no", "is no file with an absolute path"),
        ("{here},{here},hvmlite", "'hvmlite' is no kind of guest"),
    ],
)
def test_a_guest_that_makes_no_sense_is_told(monkeypatch, text: str, words: str) -> None:
    monkeypatch.setenv(VARIABLE, text.replace("{here}", __file__))
    with pytest.raises(Usage, match=words):
        kit()


def test_what_a_guest_is_made_of_is_heard(monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, f"{__file__},{__file__},pv")
    assert kit() == GuestKit(__file__, __file__, "pv")
    monkeypatch.setenv(VARIABLE, f"{__file__},{__file__}")
    assert kit() == GuestKit(__file__, __file__)
    monkeypatch.delenv(VARIABLE)
    assert kit() is None


def test_a_simulated_xen_host_is_not_taken_for_a_real_one(monkeypatch) -> None:
    monkeypatch.setenv("XENSNAP_SIM_DIR", "/somewhere")
    with pytest.raises(Usage, match="this Xen host is simulated"):
        LocalXenPlace()


def test_the_guest_can_be_built_and_holds_what_its_story_says(tmp_path) -> None:
    source = Path(xen.__file__).with_name("xen_guest.c")
    compiler = require_tool("gcc")
    words = [compiler, "-O2", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "init", source]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
