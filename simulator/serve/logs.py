"""Door three for logs: what daemons and QEMUs of a world have written into /var/log/xen, as files of a directory."""

from contextlib import suppress
from pathlib import Path

from immutables import Map

from simulator.serve.low import kept
from simulator.world import World


class Logs:
    """Files that are what the logs of a world were when it was last attended to.

    Args:
        directory: where they are; nobody else writes there.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._written: Map[str, str] = Map()

    def tells(self, world: World) -> bool:
        """Whether the files are as in this world."""
        return self._written == world.xen.logs

    def attend(self, world: World) -> None:
        """Have the files as in this world."""
        logs = world.xen.logs
        if self._written is logs:
            return
        for name in self._written:
            if name not in logs:
                (self._directory / name).unlink(missing_ok=True)
        for name, text in logs.items():
            if self._written.get(name) != text:
                with suppress(OSError):  # a domain may be called as no file can be
                    (self._directory / name).write_bytes(kept.read(world, f"{kept.LOGS}/{name}") or b"")
        self._written = logs
