"""The doors of a simulated host that is kept in a directory: where programs find it that know nothing of a simulation.

On their PATH stand `xl`, `qemu-img` and the xenstore tools, the monitors of running domains listen on UNIX sockets, and
what xl's daemons and QEMU write is in files.
`xensnap sim run` opens them for a command, the fixture `doors` for a test.
"""

import os
import subprocess
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
    doorway = hosts.import_simulator("simulator.serve.doorway").Doorway(lambda: hosts.KeptWorld(place))
    with closing(doorway):
        path = os.pathsep.join([str(doorway.tools), os.environ.get("PATH", os.defpath)])
        places = {hosts.SOCKETS: str(doorway.sockets), hosts.LOGS: str(doorway.logs), hosts.SIMULATED: place.directory}
        yield {**os.environ, "PATH": path, hosts.VARIABLE: spec, **places}


class Doors:
    """A simulated host for a test of a program: set it up as `SimulatedHost`, then run programs on it.

    Attributes:
        environment: for a program that shall see the host. `XENSNAP_QMP_DIR` names the directory of the sockets,
            `XENSNAP_LOG_DIR` that of the logs of xl and QEMU.
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
