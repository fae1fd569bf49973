"""What the store knows of one domain as a whole: `domain.libxl-json`, replaced atomically.

Its `operation` is the id of the last operation that was decided. Replacing this file is the one point at which an
operation changes from "can be undone" to "will be finished"; recovery only has to compare two ids.
"""

import msgspec

from xensnap.errors import Damaged
from xensnap.model import Format, Layer, Snapshot

SCHEMA = 1


class OurFile(msgspec.Struct, frozen=True, order=True):
    """A file that we made. Only what stands here may ever be unlinked, and only if it is still that very file.

    An inode number is given to another file as soon as it is free; the `generation` tells the two apart, where the
    file system has any (0 where it has none, and in ledgers of old).
    """

    path: str
    role: str
    inode: int = 0
    generation: int = 0


class HiddenBase(msgspec.Struct, frozen=True, order=True):
    """An image that was frozen for a snapshot which is gone, and that others still stand on."""

    vdev: str
    path: str
    format: Format

    @property
    def layer(self) -> Layer:
        """The image."""
        return Layer(self.path, self.format)


class Parked(msgspec.Struct, frozen=True, order=True):
    """An image that was brought elsewhere: its old file, under another name, since an epoch second."""

    path: str
    inode: int
    since_s: int
    bytes: int
    format: Format = Format.RAW
    generation: int = 0

    @property
    def layer(self) -> Layer:
        """The image."""
        return Layer(self.path, self.format)


class DomainState(msgspec.Struct, frozen=True):
    """Current snapshot, last decided operation, ledger of our files, hidden bases."""

    domain_uuid: str
    domain_name: str
    schema: int = SCHEMA
    current: str | None = None
    operation: str = ""
    ours: tuple[OurFile, ...] = ()
    hidden: tuple[HiddenBase, ...] = ()
    let_go: tuple[Snapshot, ...] = ()
    """What the records said that were taken away on purpose."""
    parked: tuple[Parked, ...] = ()
    """Old files of images that were brought elsewhere, until the trash is emptied."""

    def made(self, path: str) -> OurFile | None:
        """The ledger's entry for a path."""
        return next((entry for entry in self.ours if entry.path == path), None)


_DECODER = msgspec.json.Decoder(DomainState)


def encode(state: DomainState) -> bytes:
    """The file's text."""
    return msgspec.json.format(msgspec.json.encode(state), indent=4) + b"\n"


def decode(text: bytes, *, path: str) -> DomainState:
    """Read it. `Damaged` names the JSON path of what is wrong."""
    try:
        state = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"{path}: {error}", path=path, remedy="It can be rebuilt from the records beside it.") from error
    if state.schema != SCHEMA:
        raise Damaged(f"{path}: schema {state.schema} - at `$.schema`; this version reads {SCHEMA}", path=path)
    return state
