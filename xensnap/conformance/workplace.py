"""What must be brought to have a host tried: its ports, domains of our own on it, guests that write, and eyes.

A host alone cannot be tried: somebody has to write to disks as a guest would and say what they show. That is a
`Workplace`. It makes what it needs below a name or directory of its own and takes it away again, so that trying a host
that people work on harms nobody; `inventory` is how that is proved.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, cast

import msgspec

from xensnap.hypervisor import Hypervisor
from xensnap.model import Disk, Format

BLOCK_BYTES = 4096
"""What cases count in: writes are whole blocks of this size."""

DISK_BLOCKS = 256
"""The usual size of a disk: 1 MiB."""

Content = tuple[int, ...]
"""What a disk shows: for each block the number of the write that it is from, 0 for zeros."""


class Missing(Exception):
    """Something that a case needs is not to be had here: a guest to start, a package, a right. The case is not run."""


class Wish(msgspec.Struct, frozen=True):
    """A disk that a case wants. One with `empty` is a drive without a medium."""

    vdev: str
    format: Format = Format.QCOW2
    blocks: int = DISK_BLOCKS
    readonly: bool = False
    cdrom: bool = False
    empty: bool = False


class Program(msgspec.Struct, frozen=True):
    """How a program is called: its first words, and its whole environment."""

    words: tuple[str, ...]
    environment: Mapping[str, str]


class Workplace(Protocol):
    """A host made ready to be tried. Every domain, file and process on it that a case meets was made through this."""

    host: Hypervisor

    def versions(self) -> Mapping[str, str]:
        """What the host is made of, by name: tools and their versions."""

    def add_domain(self, name: str, disks: Sequence[Wish], *, guest: bool = False) -> None:
        """Define a domain that is off. With `guest` it can be started, and tells of itself."""

    def write(self, name: str, vdev: str, block: int, blocks: int, number: int) -> None:
        """Write to a disk of a domain that is off, as its guest would, so that these blocks show `number`."""

    def shows(self, disk: Disk) -> Content:
        """What a disk of a domain that is off shows."""

    def counter(self, name: str) -> int:
        """A number that a running guest keeps in memory and makes larger all the time; a late one will do."""

    def first_counter(self, name: str) -> int:
        """The first such number that is known since the guest was last brought up."""

    def sound(self, name: str) -> str:
        """Let the running guest compare its memory with its disks; empty where they agree, else how they do not."""

    def inventory(self) -> frozenset[str]:
        """Names of all that is on the host, ours or not: domains, files where ours are, tags of no image of ours."""

    def close(self) -> None:
        """Take away all that was made."""


class Objects(Protocol):
    """A workplace that tells beforehand what it is going to make."""

    def objects(self, name: str, disks: Sequence[Wish]) -> Sequence[str]:
        """The path of everything that a domain of this name with these disks has on the host; `*` stands for a word."""


class Commands(Protocol):
    """A workplace on which xensnap can be run as its operator does. Without it the cases about that are not run."""

    def command(self) -> AbstractContextManager[Program]:
        """How xensnap is called there, for as long as this is open. Meanwhile nothing else is done to the host."""


class Room(Protocol):
    """A workplace whose file system can run full. Without it the cases about that are not run."""

    def small(self) -> AbstractContextManager[None]:
        """Everything that is made meanwhile lies on a file system that is this workplace's alone."""

    def leaving(self, free_bytes: int) -> AbstractContextManager[None]:
        """Only so much room is left on that file system meanwhile."""


class Monitors(Protocol):
    """A workplace that knows where QEMU listens. Without it the cases about strangers there are not run."""

    def monitor(self, name: str) -> str:
        """The UNIX socket of the monitor through which xensnap works on a running domain."""


class Drives(Protocol):
    """A workplace whose operator changes a domain that is off. Without it the cases about that are not run."""

    def attach(self, name: str, wish: Wish) -> None:
        """One disk more, as its operator would give it to a domain."""

    def detach(self, name: str, vdev: str) -> None:
        """One disk less; its image stays where it is."""


class Strangers(Protocol):
    """A workplace on whose images others work, too. Without it the cases about that are not run."""

    def qemu_img(self, *words: str) -> None:
        """Somebody else's qemu-img, which has to succeed."""


def commands_of(place: Workplace) -> Commands:
    """The workplace, as one that has commands. `Missing`: it has none."""
    return cast("Commands", _with(place, "command"))


def room_of(place: Workplace) -> Room:
    """The workplace, as one whose file system can run full. `Missing`: it cannot."""
    return cast("Room", _with(place, "small", "leaving"))


def monitors_of(place: Workplace) -> Monitors:
    """The workplace, as one that knows where QEMU listens. `Missing`: it does not."""
    return cast("Monitors", _with(place, "monitor"))


def drives_of(place: Workplace) -> Drives:
    """The workplace, as one whose operator changes domains. `Missing`: it has none."""
    return cast("Drives", _with(place, "attach", "detach"))


def strangers_of(place: Workplace) -> Strangers:
    """The workplace, as one on whose images others work. `Missing`: nobody does."""
    return cast("Strangers", _with(place, "qemu_img"))


def _with(place: Workplace, *methods: str) -> object:
    if lacks := [name for name in methods if not hasattr(place, name)]:
        raise Missing(f"the workplace has no {lacks[0]}()")
    return place
