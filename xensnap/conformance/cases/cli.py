"""The command line: what it tells programs and people, and what it leaves alone."""

from xensnap.conformance.case import Profile, case
from xensnap.conformance.places.commands import commands
from xensnap.conformance.trial import Trial
from xensnap.engine.request import PinRequest
from xensnap.errors import ExitCode
from xensnap.hypervisor import Capability
from xensnap.model import Kind

INTERNAL = {Capability.INTERNAL}


@case(Profile.CLI, "U3", "U2", needs=INTERNAL)
def exit_codes_tell_the_kind(trial: Trial) -> None:
    """Done, misused, not found, refused and taken are told apart by the exit code, in words and in a document."""
    guest = trial.guest(xvda="qcow2")
    told = {
        ExitCode.DONE: ("create", guest.name, "-n", "s"),
        ExitCode.USAGE: ("create", guest.name, "--no-such-option"),
        ExitCode.NOT_FOUND: ("revert", guest.name, "nothing"),
        ExitCode.REFUSED: ("create", guest.name, "-n", "../outside"),
    }
    with commands(trial) as xensnap:
        for code, words in told.items():
            ran = xensnap.run(*words)
            trial.equal(ran.code, code, f"the exit code of {' '.join(words)}")
            trial.require(bool(ran.err.strip()) == (code is not ExitCode.DONE), f"it complained so: {ran.err!r}")
        trial.equal(xensnap.run("create", guest.name, "-n", "s").code, ExitCode.BUSY, "the code for a name twice")
    trial.equal(guest.snapshots(), ("s",), "the snapshots")


@case(Profile.CLI, "L4", "L1", "L2", needs=INTERNAL)
def json_says_what_it_is(trial: Trial) -> None:
    """With --json each verb prints one document that names its schema; an error's has id, effect and the exit code."""
    guest = trial.guest(xvda="qcow2")
    with commands(trial) as xensnap:
        made = xensnap.ok("create", guest.name, "-n", "s", "--json").document
        trial.equal((made["snapshot"], made["domain"]), ("s", guest.name), "what was made")
        listed = xensnap.ok("list", guest.name, "--json").document
        trial.equal([each["name"] for each in listed["snapshots"]], ["s"], "the snapshots")
        ran = xensnap.run("revert", guest.name, "nothing", "--json")
        error = ran.document
        trial.equal(
            (error["id"], error["effect"], error["exit_code"], ran.code),
            ("no-such-snapshot", "none", ExitCode.NOT_FOUND, ExitCode.NOT_FOUND),
            "what the error tells",
        )


@case(Profile.CLI, "U1", needs=INTERNAL)
def a_dry_run_changes_nothing_and_is_what_is_done(trial: Trial) -> None:
    """--dry-run shows the plan and leaves all as it is; `apply` does just that, once, and then refuses it."""
    guest = trial.guest(xvda="qcow2")
    guest.write()
    shown = guest.shows()
    with commands(trial) as xensnap:
        plan = xensnap.ok("create", guest.name, "-n", "s", "--dry-run", "--json").out
        trial.equal(xensnap.ok("list", guest.name, "--json").document["snapshots"], [], "the snapshots after a dry run")
        with xensnap.file(plan) as path:
            xensnap.ok("apply", path)
            trial.equal(xensnap.run("apply", path).code, ExitCode.BUSY, "the exit code of applying it again")
    trial.equal(guest.snapshots(), ("s",), "the snapshots")
    trial.same(guest.shows(), shown, "after the plan")


@case(Profile.CLI, "U3", "C16", "S8", needs=INTERNAL)
def bad_input_is_told_in_words(trial: Trial) -> None:
    """Whatever is said wrongly ends in words and an exit code of ours, never in a traceback, and changes nothing."""
    guest = trial.guest(xvda="qcow2")
    wrong = (
        ("create",),
        ("create", guest.name, "-n", "line\nbreak"),
        ("create", guest.name, "--disk", "xvdz=internal"),
        ("create", guest.name, "--disk", "="),
        ("revert", guest.name, "\udcff\ud800".encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")),
        ("apply", "/dev/null"),
        ("no-such-verb",),
    )
    codes = {ExitCode.NOTHING_CHANGED, ExitCode.USAGE, ExitCode.NOT_FOUND, ExitCode.REFUSED}
    with commands(trial) as xensnap:
        for words in wrong:
            ran = xensnap.run(*words)
            trial.require(ran.code in codes, f"{words!r} ended with {ran.code}")
            trial.require(ran.err.strip(), f"{words!r} was not complained of")
    trial.equal(guest.snapshots(), (), "the snapshots")


@case(Profile.CLI, "U4", "S5", needs=INTERNAL)
def steps_are_told_and_an_interruption_ends_in_order(trial: Trial) -> None:
    """--events tells each step before it is done; Ctrl-C then ends the command with all undone, or all done."""
    guest = trial.guest(xvda="qcow2", xvdb="qcow2")
    guest.create("one", kind=Kind.INTERNAL)
    words = ("create", guest.name, "-n", "two", "--events")
    with commands(trial) as xensnap:
        process = xensnap.start(*words)
        first = xensnap.heard(process, 1)
        xensnap.interrupt(process)
        ran = xensnap.ended(process, words, heard=first)
        trial.require('"xensnap-event/1"' in first, f"the first word was no step: {first!r}")
        trial.require(ran.code in {ExitCode.DONE, ExitCode.INTERRUPTED}, f"it ended with {ran.code}: {ran.err}")
    trial.equal(guest.recover(), "", "what is left for recovery")
    wanted = {("one", "two")} if ran.code == ExitCode.DONE else {("one",), ("one", "two")}
    trial.require(guest.snapshots() in wanted, f"after exit code {ran.code} there are {guest.snapshots()}")
    guest.create("three", kind=Kind.INTERNAL)


@case(Profile.CLI, "L3", "L1", needs=INTERNAL)
def lists_can_be_cut_down(trial: Trial) -> None:
    """Filters by place in the tree, kind, pin and age add up within one kind and cut down across kinds."""
    guest = trial.guest(xvda="qcow2")
    for name in ("root", "left"):
        guest.create(name, kind=Kind.INTERNAL)
    guest.revert("root")
    guest.create("right", kind=Kind.INTERNAL)
    guest.perform(PinRequest("left", owner="auditor"))
    wanted = {
        ("--roots",): {"root"},
        ("--leaves",): {"left", "right"},
        ("--leaves", "--pinned"): {"left"},
        ("--pinned", "--current"): {"left", "right"},
        ("--from", "root"): {"left", "right"},
        ("--internal", "--since", "1d", "--no-leaves"): {"root"},
        ("--external",): set(),
        ("--with-memory",): set(),
        ("--until", "2001-01-01"): set(),
    }
    with commands(trial) as xensnap:
        for words, names in wanted.items():
            told = xensnap.ok("list", guest.name, *words, "--json").document
            trial.equal({each["name"] for each in told["snapshots"]}, names, f"list {' '.join(words)}")
