"""A file that somebody names is never read further than any text goes, however it is named."""

from pathlib import Path

import pytest

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


def test_nor_what_is_no_image(guest) -> None:
    assert guest.error("sim", "image", "import", "/dev/zero", "/images/zero.qcow2")["id"] == "not-qcow2"
