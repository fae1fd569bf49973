"""What verbs print that look closer: `doctor`, `check`, `verify`, `du`, `diff`, `chain`, and what a host can do."""

from typing import Any, Literal

import msgspec

from xensnap.cli.documents.parts import DomainDocument, ReasonDocument
from xensnap.model import Format, Kind


class FindingDocument(msgspec.Struct, frozen=True):
    """Something that does not fit; `repair` tells what `doctor --repair` would do, null where a person must decide."""

    id: str
    severity: Literal["error", "warning", "note"]
    subject: str
    cause: str
    remedy: str
    repair: str | None


class UnexaminedDocument(msgspec.Struct, frozen=True):
    """What could not be looked at, or not be repaired, and why."""

    domain: str
    id: str
    cause: str
    remedy: str


class ExaminedDocument(msgspec.Struct, frozen=True):
    """One domain: what is found, the worst first; with --repair what is left, what was repaired, what could not be."""

    domain: str
    domain_uuid: str
    findings: tuple[FindingDocument, ...]
    repaired: tuple[FindingDocument, ...]
    failed: tuple[UnexaminedDocument, ...]


class DoctorDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-doctor/1"):
    """`doctor`: what does not fit together, of one domain or of all."""

    host: str
    domains: tuple[ExaminedDocument, ...]
    errors: tuple[UnexaminedDocument, ...]


class SpaceDocument(msgspec.Struct, frozen=True):
    """Bytes of storage: held, of that needed by no other state, shared with others, back after a deletion."""

    held_bytes: int
    exclusive_bytes: int
    shared_bytes: int
    reclaimable_bytes: int


class DiskSpace(msgspec.Struct, frozen=True):
    """What a snapshot holds of one disk."""

    vdev: str
    space: SpaceDocument


class SnapshotSpace(msgspec.Struct, frozen=True):
    """What a snapshot holds, its memory included."""

    name: str
    space: SpaceDocument
    memory_bytes: int
    disks: tuple[DiskSpace, ...]


class DuDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-du/1"):
    """`du`. `since_bytes`: by disk, what was written since the current snapshot; `hidden_bytes` wait to be merged."""

    host: str
    domain: DomainDocument
    current: str | None
    since_bytes: dict[str, int]
    hidden_bytes: int
    snapshots: tuple[SnapshotSpace, ...]


class StretchDocument(msgspec.Struct, frozen=True):
    """Where a disk differs."""

    offset_bytes: int
    length_bytes: int


class DiskDifference(msgspec.Struct, frozen=True):
    """One disk of two states: its sizes, null where that state does not have it; `problem` instead of blocks."""

    vdev: str
    before_bytes: int | None
    after_bytes: int | None
    changed_bytes: int | None
    stretches: tuple[StretchDocument, ...]
    problem: str | None


class DiffDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-diff/1"):
    """`diff`: `after` is null for the present; `configuration` is a unified diff, line by line."""

    host: str
    domain: DomainDocument
    before: str
    after: str | None
    disks: tuple[DiskDifference, ...]
    configuration: tuple[str, ...]


class Explained(msgspec.Struct, frozen=True):
    """One error id; `risk` is what is given up where it can be accepted, else null."""

    id: str
    meaning: str
    remedy: str
    risk: str | None


class ExplainDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-explain/1"):
    """`explain`: one error, or all of them. No host is looked at, so `host` is empty."""

    host: str
    errors: tuple[Explained, ...]


class ConfigurationDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-configuration/1"):
    """`config`: the files that were read, the last of which wins, and what is in force. `host` is empty."""

    host: str
    files: tuple[str, ...]
    settings: dict[str, Any]


class ModeDocument(msgspec.Struct, frozen=True):
    """A way to take a snapshot: the options of `create` that ask for it, and all reasons against it."""

    name: str
    options: str
    possible: bool
    reasons: tuple[ReasonDocument, ...]


class DiskFitnessDocument(msgspec.Struct, frozen=True):
    """What can be done with a disk: the reasons against each kind, none where it can; or why it is left out."""

    vdev: str
    left_out: str | None
    usual_kind: Kind | None
    internal: tuple[ReasonDocument, ...]
    external: tuple[ReasonDocument, ...]


class CheckDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-check/1"):
    """`check`: `possible` is whether `create` without options would work."""

    host: str
    domain: DomainDocument
    possible: bool
    modes: tuple[ModeDocument, ...]
    disks: tuple[DiskFitnessDocument, ...]


class CapabilityDocument(msgspec.Struct, frozen=True):
    """Something that a host can do, or cannot."""

    name: str
    there: bool
    meaning: str


class CapabilitiesDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-capabilities/1"):
    """`capabilities`: of the host, whose snapshots are in the directory `root`."""

    host: str
    root: str
    capabilities: tuple[CapabilityDocument, ...]
    hooks: bool
    guest_agent: bool


class VerifyFinding(msgspec.Struct, frozen=True):
    """Something wrong with a snapshot; where it is not `fatal`, it could be reverted to all the same."""

    subject: str
    told: str
    fatal: bool


class VerifiedSnapshot(msgspec.Struct, frozen=True):
    """One snapshot, and all that is wrong with it."""

    name: str
    intact: bool
    findings: tuple[VerifyFinding, ...]


class VerifyDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-verify/1"):
    """`verify`: `checked` are the images that passed through `qemu-img check`, `unchecked` those that could not."""

    host: str
    domain: DomainDocument
    intact: bool
    damaged: tuple[str, ...]
    checked: tuple[str, ...]
    unchecked: dict[str, str]
    snapshots: tuple[VerifiedSnapshot, ...]


class ChainLayer(msgspec.Struct, frozen=True):
    """One image of a chain. `role` is active, frozen, hidden base or base; `ours`: we made it."""

    path: str
    format: Format
    allocated_bytes: int
    size_bytes: int
    ours: bool
    role: str
    snapshots: tuple[str, ...]


class ChainDisk(msgspec.Struct, frozen=True):
    """A disk and what it stands on, the active layer first."""

    vdev: str
    layers: tuple[ChainLayer, ...]
    problem: str | None


class HiddenDocument(msgspec.Struct, frozen=True):
    """An image that only deleted snapshots needed; `why` it stays, or null if it can be merged now."""

    vdev: str
    path: str
    why: str | None


class ChainDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-chain/1"):
    """`chain show`."""

    host: str
    domain: DomainDocument
    disks: tuple[ChainDisk, ...]
    hidden: tuple[HiddenDocument, ...]


class CompactDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-compact/1"):
    """`chain compact`: what was merged away, or would be; `unknown` tells why the rest could not be looked at."""

    host: str
    domain: DomainDocument
    dry_run: bool
    merged: tuple[str, ...]
    stays: tuple[HiddenDocument, ...]
    unknown: str | None
