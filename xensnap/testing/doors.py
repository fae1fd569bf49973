"""The doors of a simulated host that is kept in a directory: where programs find it that know nothing of a simulation.

On their PATH stand `xl`, `qemu-img` and the xenstore tools, and the monitors of running domains listen on UNIX sockets.
`xensnap sim run` opens them for a command, the fixture `doors` for a test.
"""

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xensnap import hosts

if TYPE_CHECKING:
    from simulator import SimulatedHost


@contextmanager
def doors(place: hosts.SimulatedPlace, spec: str) -> Iterator[Mapping[str, str]]:
    """The environment in which programs see the simulated host, for as long as this is open."""
    programs = hosts.import_simulator("simulator.serve.programs")
    server = hosts.import_simulator("simulator.serve.tool_server")
    with tempfile.TemporaryDirectory(prefix="xensnap-sim-") as scratch:
        tools, sockets = Path(scratch) / "bin", Path(scratch) / "qmp"
        tools.mkdir()
        sockets.mkdir(mode=0o700)
        served = server.ToolServer(hosts.KeptWorld(place), Path(scratch) / "tools")
        served.install(tools, programs.NAMES)
        path = os.pathsep.join([str(tools), os.environ.get("PATH", os.defpath)])
        with closing(served), _monitors(place, sockets):
            places = {hosts.SOCKETS: str(sockets), hosts.SIMULATED: place.directory}
            yield {**os.environ, "PATH": path, hosts.VARIABLE: spec, **places}


@contextmanager
def _monitors(place: hosts.SimulatedPlace, sockets: Path) -> Iterator[None]:
    """The monitors, served by a thread."""
    served = hosts.import_simulator("simulator.serve.sockets").SocketServer(hosts.KeptWorld(place), sockets)
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
        with hosts.KeptWorld(self._place).changing() as cell:
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
    with place.locked(wait_s=hosts.WORLD_WAIT_S):
        place.write(hosts.import_simulator().World.fresh(seed))
    with doors(place, f"sim:{directory}") as environment:
        yield Doors(place, environment)
