"""What a caller asks for, as values; and the two facts of the moment that a pure planner cannot make up itself."""

from collections.abc import Mapping

import msgspec

from xensnap.hypervisor import Then
from xensnap.model import Kind


class Fresh(msgspec.Struct, frozen=True):
    """A new operation: its id, which nobody has used before, and the wall clock when it was asked for."""

    operation: str
    now_s: int


class DiskChoice(msgspec.Struct, frozen=True):
    """What to do with one disk. `kind` None leaves the choice to us; `path` is for an overlay only."""

    kind: Kind | None = None
    path: str = ""
    skip: bool = False


class CreateRequest(msgspec.Struct, frozen=True):
    """Take a snapshot.

    `kind` None is `auto`: what the chain has already, else internal where the image can hold it, else external.
    Leaving out a writable disk needs `disk_only`, because memory on top of a newer disk destroys its file system.
    A domain that runs gives its memory, too, unless `disk_only`; `live` lets it run while its memory is copied.
    `then` is what it does afterwards.
    """

    name: str | None = None
    description: str = ""
    kind: Kind | None = None
    disks: Mapping[str, DiskChoice] = {}
    disk_only: bool = False
    external_dir: str = ""
    live: bool = False
    then: Then = Then.SAME


class RevertRequest(msgspec.Struct, frozen=True):
    """Make the domain what it was at a snapshot; `then` SAME is running, paused or off as it was at that moment."""

    name: str
    then: Then = Then.SAME


class DeleteRequest(msgspec.Struct, frozen=True):
    """Delete a snapshot; with `children` all below it, too; with `children_only` those and not the snapshot itself."""

    name: str
    children: bool = False
    children_only: bool = False
