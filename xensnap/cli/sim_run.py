"""`sim run`, `sim shell`: programs that know nothing of a simulation, on a simulated host.

On their PATH stand `xl`, `qemu-img` and the xenstore tools, and the monitors of running domains listen on UNIX sockets.
All of them see the one world that the other commands see, too.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from xensnap import hosts
from xensnap.cli.session import Session, changing, verb
from xensnap.cli.sim_place import place_of
from xensnap.errors import NotFound

SOCKETS = "XENSNAP_QMP_DIR"
"""The variable that tells programs where the monitors' sockets are."""
WAIT_S = 30.0

_SHIM = """#!{python}
import sys
from xensnap.cli.sim_tool import main
sys.exit(main({name!r}, sys.argv[1:]))
"""


class KeptWorld:
    """The world of a directory, read again when somebody else has changed it."""

    def __init__(self, place: hosts.SimulatedPlace) -> None:
        self._place = place
        self._seen: tuple[int, int] | None = None
        self._world: Any = None

    def changed(self) -> bool:
        """Whether somebody else may have changed the world since the last time."""
        return self._stamp() != self._seen

    @contextmanager
    def changing(self) -> Iterator[Any]:
        """The world, for us alone until this is left; what is in the cell then is the world."""
        cell_of = hosts.import_simulator("simulator.ports.seat").Cell
        with self._place.locked(wait_s=WAIT_S):
            if self.changed():
                self._world = self._place.read()
            cell = cell_of(self._world)
            try:
                yield cell
            finally:
                if cell.world is not self._world:
                    self._place.write(cell.world)
                    self._world = cell.world
                self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int]:
        stat = self._place.path.stat()
        return stat.st_ino, stat.st_mtime_ns


@contextmanager
def doors(place: hosts.SimulatedPlace, spec: str) -> Iterator[Mapping[str, str]]:
    """The environment in which programs see the simulated host, for as long as this is open."""
    programs = hosts.import_simulator("simulator.serve.programs")
    with tempfile.TemporaryDirectory(prefix="xensnap-sim-") as scratch:
        tools, sockets = Path(scratch) / "bin", Path(scratch) / "qmp"
        tools.mkdir()
        sockets.mkdir(mode=0o700)
        for name in programs.NAMES:
            shim = tools / name
            shim.write_text(_SHIM.format(python=sys.executable, name=name), encoding="utf-8")
            shim.chmod(0o755)
        path = os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)])
        with _monitors(place, sockets):
            yield {**os.environ, "PATH": path, hosts.VARIABLE: spec, SOCKETS: str(sockets)}


@contextmanager
def _monitors(place: hosts.SimulatedPlace, sockets: Path) -> Iterator[None]:
    """The monitors, served by a thread."""
    served = hosts.import_simulator("simulator.serve.sockets").SocketServer(KeptWorld(place), sockets)
    served.attend()
    over = threading.Event()
    thread = threading.Thread(target=served.run, args=(over.is_set,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND [WORDS]...")
@verb
@changing
def run(session: Session, words: tuple[str, ...]) -> None:
    """Run a program to which the simulated host is the machine: xl, qemu-img, xenstore-*, and monitors on sockets.

    Its exit code is ours. The sockets are in the directory $XENSNAP_QMP_DIR.
    """
    sys.exit(_ran(session, list(words)))


@click.command("shell")
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
            return subprocess.run(words, env=environment, check=False).returncode  # noqa: S603 -- what the user asked for
        except OSError as error:
            raise NotFound(f"cannot run {words[0]}: {error.strerror}", id="no-such-program") from error
