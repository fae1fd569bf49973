"""What a plan in words says that its guest will notice."""

import pytest


@pytest.fixture
def running(sim):
    sim.ok("domain", "start", "guest1")
    return sim


def said(shell, *words: str) -> str:
    lines = shell.ok(*words, "--dry-run").splitlines()
    return next((line.removeprefix("guest: ") for line in lines if line.startswith("guest: ")), "")


def test_a_domain_that_is_off_notices_nothing(sim) -> None:
    assert said(sim, "create", "guest1") == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "stands still while its memory is written, and for one transaction of its disks"),
        (("--disk-only",), "is not stopped; its writes wait for one transaction of its disks"),
        (("--disk-only", "--quiesce", "try"), "is not stopped; its writes wait for at most 10 s"),
    ],
)
def test_a_create_says_how_long_the_guest_stands_still(running, words, told) -> None:
    assert said(running, "create", "guest1", *words) == told


def test_a_revert_ends_the_guest(running) -> None:
    running.ok("create", "guest1", "-n", "one")
    assert said(running, "revert", "guest1", "one") == "is ended, and comes back as the steps say"
