"""Every option of every command, in a good and in a bad form. A new option without a case fails here."""

from collections.abc import Iterator

import click
import pytest

from simulator import SimulatedHost
from tests.cli.conftest import UUID, tag_by_hand
from xensnap.cli import conformance_files as files
from xensnap.cli.main import ALIASES, main
from xensnap.conformance.capsule import capsule_of, encode
from xensnap.conformance.run import Options
from xensnap.testing import capsules as machines
from xensnap.testing.course import Course, Wrong
from xensnap.testing.tools import OurTool

HOST = "sim:elsewhere"
REPORTS = ("junit", "tap", "markdown", "html")
REPORTING = ("conformance run", "conformance report", "explore")
# What needs a cluster, or the host xen: tests/conformance/test_cluster.py and tests/cli/test_door_three.py.
ELSEWHERE = {"explore --scheduler", "create --domain-config"}

# The shortest good form of each command, on the world that `sim` makes with one snapshot `before`.
PLAIN = {
    "create": ["guest1"],
    "list": ["guest1"],
    "info": ["guest1"],
    "tree": ["guest1"],
    "current": ["guest1"],
    "parent": ["guest1"],
    "check": ["guest1"],
    "verify": ["guest1"],
    "chain show": ["guest1"],
    "chain compact": ["guest1"],
    "chain relocate": ["guest1", "xvda", "/var"],
    "explain": ["busy"],
    "capabilities": [],
    "config": [],
    "completion": ["zsh"],
    "du": ["guest1"],
    "diff": ["guest1", "before"],
    "revert": ["guest1", "before"],
    "delete": ["guest1", "before"],
    "prune": ["guest1", "--keep-last", "1"],
    "pin": ["guest1", "before"],
    "unpin": ["guest1", "pinned"],
    "export": ["guest1", "before", "-o", "/images/before.xensnap"],
    "import": ["/images/made.xensnap", "--directory", "/images", "--new-uuid", "--name", "imported"],
    "clone": ["guest1", "before", "cloned"],
    "dumpxml": ["guest1", "before"],
    "import-xml": ["guest1", "theirs.xml"],
    "rename": ["guest1", "before", "renamed"],
    "describe": ["guest1", "before", "new"],
    "edit": ["guest1", "before"],
    "recover": [],
    "doctor": ["guest1"],
    "forget": ["guest1", "before"],
    "adopt": ["guest1", "by-hand"],
    "undo": ["guest1"],
    "log": ["guest1"],
    "trash list": ["guest1"],
    "trash restore": ["guest1", "thrown"],
    "trash empty": ["guest1"],
    "apply": ["plan.json"],
    "demo": [],
    "domain start": ["guest1"],
    "domain stop": ["guest1"],
    "domain pause": ["guest1"],
    "domain unpause": ["guest1"],
    "conformance run": ["core/disks-come-back", "--host", "sim"],
    "conformance list": [],
    "conformance compare": ["run.jsonl", "run.jsonl"],
    "conformance report": ["run.jsonl"],
    "explore": ["core/disks-come-back", "--host", "sim", "--seeds", "1"],
    "replay": ["capsule.json"],
    "sim init": [],
    "sim import": ["--from-host", "sim:world"],
    "sim reset": [],
    "sim path": [],
    "sim show": [],
    "sim domain add": ["guest2"],
    "sim disk add": ["guest1", "xvdc=1M"],
    "sim disk resize": ["guest1", "xvda", "16M"],
    "sim write": ["guest1", "xvda", "0", "4k"],
    "sim read": ["guest1", "xvda"],
    "sim run": ["true"],
    "sim image export": ["/images/guest1-xvda.qcow2", "out.qcow2"],
    "sim image import": ["made.qcow2", "/images/made.qcow2"],
    "sim file get": ["/images/made.xensnap", "out.xensnap"],
    "sim file put": ["theirs.xml", "/images/theirs.xml"],
    "sim shell": [],
    "sim crash": ["--at", "1", "create", "guest1"],
}

# Their own options come before the words of the command that they run.
TAKES_WORDS = {"sim crash", "sim run"}

