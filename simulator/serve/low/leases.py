"""Leases on files of a simulated host: the kernel grants them where nobody else has the file open."""

import fcntl

from simulator.ports.files import failure
from simulator.ports.machine import openers
from simulator.ports.seat import Seat
from xensnap.errors import NotFound


class SimulatedLeases:
    """What the gate before every use of an image asks; see `xensnap.backends.local.gate`."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat

    def __call__(self, path: str, kind: int) -> bool | None:
        """Whether a lease is granted; a read lease is where nobody else has the file open for writing."""
        fs = self._seat.world.fs
        if fs.find(path) is None:
            raise NotFound(f"{path}: no such image", id="image-not-found")
        try:
            fs.inode(path)
        except OSError as error:
            raise failure(error, "open", path) from None
        others = openers(self._seat.world, path, but=self._seat.pid)
        return not any(other.writing or kind == fcntl.F_WRLCK for other in others)
