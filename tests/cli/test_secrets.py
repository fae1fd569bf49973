"""No password of a configuration is in anything that a command says, but for the plan that an operator asks for."""

import pytest

from tests.cli.conftest import Shell
from xensnap.formats.secret import line_shown

WORD = "hunter2"
DISKS = "disk = ['/elsewhere/a.qcow2,qcow2,xvda', '/b,raw,xvdb', '/c,raw,hdc,cdrom']\n"
WAYS = {
    "alone": "vncpasswd = '{}'",
    "of SPICE": "spicepasswd = '{}'",
    "in a frame buffer": "vfb = ['vnc=1,vncpasswd={}']",
    "for QEMU": "device_model_args = ['-object', 'secret,id=key,data={}']",
}


@pytest.mark.parametrize("way", WAYS)
def test_passwords_are_in_nothing_that_a_command_says(sim: Shell, way: str) -> None:
    told: list[str] = []

    def say(*words: str) -> None:
        for asked in (words, (*words, "--json")):
            result = sim.run(*asked)
            told.append(f"{asked}: {result.output}")

    def file(word: str) -> str:
        (sim.directory / "new.cfg").write_text(f"name = 'guest1'\n{DISKS}{WAYS[way].format(word)}\n")
        return "new.cfg"

    sim.ok("create", "guest1", "-n", "a")
    sim.ok("revert", "guest1", "a", "--use-config", file(WORD))
    sim.ok("create", "guest1", "-n", "b")
    say("revert", "guest1", "a", "--use-config", file("another"))
    say("revert", "guest1", "b")
    say("export", "guest1", "b", "-o", "/images/b.xensnap")
    for words in (
        ["list", "guest1"],
        ["info", "guest1", "b"],
        ["diff", "guest1", "a", "b"],
        ["diff", "guest1", "b"],
        ["log", "guest1"],
        ["check", "guest1"],
        ["doctor"],
        ["du"],
        ["trash", "list", "guest1"],
        ["import", "/images/b.xensnap", "--name", "other"],
        ["clone", "guest1", "b", "third"],
    ):
        say(*words)
    assert [line[:60] for line in told if WORD in line] == []
    assert [line for line in told if "(not shown)" in line], "the settings that differ are told all the same"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('-        "passwd": "hunter2",', '-        "passwd": (not shown)'),
        ("+vncpasswd = 'hunter2'", "+vncpasswd = (not shown)"),
        ('     "secret,id=key,data=hunter2"', "     (not shown)"),
        ('+    "vcpus": 2', '+    "vcpus": 2'),
    ],
)
def test_of_a_secret_line_only_how_it_begins_is_told(line: str, told: str) -> None:
    assert line_shown(line) == told