# Where the plain form and an option contradict each other: the form to use with that option.
INSTEAD = {
    "replay --tool": ["machine.json"],
    "doctor --all": [],
    "delete --all": ["guest1"],
    "delete --current": ["guest1"],
    "revert --current": ["guest1"],
    "prune --policy": ["guest1"],
    "delete --older-than": ["guest1"],
    "delete --keep-last": ["guest1"],
    "export --output": ["guest1", "before"],
    "import --directory": ["/images/made.xensnap", "--new-uuid", "--name", "imported"],
    "import --name": ["/images/made.xensnap", "--directory", "/images", "--new-uuid"],
    "import --domain": ["/images/made.xensnap", "--directory", "/images"],
    "import --new-uuid": ["/images/made.xensnap", "--directory", "/images", "--name", "imported"],
    "clone --linked": ["guest3", "frozen", "cloned"],
    "create --accept": ["guest1", "--name", "pinned", "--replace"],
    "delete --accept": ["guest1", "pinned"],
    "forget --accept": ["guest1", "pinned"],
    "trash empty --accept": ["guest1", "thrown"],
}

# What a domain must be let do before.
BEFORE = {"domain pause": ["start"], "domain unpause": ["start", "pause"]}

# Values for the options that take one: good ones, and bad ones where any text would not do.
GOOD = {
    "sim import --from-host": ["sim:world"],
    "create --name": ["new"],
    "create --description": ["what it is for"],
    "create --type": ["external", "--disk-only", "--exclude", "xvda"],
    "create --disk": ["xvda=internal"],
    "create --only": ["xvda", "--disk-only"],
    "create --exclude": ["xvda", "--disk-only"],
    "create --external-dir": ["/images"],
    "create --config": ["snap.cfg"],
    "export --output": ["/images/new.xensnap"],
    "import --directory": ["/images"],
    "import --domain": ["guest3"],
    "import --name": ["another"],
    "import --as": ["then"],
    "import --config": ["guest1.cfg"],
    "clone --directory": ["/images"],
    "dumpxml --name": ["before"],
    "dumpxml --domain-xml": ["domain.xml"],
    "create --memory": ["no"],
    "create --max-downtime": ["0.5", "--live"],
    "create --quiesce": ["try"],
    "create --quiesce-timeout": ["2.5"],
    "create --then": ["stopped"],
    "revert --then": ["stopped"],
    "create --replace": ["-n", "child"],
    "create --reuse-external": ["--disk", "xvdb=external:/images/new.qcow2"],
    "revert --only": ["xvdb"],
    "revert --save-current": ["kept"],
    "revert --use-config": ["guest1.cfg"],
    "list --name": ["before"],
    "info --name": ["before"],
    "revert --name": ["before"],
    "delete --name": ["before"],
    "delete --all": ["--accept", "pinned"],
    "trash empty --all": ["--accept", "pinned"],
    "delete --older-than": ["1d", "--keep-last", "1"],
    "delete --keep-last": ["2"],
    "trash empty --older-than": ["1d"],
    "prune --keep-last": ["2"],
    "prune --policy": ["nightly"],
    "prune --keep-hourly": ["2"],
    "prune --keep-daily": ["2"],
    "prune --keep-weekly": ["2"],
    "prune --keep-monthly": ["2"],
    "prune --keep-yearly": ["2"],
    "prune --keep-within": ["2d"],
    "pin --owner": ["me"],
    "pin --until": ["2h"],
    "pin --why": ["to go back to"],
    "unpin --owner": ["me"],
    "parent --name": ["child"],
    "verify --name": ["child"],
    "list --sort": ["size"],
    "list --from": ["before"],
    "list --descendants": ["--from", "pinned"],
    "list --parent": ["--name-only"],
    "list --since": ["2001-01-01"],
    "list --until": ["1h"],
    "conformance run --host": ["sim"],
    "conformance run --profile": ["core"],
    "conformance run --seed": ["7"],
    "conformance run --shard": ["1/2"],
    "conformance run --stride": ["9"],
    "conformance run --max-examples": ["3"],
    "conformance run --time-box": ["60"],
    "conformance run --prefix": ["mine-"],
    "conformance run --known-broken": ["known"],
    "conformance run --jsonl": ["out.jsonl"],
    "conformance run --capsules": ["capsules"],
    "replay --html": ["replay.html"],
    "replay --tool": ["xensnap.testing.tools:OurTool"],
    "replay --host": ["sim"],
    **{f"{name} --{kind}": [f"out.{kind}"] for name in REPORTING for kind in REPORTS},
    "conformance list --profile": ["core"],
    "explore --host": ["sim"],
    "explore --profile": ["core"],
    "explore --seeds": ["2"],
    "explore --first-seed": ["7"],
    "explore --shards": ["2"],
    "explore --stride": ["9"],
    "explore --jsonl": ["out.jsonl"],
    "explore --capsules": ["capsules"],
    "sim init --seed": ["7"],
    "sim reset --seed": ["7"],
    "sim domain add --disk": ["xvda=1M,raw,ro"],
    "sim domain add --uuid": ["11111111-2222-4333-8444-555555555555"],
    "sim crash --at": ["2"],
    "demo --svg": ["demo.svg"],
    "demo --seed": ["1"],
}
GOOD_ANYWHERE = {"--wait": ["0.5"], "--accept": ["pinned"]}
# Verbs that delete what is pinned; of the others no plan has a risk here, so that accepting one is an error there.
RISKY = {"create", "delete", "forget", "trash empty"}

