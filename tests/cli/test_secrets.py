"""No password of a configuration is in anything that a command says, not even in a plan; and that can be applied."""

import pytest

from simulator import SimulatedHost, persist
from tests.cli.conftest import Shell
from xensnap import hosts
from xensnap.engine.engine import Engine
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

    def plan(*words: str) -> None:
        say(*words, "--dry-run")

    def file(word: str) -> str:
        (sim.directory / "new.cfg").write_text(f"name = 'guest1'\n{DISKS}{WAYS[way].format(word)}\n")
        return "new.cfg"

    sim.ok("create", "guest1", "-n", "a")
    sim.ok("revert", "guest1", "a", "--use-config", file(WORD))
    sim.ok("create", "guest1", "-n", "b")
    plan("revert", "guest1", "a", "--use-config", file(f"{WORD}2"))
    say("revert", "guest1", "a", "--use-config", file("another"))
    plan("create", "guest1")
    plan("revert", "guest1", "b")
    plan("forget", "guest1", "b")
    plan("export", "guest1", "b", "-o", "/images/b.xensnap")
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
        ["import", "/images/b.xensnap", "--name", "other", "--dry-run"],
        ["import", "/images/b.xensnap", "--name", "other"],
        ["clone", "guest1", "b", "third", "--dry-run"],
        ["clone", "guest1", "b", "third"],
    ):
        say(*words)
    assert [line[:60] for line in told if WORD in line] == []
    assert [line for line in told if "(not shown)" in line], "the settings that differ are told all the same"


@pytest.mark.parametrize("way", WAYS)
def test_a_plan_that_shows_no_password_is_carried_out_with_it(sim: Shell, way: str) -> None:
    def applied(*words: str) -> None:
        text = sim.ok(*words, "--dry-run", "--json")
        assert "(not shown)" in text
        (sim.directory / "plan.json").write_text(text)
        sim.ok("apply", "plan.json")

    sim.ok("create", "guest1", "-n", "a")
    (sim.directory / "new.cfg").write_text(f"name = 'guest1'\n{DISKS}{WAYS[way].format(WORD)}\n")
    applied("revert", "guest1", "a", "--use-config", "new.cfg")
    applied("create", "guest1", "-n", "b")
    host = SimulatedHost(persist.decode((sim.directory / "world" / hosts.WORLD_FILE).read_bytes()))
    assert WORD in Engine(host).list("guest1").contents.snapshots["b"].domain_config
    text = sim.ok("revert", "guest1", "a", "--use-config", "new.cfg", "--dry-run", "--json")
    (sim.directory / "plan.json").write_text(text)
    (sim.directory / "new.cfg").write_text(f"name = 'guest1'\n{DISKS}{WAYS[way].format('another')}\n")
    assert sim.error("apply", "plan.json")["id"] == "plan-is-stale"


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
