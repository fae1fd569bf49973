"""What lists, trees and their like print: `list`, `tree`, `current`, `parent`, `info`, `log`."""

import msgspec

from xensnap.cli.documents.parts import DiskDocument, DomainDocument, SnapshotDocument
from xensnap.model import Consistency, Format, RunState


class ListDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-list/1"):
    """`list DOMAIN`: its snapshots, oldest first. `pending` tells of an interrupted operation that awaits `recover`.

    `formerly`, where it has none, are the UUIDs under which there are snapshots of a domain of this name.
    """

    host: str
    domain: DomainDocument
    current: str | None
    pending: str | None
    snapshots: tuple[SnapshotDocument, ...]
    damaged: tuple[str, ...]
    formerly: tuple[str, ...] = ()


class DomainsEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One domain in the list of all; `halted` is why it stands still, where nobody has paused it."""

    uuid: str
    name: str
    state: RunState
    disks: tuple[str, ...]
    snapshots: int
    current: str | None
    pending: str | None
    halted: str = ""


class DomainsDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-domains/1"):
    """`list` without a domain: all domains of the host."""

    host: str
    domains: tuple[DomainsEntry, ...]


class TreeNode(msgspec.Struct, frozen=True):
    """A snapshot at its place. `depth` is 0 for those that come from none; `children` are names."""

    name: str
    depth: int
    parent: str | None
    children: tuple[str, ...]
    creation_time_s: int
    consistency: Consistency
    current: bool


class TreeDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-tree/1"):
    """`tree`: the snapshots in the order of the drawing, each after its parent. Flat, since a tree can be deep."""

    host: str
    domain: DomainDocument
    current: str | None
    pending: str | None
    snapshots: tuple[TreeNode, ...]


class CurrentDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-current/1"):
    """`current`: the snapshot that the domain's disks come from, or null."""

    host: str
    domain: DomainDocument
    current: str | None
    pending: str | None


class ParentDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-parent/1"):
    """`parent`: the snapshot that `snapshot` comes from, or null; `snapshot` is null where none was meant."""

    host: str
    domain: DomainDocument
    snapshot: str | None
    parent: str | None


class CheckedDisk(msgspec.Struct, frozen=True):
    """A disk in a snapshot and whether its image still is what the record says; `problem` tells what is wrong."""

    disk: DiskDocument
    intact: bool
    problem: str | None


class CheckedSnapshot(msgspec.Struct, frozen=True):
    """A snapshot whose images were looked at."""

    snapshot: SnapshotDocument
    intact: bool
    disks: tuple[CheckedDisk, ...]


class LiveDisk(msgspec.Struct, frozen=True):
    """A disk of the domain as it is now; `chain` is the active layer first, the base last."""

    vdev: str
    path: str
    format: Format
    readonly: bool
    cdrom: bool
    size_bytes: int | None
    chain: tuple[str, ...]
    problem: str | None


class InfoDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-info/1"):
    """`info DOMAIN [NAME]`: the domain, and the one snapshot named or all of them.

    `since_bytes`: by disk, how much is not what it was at the current snapshot; null where one snapshot was named.
    """

    host: str
    domain: DomainDocument
    current: str | None
    pending: str | None
    disks: tuple[LiveDisk, ...]
    hidden_bases: tuple[str, ...]
    damaged: tuple[str, ...]
    snapshots: tuple[CheckedSnapshot, ...]
    since_bytes: dict[str, int] | None = None


class LoggedDocument(msgspec.Struct, frozen=True):
    """One operation: by whom, when (UTC), and how it ended, `done` or `undone`; null while it has not."""

    operation: str
    summary: str
    user: str
    pid: int
    boot_id: str
    began: str
    ended: str | None
    outcome: str | None


class LogDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-log/1"):
    """`log`: what was done to a domain, as far back as the journal goes, the oldest first."""

    host: str
    domain: DomainDocument
    operations: tuple[LoggedDocument, ...]
