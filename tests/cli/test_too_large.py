"""A file that somebody names is never read further than any text goes, however it is named."""

import os
from pathlib import Path

import pytest

from xensnap import hosts
from xensnap.hypervisor import WHOLE_BYTES_MAX

LARGE = "large"
NAMED = {
    "a plan": ["apply", LARGE],
    "a snapshot's configuration": ["create", LARGE, "guest1"],
    "the same as an option": ["create", "-f", LARGE, "guest1"],
    "another configuration": ["revert", "guest1", "one", "--use-config", LARGE],
    "records as libvirt has them": ["import-xml", "guest1", LARGE],
    "a domain as libvirt has it": ["dumpxml", "guest1", "one", "--domain-xml", LARGE],
    "the configuration for an archive": ["import", "some.xensnap", "--directory", "/images", "--config", LARGE],
    "a file for a simulated host": ["sim", "file", "put", LARGE, "/images/text"],
    "a capsule": ["replay", LARGE],
    "a run to compare": ["conformance", "compare", LARGE, LARGE],
    "a run to report": ["conformance", "report", LARGE, "--html", "page.html"],
    "cases known to fail": ["conformance", "run", "--known-broken", LARGE],
}


@pytest.fixture
def guest(sim):
    """The simulated host with one snapshot, and a file in the working directory that holds next to nothing."""
    sim.ok("create", "guest1", "-n", "one")
    with Path(LARGE).open("wb") as file:
        file.truncate(WHOLE_BYTES_MAX + 1)
    return sim


@pytest.mark.parametrize("what", NAMED)
def test_a_file_that_is_no_text_is_not_read_whole(guest, what: str) -> None:
    told = guest.error(*NAMED[what])
    assert (told["id"], told["exit_code"]) == ("unreadable-file", 2)
    assert LARGE in told["cause"]


def test_nor_is_a_configuration_of_ours(guest, monkeypatch) -> None:
    monkeypatch.setenv("XENSNAP_CONFIG", LARGE)
    assert guest.error("list")["id"] == "unreadable-file"


def test_nor_standard_input(guest) -> None:
    result = guest.run("apply", "-", "--json", stdin=Path(LARGE).read_bytes())
    assert result.exit_code == 2
    assert '"unreadable-file"' in result.stdout


@pytest.mark.parametrize(
    "words", [["list"], ["create", "guest1"], ["sim", "domain", "add", "guest2"], ["sim", "reset"]]
)
@pytest.mark.parametrize("what", ["large", "pipe", "link to what never ends", "directory"])
def test_nor_what_is_no_world(guest, what: str, words: list[str]) -> None:
    world = Path(guest.host.removeprefix("sim:")) / hosts.WORLD_FILE
    if what == "large":
        os.truncate(world, hosts.WORLD_BYTES_MAX + 1)
    else:
        world.unlink()
    if what == "pipe":
        os.mkfifo(world)
    elif what == "link to what never ends":
        world.symlink_to("/dev/zero")
    elif what == "directory":
        world.mkdir()
    if words == ["sim", "reset"]:  # makes a new one, where the old one was one
        assert guest.run(*words).exit_code == (0 if what == "large" else 3)
        return
    told = guest.error(*words)
    assert (told["id"], told["exit_code"]) == ("unreadable-file", 2)
    assert str(world) in told["cause"]


def test_a_world_that_nobody_could_read_again_is_not_written(guest, monkeypatch) -> None:
    world = Path(guest.host.removeprefix("sim:")) / hosts.WORLD_FILE
    before = world.read_bytes()
    Path(LARGE).write_bytes(bytes(range(256)) * 64)
    with monkeypatch.context() as patched:
        patched.setattr(hosts, "WORLD_BYTES_MAX", len(before) + 1000)
        told = guest.error("sim", "file", "put", LARGE, "/images/text")
        assert (told["id"], told["exit_code"]) == ("world-too-large", 1)
        assert world.read_bytes() == before
        assert guest.ok("list", "guest1", "--name-only") == "one\n"
    guest.ok("sim", "file", "put", LARGE, "/images/text")


def test_nor_what_is_no_image(guest) -> None:
    assert guest.error("sim", "image", "import", "/dev/zero", "/images/zero.qcow2")["id"] == "not-qcow2"
