"""What a caller asks for, as values; and the two facts of the moment that a pure planner cannot make up itself."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from xensnap.engine.retention import Retention
from xensnap.hypervisor import Then
from xensnap.model import Kind, RunState


class Fresh(msgspec.Struct, frozen=True):
    """A new operation: its id, which nobody has used before, and the wall clock when it was asked for."""

    operation: str
    now_s: int


class Quiesce(StrEnum):
    """Whether a guest makes its file systems quiet for a snapshot of its disks."""

    NEVER = "never"
    TRY = "try"
    REQUIRE = "require"


class DiskChoice(msgspec.Struct, frozen=True):
    """What to do with one disk. `kind` None leaves the choice to us; `path` is for an overlay only."""

    kind: Kind | None = None
    path: str = ""
    skip: bool = False


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What everything has that can be asked for: ids of the risks that are taken for it, each of which it must have."""

    accept: tuple[str, ...] = ()


class CreateRequest(Asked, frozen=True):
    """Take a snapshot.

    `kind` None is `auto`: what the chain has already, else internal where the image can hold it, else external.
    Leaving out a writable disk needs `disk_only`, because memory on top of a newer disk destroys its file system.
    A domain that runs gives its memory, too, unless `disk_only`; `live` lets it run while its memory is copied.
    With `max_downtime_s` such a save fails where the guest would have to stand still for longer at its end.
    `then` is what it does afterwards. `memory` is where the memory goes: a file that does not exist yet, a directory
    for a file named after the snapshot, or, empty, a file beside the record. With `needs_memory` a domain that has
    none, because it is off, is refused. With `replace` a snapshot of the same name goes once the new one is durable;
    with `reuse_external` the overlays that are named exist already, and are empty. `quiesce` lets a guest that runs
    freeze its file systems, which has to be done within `quiesce_timeout_s` seconds, while the points of its disks are
    taken; memory needs no such thing.
    """

    name: str | None = None
    description: str = ""
    kind: Kind | None = None
    disks: Mapping[str, DiskChoice] = {}
    disk_only: bool = False
    external_dir: str = ""
    live: bool = False
    max_downtime_s: float | None = None
    then: Then = Then.SAME
    memory: str = ""
    needs_memory: bool = False
    replace: bool = False
    reuse_external: bool = False
    quiesce: Quiesce = Quiesce.NEVER
    quiesce_timeout_s: float = 10.0


class RevertRequest(Asked, frozen=True):
    """Make the domain what it was at a snapshot; `then` SAME is running, paused or off as it was at that moment.

    With `disks_only` the memory stays where it is, and a guest that is to run starts anew; `only` some disks implies
    that. What is given up goes into the trash, so that it can be had back, unless `no_undo`; `save_current` is the name
    of a snapshot to be taken of it first instead. `trashed`: the snapshot is in the trash, and comes back from there.

    The configuration is that of the snapshot if its memory comes back, else it stays what it is. With `keep_config` it
    stays in any case, and with `use_config`, the text of `config_file`, it is replaced by that one; with memory only
    what a guest cannot see of its machine may differ.
    """

    name: str
    then: Then = Then.SAME
    disks_only: bool = False
    only: tuple[str, ...] = ()
    save_current: str = ""
    keep_config: bool = False
    use_config: str = ""
    config_file: str = ""
    no_undo: bool = False
    trashed: bool = False


class DeleteRequest(Asked, frozen=True):
    """Delete a snapshot; with `children` all below it, too; with `children_only` those and not the snapshot itself.

    Instead of a name: `every` one there is, or those older than `older_than_s` seconds, the newest `keep_last` never.
    These two pass over snapshots that are pinned; all others are refused for a pin. With `metadata_only` the records
    alone go, and tags, images and memory stay where they are, protected by nobody.
    """

    name: str = ""
    children: bool = False
    children_only: bool = False
    every: bool = False
    older_than_s: int | None = None
    keep_last: int | None = None
    metadata_only: bool = False


class PruneRequest(Asked, frozen=True):
    """Delete all snapshots that a retention policy does not keep."""

    keep: Retention


