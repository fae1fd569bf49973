"""What several documents are made of: reasons, domains, disks, snapshots, and how an operation went."""

from typing import Literal

import msgspec

from xensnap.formats.snapshot_record import KindWord
from xensnap.model import Consistency, Format, Kind, RunState


class ReasonDocument(msgspec.Struct, frozen=True):
    """One reason of a refusal."""

    id: str
    cause: str
    remedy: str


class ErrorDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-error/1"):
    """What any verb prints instead of its own document when it fails. `effect` is none, done or unknown."""

    id: str
    cause: str
    remedy: str
    reasons: tuple[ReasonDocument, ...]
    effect: Literal["none", "done", "unknown"]
    exit_code: int
    host: str


class DomainDocument(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which domain a document is about; `halted` is why it stands still, where nobody has paused it."""

    uuid: str
    name: str
    state: RunState
    halted: str = ""


class DiskDocument(msgspec.Struct, frozen=True):
    """One disk in a snapshot: `image` holds its content of then, and with an external one it went on in `overlay`."""

    vdev: str
    kind: Kind
    image: str
    format: Format
    size_bytes: int
    tag: str | None = None
    overlay: str | None = None


class ExcludedDocument(msgspec.Struct, frozen=True):
    """A disk that a snapshot does not cover, and why."""

    vdev: str
    reason: str


class PinnedDocument(msgspec.Struct, frozen=True):
    """Who needs a snapshot, and until when: UTC, or null for as long as it takes."""

    owner: str
    until: str | None
    why: str


class SnapshotDocument(msgspec.Struct, frozen=True):
    """One snapshot. `kind` is `mixed` where its disks have both kinds; `created` is UTC.

    `memory` is the file of a checkpoint's memory; `live`: the guest ran while it was copied.
    """

    name: str
    created: str
    creation_time_s: int
    kind: KindWord
    consistency: Consistency
    state: RunState
    parent: str | None
    current: bool
    description: str
    memory: str | None
    live: bool
    disks: tuple[DiskDocument, ...]
    excluded: tuple[ExcludedDocument, ...]
    pin: PinnedDocument | None = None


class RecoveredDocument(msgspec.Struct, frozen=True):
    """An interrupted operation, how it ended, and why like that."""

    domain: str
    summary: str
    outcome: Literal["done", "undone"]
    why: str


class EventDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-event/1"):
    """One line of `--events`: a `step` begins, or the step under way makes `progress`. Numbers count from 1."""

    event: Literal["step", "progress"]
    number: int
    total: int
    text: str
    done_bytes: int | None
    total_bytes: int | None
    bytes_per_s: int | None
