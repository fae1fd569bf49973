"""The command `xensnap`: finds the verb, runs it, and turns whatever comes out of it into words and an exit code."""

import itertools
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, NoReturn

import click

from xensnap.cli.__main__ import VERSION
from xensnap.cli.command import COMMON, Group, nearest
from xensnap.cli.session import Interrupted, Session, Stage, flag_option, host_option, verbose_option, xen_options
from xensnap.errors import Effect, ExitCode, Failed, FileFailed, Usage, XensnapError

# Name -> module and first line of its help, so that `--help` and `--version` import no verb.
VERBS = {
    "create": ("create", "Take a snapshot of a domain."),
    "list": ("list", "List domains, or the snapshots of one."),
    "info": ("info", "Tell all about a domain and its snapshots."),
    "tree": ("tree", "Draw the tree that the snapshots form."),
    "current": ("current", "Name the snapshot that the domain is at."),
    "parent": ("parent", "Name the snapshot that one comes from."),
    "check": ("check", "Tell whether a domain can be snapshotted."),
    "verify": ("verify", "Tell whether snapshots could be reverted to."),
    "chain": ("chain", "Show what disks stand on, or make it shorter."),
    "du": ("du", "Tell how much space snapshots take."),
    "diff": ("diff", "Show what changed between two snapshots."),
    "revert": ("revert", "Make a domain what it was at a snapshot."),
    "delete": ("delete", "Delete snapshots."),
    "forget": ("forget", "Throw a snapshot away so that it can be had back."),
    "trash": ("trash", "Have back, or give up, what was thrown away."),
    "undo": ("undo", "Take back the last operation."),
    "prune": ("prune", "Delete what a retention policy does not keep."),
    "pin": ("pin", "Protect a snapshot from being deleted."),
    "unpin": ("unpin", "Let a snapshot be deleted again."),
    "export": ("export", "Write a snapshot into one file."),
    "import": ("import_archive", "Make a domain of an archive that export wrote."),
    "clone": ("clone", "Make a new domain of a snapshot."),
    "dumpxml": ("dumpxml", "Print a snapshot as libvirt's XML."),
    "import-xml": ("import_xml", "Record snapshots that libvirt describes."),
    "rename": ("rename", "Call a snapshot something else."),
    "describe": ("describe", "Say what a snapshot is for."),
    "edit": ("edit", "Change a description in your editor."),
    "recover": ("recover", "Bring interrupted operations to their end."),
    "doctor": ("doctor", "Tell what does not fit together, and repair it."),
    "log": ("log", "Tell who did what to a domain, and when."),
    "adopt": ("adopt", "Take in a snapshot that no record tells of."),
    "apply": ("apply", "Carry out a plan that --dry-run --json printed."),
    "explain": ("explain", "Tell what an error means and what to do."),
    "capabilities": ("capabilities", "Tell what the host can do."),
    "config": ("config", "Show the configuration that is in force."),
    "completion": ("completion", "Print the completion script of a shell."),
    "domain": ("domain", "Start and stop domains, where nothing else does."),
    "conformance": ("conformance", "Try a host with the conformance cases."),
    "explore": ("explore", "Try a host with many seeds, on many machines."),
    "replay": ("replay", "Show a failure again, step by step."),
    "sim": ("sim", "Make and handle a simulated host."),
    "demo": ("demo", "Show disks and memory come back from a snapshot."),
}

SECTIONS = {
    "Every day": ("create", "list", "tree", "info", "revert", "delete"),
    "A closer look": ("check", "verify", "du", "diff", "chain"),
    "Which stay, and their names": (
        "forget",
        "trash",
        "prune",
        "pin",
        "unpin",
        "rename",
        "describe",
        "edit",
        "current",
        "parent",
    ),
    "To other domains and other hosts": ("clone", "export", "import", "dumpxml", "import-xml"),
    "When something was interrupted or does not fit, or is to be planned": (
        "recover",
        "doctor",
        "explain",
        "log",
        "adopt",
        "undo",
        "apply",
    ),
}
"""How the help sorts the verbs; those in no section come last."""

ALIASES = {f"snapshot-{name}": name for name in ("create", "delete", "list", "revert")}
"""The names that the 2014 design gave them under `xl`."""


