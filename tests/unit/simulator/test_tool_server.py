"""Executables of a simulated host, of which one may never end."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from simulator import SimulatedHost
from simulator.ports.seat import Cell
from simulator.serve.tool_server import ToolServer

LONGER_THAN_A_LIST_S = 3
LIMIT_S = 120


class Held:
    """A world that only these executables see."""

    def __init__(self, host: SimulatedHost) -> None:
        self.host = host

    @contextmanager
    def changing(self) -> Iterator[Cell]:
        yield self.host.cell

    def changed(self) -> bool:
        return True


def test_an_xl_that_never_ends_keeps_nobody_else_waiting(tmp_path: Path):
    host = SimulatedHost.fresh()
    server = ToolServer(Held(host), tmp_path / "tools")
    try:
        server.install(tmp_path, ("xl", "xenstore-ls"))
        listing = [str(tmp_path / "xl"), "list"]
        host.xl_finds(xenstored=False)
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(listing, check=False, timeout=LONGER_THAN_A_LIST_S)
        assert subprocess.run([str(tmp_path / "xenstore-ls")], check=False, timeout=LIMIT_S).returncode == 0
        host.xl_finds()
        told = subprocess.run(listing, capture_output=True, text=True, check=True, timeout=LIMIT_S)
        assert "Domain-0" in told.stdout
    finally:
        server.close()
