"""The doors of a simulated host that is kept in a directory: where programs find it that know nothing of a simulation.

On their PATH stand `xl`, `qemu-img` and the xenstore tools, and the monitors of running domains listen on UNIX sockets.
`xensnap sim run` opens them for a command, the fixture `doors` for a test.
"""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xensnap import hosts

if TYPE_CHECKING:
    from simulator import SimulatedHost

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


class Doors:
    """A simulated host for a test of a program: set it up as `SimulatedHost`, then run programs on it.

    Attributes:
        environment: for a program that shall see the host. `XENSNAP_QMP_DIR` names the directory of the sockets.
    """

    def __init__(self, place: hosts.SimulatedPlace, environment: Mapping[str, str]) -> None:
        self._place = place
        self.environment = environment

    @contextmanager
    def host(self) -> "Iterator[SimulatedHost]":
        """The host itself, to set it up or to look at it; what programs do waits until this is left."""
        with KeptWorld(self._place).changing() as cell:
            host: SimulatedHost = hosts.import_simulator().SimulatedHost(cell.world)
            yield host
            cell.world = host.world.ended(host.pid)

    def run(self, *argv: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end; it is found on the PATH of the host."""
        words = [str(word) for word in argv]
        environment = dict(self.environment)
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)  # noqa: S603


@contextmanager
def opened(directory: Path, seed: int) -> Iterator[Doors]:
    """A new host in a directory, with its doors open until this is left."""
    place = hosts.SimulatedPlace(str(directory))
    directory.mkdir(parents=True)
    with place.locked(wait_s=WAIT_S):
        place.write(hosts.import_simulator().World.fresh(seed))
    with doors(place, f"sim:{directory}") as environment:
        yield Doors(place, environment)