class Verbs(Group):
    """The verbs, each imported when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """The verbs in the order of the help; aliases are found, but not listed twice."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- as above
        """The verb of this name or alias."""
        name = ALIASES.get(cmd_name, cmd_name)
        if name not in VERBS:
            return None
        module = import_module(f"xensnap.cli.{VERBS[name][0]}")
        command: click.Command = module.command
        return command

    def instead(self, ctx: click.Context, word: str) -> str:  # noqa: ARG002 -- as above
        """What to type instead of a word that is no verb: ours for the name that another tool has for it."""
        from xensnap.cli.elsewhere import COMMANDS

        plain = word.removeprefix("snapshot-")
        form = COMMANDS.get(word) or COMMANDS.get(plain) or (plain if plain in VERBS else nearest(word, VERBS))
        if word == "help":
            form = "VERB --help"
        return f"Did you mean `xensnap {form}`?" if form else "`xensnap --help` lists the commands."

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 -- as above
        """The list of verbs from the table above."""
        others = [name for name in VERBS if not any(name in names for names in SECTIONS.values())]
        width = max(map(len, VERBS))
        for title, names in {**SECTIONS, "Around it": others}.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), VERBS[name][1]) for name in names])
        with formatter.section("Also by the names of the 2014 design"):
            formatter.write_text(" ".join(ALIASES))
        with formatter.section("Options of most commands"):
            formatter.write_dl([(option, told) for option, told in COMMON.items() if told != "As above."])

    # click overloads this on `standalone_mode`, and here there is one mode only.
    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run one command line and end the process. Nobody ever gets to see a traceback unasked."""
        arguments = list(sys.argv[1:] if args is None else args)
        sys.exit(self._run(arguments, prog_name or "xensnap", Session(), extra))

    def _run(self, arguments: list[str], name: str, session: Session, extra: dict[str, Any]) -> int:
        try:
            _hold_standard_streams()
            with suppress(ValueError):  # where we are not the main thread, signals are somebody else's
                signal.signal(signal.SIGTERM, _interrupt)
            _check_text(arguments)
            code = super().main(arguments, name, **{**extra, "standalone_mode": False, "obj": session})
            sys.stdout.flush()
        except Exception as error:  # noqa: BLE001 -- the last line of defence: every error gets its words
            return _told(error, session, arguments)
        except KeyboardInterrupt:
            return _told(Interrupted(f"interrupted; {session.stage.value}"), session, arguments)
        code = code if isinstance(code, int) else int(ExitCode.DONE)
        return min(code, 1) if session.xl_exit else code


def _hold_standard_streams() -> None:
    """Where a standard stream is closed, open the null device as it, before a file of ours gets its number.

    The journal as number 2 would take in what some child says on stderr. What they cannot write they write escaped.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the smallest number that is free, which is this one
            setattr(sys, name, open(number, "r" if not number else "w", encoding="utf-8", closefd=False))  # noqa: SIM115 -- for as long as we run
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """SIGTERM is Ctrl-C from somebody without a terminal: the operation comes to one of its two ends first.

    While an event loop runs it is asyncio that hears Ctrl-C, and ends its task first; an exception of ours in the
    middle of the loop would be told as nobody's, with a traceback. In the background of a shell Ctrl-C is ignored.
    """
    heard = signal.getsignal(signal.SIGINT)
    if callable(heard):
        heard(signal.SIGINT, frame)
    else:
        raise KeyboardInterrupt


def _told(error: Exception, session: Session, arguments: Sequence[str]) -> int:
    """Show an error and return the exit code.

    A command line that could not be parsed has set no option yet, so what it asks for is looked up in its words.
    """
    from xensnap.cli.output import tell

    words = set(itertools.takewhile(lambda word: word != "--", arguments))
    if session.debug or "--debug" in words:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, click.exceptions.NoArgsIsHelpError) and "--json" not in words:
        click.echo(error.format_message(), err=True)
        return ExitCode.NOTHING_CHANGED if "--xl-exit" in words else ExitCode.USAGE
    ours = _ours(error, session, arguments)
    code = min(int(ours.exit_code), 1) if session.xl_exit or "--xl-exit" in words else int(ours.exit_code)
    tell(ours, host=session.host_name, exit_code=code, as_json=session.json or "--json" in words)
    return code


def _ours(error: Exception, session: Session, arguments: Sequence[str]) -> XensnapError:
    """The error in our terms: click's are about usage, the system's say themselves what they are about."""
    if isinstance(error, XensnapError):
        return error
    if isinstance(error, click.Abort):
        return Interrupted(f"interrupted; {session.stage.value}")
    if isinstance(error, click.ClickException):
        from xensnap.cli.usage import usage_of

        return usage_of(error, arguments)
    effect = {Stage.BEFORE: Effect.NONE, Stage.ACTING: Effect.UNKNOWN, Stage.DONE: Effect.DONE}[session.stage]
    if isinstance(error, OSError):
        cause = f"{_of_the_system(error)}; {session.stage.value}"
        return FileFailed(cause, path=str(error.filename or ""), errno=error.errno or 0, effect=effect)
    cause = f"internal error: {type(error).__name__}: {error}".splitlines()[0]
    remedy = "Please report it, with what --debug prints."
    return Failed(f"{cause}; {session.stage.value}", id="internal-error", remedy=remedy, effect=effect)


def _of_the_system(error: OSError) -> str:
    """What the operating system says, about which file."""
    return ": ".join(str(each) for each in (error.filename, error.strerror or error) if each)


def _check_text(arguments: Sequence[str]) -> None:
    """Names and paths go into records, which are UTF-8."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise Usage(f"an argument is not valid text: {argument!r}", id="bad-text", remedy="Use UTF-8.") from error
        if "\0" in argument:
            raise Usage(f"an argument holds a zero byte: {argument!r}", id="bad-text")


@click.command("xensnap", cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(message=VERSION)
@host_option
@xen_options
@verbose_option
@flag_option("--debug", help="Show where an error came from.")
@flag_option("--xl-exit", help="End with 0 or 1 only, as xl does.")
def main() -> None:
    """Snapshots of Xen domains: taken, listed, reverted to and deleted without losing data."""