BAD = {
    "sim import --from-host": "nowhere",
    "replay --host": "nowhere",
    "create --name": "a/b",
    "create --type": "both",
    "create --disk": "xvda",
    "create --only": "xvdz",
    "create --exclude": "xvdz",
    "create --external-dir": "relative",
    "create --config": "missing.cfg",
    "export --output": "/images/made.xensnap",
    "import --directory": "relative",
    "import --domain": "nobody",
    "import --name": "guest1",
    "import --as": "a/b",
    "import --config": "theirs.xml",
    "clone --directory": "/nowhere",
    "dumpxml --name": "another",
    "dumpxml --domain-xml": "missing.xml",
    "create --memory": "relative",
    "create --max-downtime": "0",
    "create --quiesce": "maybe",
    "create --quiesce-timeout": "0",
    "create --then": "asleep",
    "revert --then": "asleep",
    "revert --only": "xvdz",
    "revert --save-current": "before",
    "revert --use-config": "missing.cfg",
    "list --name": "nothing",
    "list --sort": "colour",
    "list --from": "nothing",
    "list --since": "tomorrow",
    "list --until": "tomorrow",
    "parent --name": "nothing",
    "verify --name": "nothing",
    "info --name": "nothing",
    "revert --name": "another",
    "delete --name": "another",
    "delete --older-than": "yesterday",
    "trash empty --older-than": "yesterday",
    "delete --keep-last": "-1",
    "prune --keep-last": "0",
    "prune --policy": "weekly",
    "prune --keep-hourly": "0",
    "prune --keep-daily": "0",
    "prune --keep-weekly": "0",
    "prune --keep-monthly": "0",
    "prune --keep-yearly": "0",
    "prune --keep-within": "2",
    "pin --until": "yesterday",
    "unpin --owner": "another",
    "conformance run --host": "nowhere",
    "conformance run --profile": "none",
    "conformance run --seed": "-1",
    "conformance run --shard": "2/1",
    "conformance run --stride": "0",
    "conformance run --max-examples": "0",
    "conformance run --time-box": "-1",
    "conformance run --prefix": "../mine",
    "conformance run --known-broken": "missing",
    "conformance run --jsonl": ".",
    "replay --html": ".",
    "explore --host": "nowhere",
    "replay --tool": "no.such:tool",
    **{f"{name} --{kind}": "." for name in REPORTING for kind in REPORTS},
    "conformance list --profile": "none",
    "explore --profile": "none",
    "explore --seeds": "0",
    "explore --first-seed": "-1",
    "explore --shards": "0",
    "explore --stride": "0",
    "explore --jsonl": ".",
    "sim init --seed": "-1",
    "sim reset --seed": "x",
    "sim domain add --disk": "xvda",
    "sim domain add --uuid": "1",
    "sim crash --at": "0",
    "demo --svg": ".",
    "demo --seed": "-1",
}
BAD_ANYWHERE = {"--host": "nowhere", "--wait": "-1", "--accept": "anything"}
ANY_TEXT = {"create --description", "pin --owner", "pin --why", "conformance run --capsules", "explore --capsules"}
"""Options whose every value is good."""


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from commands(found, *path, name)
        else:
            yield " ".join([*path, name]), found


COMMANDS = dict(commands(main))
OPTIONS = [
    (name, option, word)
    for name, command in COMMANDS.items()
    for option in command.params
    if isinstance(option, click.Option)
    for word in option.opts
    if f"{name} {word}" not in ELSEWHERE and (word != "--accept" or name in RISKY)
]
RISKLESS = [name for name, command in COMMANDS.items() if "accept" in {each.name for each in command.params}]
RISKLESS = [name for name in RISKLESS if name not in RISKY]