class RenameRequest(Asked, frozen=True):
    """Call a snapshot something else. Tags in images stay what they are, and the record remembers them."""

    name: str
    new_name: str


class EditRequest(Asked, frozen=True):
    """Describe a snapshot anew."""

    name: str
    description: str


class PinRequest(Asked, frozen=True):
    """Protect a snapshot from being deleted, until an epoch second or (0) for ever."""

    name: str
    owner: str
    until_s: int = 0
    why: str = ""


class UnpinRequest(Asked, frozen=True):
    """Let a snapshot be deleted again. With an `owner`, only if it is pinned by that one."""

    name: str
    owner: str = ""


class ForgetRequest(Asked, frozen=True):
    """Throw a snapshot away so that it can be had back: its record goes into the trash, all that it holds stays."""

    name: str


class RestoreRequest(Asked, frozen=True):
    """Have a snapshot back from the trash."""

    name: str


class EmptyRequest(Asked, frozen=True):
    """Delete snapshots that are in the trash, and, by their paths, old files of images that were brought elsewhere."""

    names: tuple[str, ...]


class RelocateRequest(Asked, frozen=True):
    """Bring the images of one disk to another directory, an absolute path."""

    vdev: str
    to: str


class AdoptRequest(Asked, frozen=True):
    """Take a snapshot in that no record tells of, by the tag it has in the domain's images.

    The name of a snapshot that has a record takes its images as they are now, which needs the risk `image-changed`.
    """

    name: str


class ToldDisk(msgspec.Struct, frozen=True):
    """What somebody says of one disk of a snapshot: the tag in its image, or the overlay that it went on in.

    `disk` is the disk's name or the path of its image.
    """

    disk: str
    kind: Kind
    tag: str = ""
    overlay: str = ""


class Told(msgspec.Struct, frozen=True):
    """What somebody says of a snapshot that exists in the images. `created_s` None is now; `active`: it is current."""

    name: str
    disks: tuple[ToldDisk, ...]
    description: str = ""
    created_s: int | None = None
    state: RunState = RunState.OFF
    parent: str | None = None
    memory: str = ""
    active: bool = False


class RedefineRequest(Asked, frozen=True):
    """Record snapshots that exist in the images already, in any order; nothing of them is believed unseen."""

    told: tuple[Told, ...]


class ExportRequest(Asked, frozen=True):
    """Write a snapshot into an archive, a file that does not exist yet. `path` is absolute, on the host."""

    name: str
    path: str


class GraftRequest(Asked, frozen=True):
    """Give the domain the snapshot of an archive. `path` and `directory`, for its disks, are absolute, on the host.

    Without `snapshot` it is called as the archive says.
    """

    path: str
    directory: str
    snapshot: str = ""


Request = (
    CreateRequest
    | RevertRequest
    | DeleteRequest
    | PruneRequest
    | RenameRequest
    | EditRequest
    | PinRequest
    | UnpinRequest
    | ForgetRequest
    | RestoreRequest
    | EmptyRequest
    | RelocateRequest
    | AdoptRequest
    | RedefineRequest
    | ExportRequest
    | GraftRequest
)
"""All that can be asked of a domain that is there."""


class CloneRequest(Asked, frozen=True):
    """Make a new domain of a snapshot: other UUID, other network addresses, disks as they were then, no memory.

    `domain` is the one whose snapshot it is. `linked` disks are overlays on its frozen images; else they are copies.
    `directory` is where the new disks go; empty for beside the old ones.
    """

    domain: str
    name: str
    new_name: str
    linked: bool = False
    directory: str = ""


class ImportRequest(Asked, frozen=True):
    """Make a domain with one snapshot of an archive. `path` and `directory`, for its disks, are absolute, on the host.

    Empty is as the archive says: `new_name` for the domain, `snapshot` for the snapshot, `configuration`, the text of
    `config_file`, for what describes the domain. With `new_uuid` it gets a UUID and network addresses of its own.
    """

    path: str
    directory: str
    new_name: str = ""
    snapshot: str = ""
    configuration: str = ""
    config_file: str = ""
    new_uuid: bool = False


Birth = CloneRequest | ImportRequest
"""What makes a domain that was not there."""
