"""`sim run`, `sim shell`: programs that know nothing of a simulation, on a simulated host.

On their PATH stand `xl`, `qemu-img` and the xenstore tools, and the monitors of running domains listen on UNIX sockets.
All of them see the one world that the other commands see, too.
"""

import os
import signal
import subprocess
import sys

import click

from xensnap.cli.command import Verb
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_place import place_of
from xensnap.errors import NotFound
from xensnap.testing.doors import doors


@click.command(
    "run",
    cls=Verb,
    short_help="Run a program that works with xl, QEMU or qemu-img on it.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [WORDS]...")
@verb
@changing
def run(session: Session, words: tuple[str, ...]) -> None:
    """Run a program to which the simulated host is the machine: xl, qemu-img, xenstore-*, and monitors on sockets.

    Its exit code is ours. The sockets are in the directory $XENSNAP_QMP_DIR, the logs of xl and QEMU in
    $XENSNAP_LOG_DIR. `xensnap --host xen` works there, too, through those very programs and sockets.
    """
    sys.exit(_ran(session, list(words)))


@click.command("shell", cls=Verb, short_help="Open a shell on it.")
@verb
@changing
def shell(session: Session) -> None:
    """Open a shell on the simulated host; see `sim run`."""
    sys.exit(_ran(session, [os.environ.get("SHELL", "/bin/sh")]))


def _ran(session: Session, words: list[str]) -> int:
    choice, place = place_of(session)
    if not place.exists:
        cause = f"there is no simulated host in {choice.directory}"
        raise NotFound(cause, id="no-simulated-host", remedy="Make one: xensnap sim init.")
    with doors(place, f"sim:{choice.directory}") as environment:
        try:
            process = subprocess.Popen(words, env=environment)  # noqa: S603 -- what the user asked for
        except OSError as error:
            raise NotFound(f"cannot run {words[0]}: {error.strerror}", id="no-such-program") from error
        # Ctrl-C is for the program, which may have to bring something to its end on this very host.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return process.wait()
        finally:
            signal.signal(signal.SIGINT, before)
