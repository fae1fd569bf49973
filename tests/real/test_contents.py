"""What a disk holds is the guest's: none of it is in what a command says, or in a file of ours that is no image."""

from pathlib import Path

import pytest

from tests.real.lab import Lab

WORD = b"the-guests-own-secret"


def notes(lab: Lab) -> dict[str, bytes]:
    """Everything of ours that is no image."""
    return {path.name: path.read_bytes() for path in lab.directory.rglob("*") if path.is_file() and not is_image(path)}


def is_image(path: Path) -> bool:
    return path.suffix in {".raw", ".qcow2", ".xensnap"}


@pytest.mark.parametrize("harm", ["none", "a header that the guest has written", "half a header", "no snapshot table"])
def test_what_a_disk_holds_is_in_nothing_that_is_said_or_noted(lab: Lab, harm: str) -> None:
    lab.path("a.raw").write_bytes((WORD * (1 << 16))[: 1 << 20])
    image = lab.image("b.qcow2", "1M")
    lab.describe("guest", ("a.raw", "raw"), ("b.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one")
    data = image.read_bytes()
    filling = (WORD * 100)[:1024]
    match harm:
        case "a header that the guest has written":
            image.write_bytes(filling + data[1024:])
        case "half a header":
            image.write_bytes(data[:12] + filling)
        case "no snapshot table":
            image.write_bytes(data[:64] + filling[:8] + data[72:])
    for words in (
        ["list", "guest"],
        ["info", "guest", "one"],
        ["check", "guest"],
        ["verify", "guest"],
        ["doctor", "guest", "--check"],
        ["create", "guest", "-n", "two"],
        ["diff", "guest", "one"],
        ["revert", "guest", "one"],
        ["export", "guest", "one", "-o", str(lab.path("one.xensnap"))],
        ["delete", "guest", "one"],
        ["doctor", "guest", "--check", "--repair"],
        ["log", "guest"],
    ):
        for asked in (words, [*words, "--json"]):
            assert WORD.decode() not in lab.run(*asked).output, asked
            assert WORD.decode()[:8] not in lab.run("list", "guest").output
    assert [name for name, content in notes(lab).items() if WORD in content] == []
