"""Door three: executables of a world in a directory for a PATH, its monitors on sockets and its logs in two more."""

import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from simulator.serve import programs
from simulator.serve.logs import Logs
from simulator.serve.sockets import SocketServer, Worlds
from simulator.serve.tool_server import Runs, ToolServer, at_once
from simulator.world import World


class Doorway:
    """Open from when it is made until it is closed; what comes through is served by threads of this process.

    Args:
        worlds: called for each of those who serve: where the world is kept.
        names: the programs there are executables of.
        runs: how each is run.
        unattended: whether time passes while nobody is connected to a monitor, as in `SocketServer`.

    Attributes:
        tools: the directory of the executables.
        sockets: that of the monitors.
        logs: that of what daemons and QEMUs write.
        refused: what somebody has asked for that is not modelled, or that met an error of the simulator's own, in the
            words that he or the standard error was told.
    """

    def __init__(
        self,
        worlds: Callable[[], Worlds],
        *,
        names: Sequence[str] = programs.NAMES,
        runs: Runs = at_once,
        unattended: bool = True,
    ) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="xensnap-sim-")
        place = Path(self._scratch.name)
        self.tools, self.sockets, self.logs = place / "bin", place / "qmp", place / "log"
        self.tools.mkdir()
        self.sockets.mkdir(mode=0o700)
        self.logs.mkdir(mode=0o700)
        self.refused: list[str] = []
        self._files = Logs(self.logs)
        self._monitors = SocketServer(
            worlds(), self.sockets, self._complained, attending=self._files.attend, unattended=unattended
        )
        self._monitors.attend()
        self._server = ToolServer(
            worlds(), place / "tools", runs=runs, after=self._served, refusing=self.refused.append
        )
        self._server.install(self.tools, names)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._monitors.run, args=(self._over.is_set,), daemon=True)
        self._thread.start()

    def _complained(self, words: str) -> None:
        """Nobody but us can tell why a client was hung up on."""
        self.refused.append(words)
        print(words, file=sys.stderr)  # noqa: T201 -- a server's log

    def _served(self, world: World) -> None:
        """Return when sockets and logs are those of this world."""
        self._monitors.serving(world)
        if not self._files.tells(world):
            self._monitors.look()

    def look(self) -> None:
        """Return when whoever serves has seen the world as it is now."""
        self._monitors.look()

    def settle(self) -> None:
        """Return when all that clients have done to monitors is in the world, those who have hung up included."""
        self._monitors.settle()

    def close(self) -> None:
        """Hang up, let the call under way end, and leave nothing behind."""
        self._server.close()
        self._over.set()
        self._monitors.wake()
        self._thread.join()
        self._scratch.cleanup()