def put_xml(sim) -> None:
    """What `import-xml` can find in the images, and a domain's description for `dumpxml`."""
    tag_by_hand(sim, "theirs")
    (sim.directory / "theirs.xml").write_text(
        "<domainsnapshot><name>theirs</name><disks><disk name='xvda' snapshot='internal'/></disks></domainsnapshot>"
    )
    (sim.directory / "domain.xml").write_text(f"<domain><uuid>{UUID}</uuid></domain>")


def put_capsule(sim) -> None:
    """A run, and a capsule of it for `replay`. Its case passes, so that replaying it shows the same."""
    sim.ok("conformance", "run", "core/disks-come-back", "--host", "sim", "--jsonl", "run.jsonl")
    run, options = files.read_run(str(sim.directory / "run.jsonl")), Options()
    held = capsule_of(run.cases[0], run, host="sim", options=options, versions=files.versions())
    (sim.directory / "capsule.json").write_bytes(encode(held))
    host = SimulatedHost.fresh()
    host.add_domain("guest1", disks={"xvda": host.create_image("/images/a").path})
    course = Course(host.world, "guest1", (OurTool,))
    machine = machines.capsule_of(course, host.world, "guest1", (OurTool,), Wrong(""), story="nothing is done")
    (sim.directory / "machine.json").write_bytes(machines.encode(machine))


def put_archive(sim) -> None:
    """An archive of `before`, a snapshot that has frozen its image."""
    sim.ok("export", "guest1", "before", "-o", "/images/made.xensnap")
    sim.ok("sim", "domain", "add", "guest3", "--disk", "xvda=1M,raw", "--disk", "xvdb=1M,raw")
    sim.ok("create", "guest3", "-n", "frozen")


@pytest.fixture
def prepared(sim, monkeypatch):
    monkeypatch.setenv("SHELL", "/bin/true")
    sim.ok("sim", "image", "export", "/images/guest1-xvda.qcow2", "made.qcow2")
    monkeypatch.setenv("VISUAL", "sed -i $atyped")
    monkeypatch.setenv("XENSNAP_CONFIG", str(sim.directory / "config.toml"))
    (sim.directory / "config.toml").write_text("[retention.nightly]\nkeep-last = 1\n")
    (sim.directory / "snap.cfg").write_text(
        "name = 'configured'\ntype = 'external'\ndisk = ['/images/o.qcow2,qcow2,xvdb']"
    )
    for name in ("pinned", "before", "child", "thrown"):
        sim.ok("create", "guest1", "-n", name)
    tag_by_hand(sim, "by-hand")
    sim.ok("pin", "guest1", "pinned", "--owner", "me")
    put_xml(sim)
    put_capsule(sim)
    disks = ("'/a,qcow2,xvda'", "'/b,raw,xvdb'", "'/c,raw,hdc,cdrom'")
    (sim.directory / "guest1.cfg").write_text(f"name = 'guest1'\ndisk = [{', '.join(disks)}]\n")
    (sim.directory / "known").write_text("core/odd-names-work  a reference")
    sim.ok("pin", "guest1", "thrown", "--owner", "me")
    sim.ok("forget", "guest1", "thrown", "--accept", "pinned")
    put_archive(sim)
    (sim.directory / "plan.json").write_text(sim.ok("create", "guest1", "-n", "planned", "--dry-run", "--json"))
    return sim


def values(name: str, option: click.Option, shell) -> list[str]:
    long = max(option.opts, key=len)
    if f"{name} {long}" in GOOD:
        return GOOD[f"{name} {long}"]
    if option.is_flag:
        return []
    if long == "--host":
        return [shell.host]
    return GOOD_ANYWHERE[long]


def arguments(name: str, word: str, shell) -> list[str]:
    if name in {"sim init", "sim import"}:
        shell.host = HOST
    if name == "sim crash" and word == "--at":
        return PLAIN[name][2:]
    return INSTEAD.get(f"{name} {word}", PLAIN[name])


@pytest.mark.parametrize(("name", "option", "word"), OPTIONS, ids=[f"{name} {word}" for name, _, word in OPTIONS])
def test_each_option_works_in_a_good_form_and_says_what_is_wrong_in_a_bad_one(prepared, name, option, word) -> None:
    shell = prepared
    plain = arguments(name, word, shell)
    long = max(option.opts, key=len)
    if option.is_flag:
        bad = [f"{long}=1"]
    else:
        value = BAD.get(f"{name} {long}", BAD_ANYWHERE.get(long))
        bad = [word] if value is None else [word, value]
    wrong = [*bad, *plain] if name in TAKES_WORDS else [*plain, *bad]
    result = shell.run(*name.split(), *wrong)
    assert result.exit_code != 0
    assert result.stderr.startswith("xensnap: ")
    for before in BEFORE.get(name, ()):
        shell.ok("domain", before, "guest1")
    good = [word, *values(name, option, shell)]
    shell.ok(*name.split(), *([*good, *plain] if name in TAKES_WORDS else [*plain, *good]))


