"""The plain host made ready for the conformance cases: `xensnap conformance run --host trying:make_place`."""

import shutil
import tempfile
import uuid
from pathlib import Path

from plain_files import PlainHost

from xensnap.conformance.workplace import BLOCK_BYTES
from xensnap.model import Disk


class PlainPlace:
    """A `xensnap.conformance.Workplace`: makes domains, writes as their guest would, and says what disks show."""

    def __init__(self, seed: int) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="plain-"))
        self.host = PlainHost(self.directory)

    def versions(self):
        """What the host is made of."""
        return {"plain files": "1"}

    def add_domain(self, name, disks, *, guest=False):
        """Zeros everywhere."""
        made = []
        for wish in disks:
            path = "" if wish.empty else str(self.directory / f"{name}-{wish.vdev}.img")
            if path:
                Path(path).write_bytes(bytes(wish.blocks * BLOCK_BYTES))
            made.append(Disk(wish.vdev, path, wish.format, readonly=wish.readonly, cdrom=wish.cdrom or wish.empty))
        self.host.toolstack.define(name, str(uuid.uuid4()), made)

    def write(self, name, vdev, block, blocks, number):
        """Each block is filled with the number of the write."""
        disk = self.host.run(self.host.toolstack.inspect(name)).disk(vdev)
        with open(disk.path, "r+b") as file:
            file.seek(block * BLOCK_BYTES)
            file.write(number.to_bytes(8, "little") * (blocks * BLOCK_BYTES // 8))

    def shows(self, disk):
        """The number in each block."""
        data = Path(disk.path).read_bytes()
        return tuple(int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), BLOCK_BYTES))

    def counter(self, name):
        """No guest runs here."""
        raise NotImplementedError

    first_counter = sound = counter

    def inventory(self):
        """The directory is ours alone, so nothing in it is anybody's."""
        return frozenset()

    def close(self):
        """Take everything away."""
        shutil.rmtree(self.directory)


def make_place(seed: int) -> PlainPlace:
    """What `--host trying:make_place` calls."""
    return PlainPlace(seed)