@pytest.mark.parametrize("name", RISKLESS)
def test_a_plan_without_a_risk_says_so_to_whoever_accepts_one(prepared, name) -> None:
    result = prepared.run(*name.split(), *PLAIN[name], "--accept", "pinned")
    assert result.exit_code == 2
    assert result.stderr == "xensnap: this has no risk 'pinned'\n  → It has none; leave --accept out.\n"
    for before in BEFORE.get(name, ()):
        prepared.ok("domain", before, "guest1")
    prepared.ok(*name.split(), *PLAIN[name])


def test_every_verb_that_changes_a_domain_can_be_told_of_a_risk() -> None:
    changing = {name for name, command in COMMANDS.items() if "wait" in {each.name for each in command.params}}
    assert {name for name in changing if not name.startswith("sim ")} == {*RISKLESS, *RISKY}


def test_the_risks_of_a_plan_are_those_that_it_was_made_with(prepared) -> None:
    words = ("delete", "guest1", "pinned", "--accept", "pinned", "--dry-run", "--json")
    (prepared.directory / "risky.json").write_text(prepared.ok(*words))
    result = prepared.run("apply", "risky.json", "--accept", "anything")
    assert (result.exit_code, result.stderr) == (
        2, "xensnap: this has no risk 'anything'\n  → Accept what it has: pinned.\n"
    )  # fmt: skip
    prepared.ok("apply", "risky.json", "--accept", "pinned")


def test_there_is_a_plain_form_of_each_command() -> None:
    assert set(PLAIN) == set(COMMANDS)


def test_no_case_is_left_of_an_option_that_is_gone() -> None:
    known = {f"{name} {max(option.opts, key=len)}" for name, option, _ in OPTIONS}
    flags = {f"{name} {max(option.opts, key=len)}" for name, option, _ in OPTIONS if option.is_flag}
    assert set(INSTEAD) <= known
    assert set(GOOD) <= known
    assert set(BAD) <= known
    assert set(BAD) | ANY_TEXT == set(GOOD) - flags


@pytest.mark.parametrize("name", PLAIN)
def test_each_command_needs_its_arguments_and_no_more(prepared, name) -> None:
    if any(parameter.required for parameter in COMMANDS[name].params if isinstance(parameter, click.Argument)):
        assert prepared.run(*name.split()).exit_code == 2
    if name not in TAKES_WORDS:
        # Of conformance cases, reports and files any number can be named, and none is called `word`.
        takes_any = name.startswith(("conformance ", "import-xml", "explore")) and any(
            each.nargs < 0 for each in COMMANDS[name].params
        )
        assert prepared.run(*name.split(), *["word"] * 6).exit_code == (3 if takes_any else 2)


@pytest.mark.parametrize("name", [*PLAIN, "", "chain", "conformance", "domain", "sim", "sim domain", "sim disk"])
def test_each_command_has_help(shell, name) -> None:
    assert "Usage: xensnap" in shell.ok(*name.split(), "--help")


@pytest.mark.parametrize("name", [name for name in PLAIN if not name.startswith(("conformance", "sim"))])
def test_help_fits_a_screen_and_begins_with_examples(shell, name) -> None:
    text = shell.ok(*name.split(), "--help")
    assert len(text.splitlines()) <= 48
    examples, options = text.find("\nExamples:\n"), text.find("\nOptions")
    assert examples < options or name.startswith("domain")
    assert name.startswith("domain") or examples > 0


@pytest.mark.parametrize("option", ["--host=qemu:.", "-v", "--verbose", "--debug", "--xl-exit"])
def test_the_global_options_stand_before_the_verb(shell, option) -> None:
    shell.ok(option, "sim", "path", "--host", "sim")
    assert shell.run(f"{option}=", "sim", "path", "--host", "sim").exit_code in ({0} if "host" in option else {1, 2})


def test_the_table_of_verbs_says_what_their_help_says() -> None:
    from xensnap.cli.main import VERBS

    context = click.Context(main)
    for name, (_, told) in VERBS.items():
        command = main.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(limit=100) == told
    assert set(ALIASES.values()) <= set(VERBS)
