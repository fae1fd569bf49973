"""What `--json` prints: one document for each verb, as types from which the published schemas are made.

A field may be added within a version; none is taken away or changed without a new number.
"""

from typing import Any, Literal

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


class DomainDocument(msgspec.Struct, frozen=True):
    """Which domain a document is about."""

    uuid: str
    name: str
    state: RunState


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


class ListDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-list/1"):
    """`list DOMAIN`: its snapshots, oldest first. `pending` tells of an interrupted operation that awaits `recover`."""

    host: str
    domain: DomainDocument
    current: str | None
    pending: str | None
    snapshots: tuple[SnapshotDocument, ...]
    damaged: tuple[str, ...]


class DomainsEntry(msgspec.Struct, frozen=True):
    """One domain in the list of all."""

    uuid: str
    name: str
    state: RunState
    disks: tuple[str, ...]
    snapshots: int
    current: str | None
    pending: str | None


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


class DomainStateDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-domain/1"):
    """`domain start` and its like: what the domain does now."""

    host: str
    domain: DomainDocument


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


class RecoveredDocument(msgspec.Struct, frozen=True):
    """An interrupted operation, how it ended, and why like that."""

    domain: str
    summary: str
    outcome: Literal["done", "undone"]
    why: str


class FailedRecovery(msgspec.Struct, frozen=True):
    """A domain whose interrupted operation could not be ended."""

    domain: str
    id: str
    cause: str
    remedy: str


class RecoverDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-recover/1"):
    """`recover`: what there was to recover, which may be nothing."""

    host: str
    recovered: tuple[RecoveredDocument, ...]
    failed: tuple[FailedRecovery, ...]


class Operation(msgspec.Struct, frozen=True):
    """What every operation tells. `recovered` is an older one that had to be ended first."""

    host: str
    verb: str
    domain: str
    domain_uuid: str
    operation: str
    snapshot: str
    summary: str
    warnings: tuple[str, ...]
    recovered: RecoveredDocument | None


class CreateDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-create/1"):
    """`create`: `snapshot` is the name that it got."""


class ConfigDiskDocument(msgspec.Struct, frozen=True):
    """One disk that a configuration names; `path` is the overlay of an external snapshot."""

    vdev: str
    kind: Kind
    path: str | None


class ConfigDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-config/1"):
    """`create --print-config`: what file and options come to. null: nothing is said of it."""

    host: str
    name: str | None
    description: str | None
    memory: bool | None
    memory_path: str | None
    type: Kind | None
    live: bool | None
    disk_only: bool | None
    disks: tuple[ConfigDiskDocument, ...] | None
    warnings: tuple[str, ...]


class RevertDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-revert/1"):
    """`revert`."""


class DeleteDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-delete/1"):
    """`delete`: `deleted` are the names of those that are gone; `snapshot` the one that was named, if any."""

    deleted: tuple[str, ...] = ()


class KeptDocument(msgspec.Struct, frozen=True):
    """A snapshot that a policy keeps, and the first rule that does."""

    name: str
    why: str


class PruneDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-prune/1"):
    """`prune`: what is gone and what was kept. Where nothing had to go, `operation` is empty."""

    deleted: tuple[str, ...] = ()
    kept: tuple[KeptDocument, ...] = ()


class RenameDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-rename/1"):
    """`rename`: `snapshot` is the new name."""


class EditDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-edit/1"):
    """`edit` and `describe`."""


class PinDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-pin/1"):
    """`pin`."""


class UnpinDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-unpin/1"):
    """`unpin`."""


class ForgetDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-forget/1"):
    """`forget`."""


class RestoreDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-restore/1"):
    """`trash restore`."""


class AdoptDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-adopt/1"):
    """`adopt`."""


class RelocateDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-relocate/1"):
    """`chain relocate`."""


class ParkedDocument(msgspec.Struct, frozen=True):
    """The old file of an image that was brought elsewhere, since when (UTC), and what it takes."""

    path: str
    since: str
    bytes: int


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


class TrashedDocument(msgspec.Struct, frozen=True):
    """A snapshot in the trash, since when (UTC), and the bytes that certainly come back when it is deleted."""

    name: str
    since: str
    bytes: int


class TrashDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-trash/1"):
    """`trash list` and `trash empty`: what is in the trash (then), oldest first."""

    host: str
    domain: DomainDocument
    snapshots: tuple[TrashedDocument, ...]
    parked: tuple[ParkedDocument, ...] = ()


class RedefineDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-redefine/1"):
    """`import-xml`: `snapshot` is empty where several were recorded."""


class XmlDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-xml/1"):
    """`dumpxml`: a snapshot as libvirt's XML."""

    host: str
    snapshot: str
    xml: str


class ExportDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-export/1"):
    """`export`: the archive, and how long it is."""

    path: str
    size_bytes: int


class ImportDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-import/1"):
    """`import`: the domain and the snapshot are those that were made here."""


class CloneDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-clone/1"):
    """`clone`: the domain is the new one; `snapshot` is empty, since it has none."""


class ApplyDocument(Operation, frozen=True, tag_field="schema", tag="xensnap-apply/1"):
    """`apply`: `verb` is the plan's."""


class SimPlaceDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-place/1"):
    """`sim init`, `sim reset`, `sim path`: where the simulated host is kept."""

    host: str
    path: str
    exists: bool


class SimDomainDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-domain/1"):
    """`sim domain add`, `sim disk`: the domain as it is now."""

    host: str
    domain: DomainDocument
    disks: tuple[LiveDisk, ...]


class SimWriteDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-write/1"):
    """`sim write`: the number of the write, by which `sim read` tells it again."""

    host: str
    domain: str
    vdev: str
    offset_bytes: int
    length_bytes: int
    write: int


class SeenRun(msgspec.Struct, frozen=True):
    """A stretch of a disk and the write whose bytes are there; write 0 is zeros."""

    offset_bytes: int
    length_bytes: int
    write: int


class SimReadDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-read/1"):
    """`sim read`: what the guest would find."""

    host: str
    domain: str
    vdev: str
    runs: tuple[SeenRun, ...]


class SimImageDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-image/1"):
    """`sim image export` and `sim image import`: an image of the simulated host and a file of this machine."""

    host: str
    path: str
    file: str
    length_bytes: int


class SimFileDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-file/1"):
    """`sim file get`, `sim file put`: a file of the simulated host and the one of this machine."""

    host: str
    path: str
    file: str
    length_bytes: int


class SimShowDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-show/1"):
    """`sim show`: the whole host in words, and what can be counted."""

    host: str
    effects: int
    writes: int
    lines: tuple[str, ...]


class SimCrashDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-crash/1"):
    """`sim crash`: where it died. `cut` is before, partly, after-unacknowledged or after the effect."""

    host: str
    number: int
    effect: str
    cut: str
    subject: str


class Proof(msgspec.Struct, frozen=True):
    """One thing that the demonstration proved, or failed to."""

    claim: str
    holds: bool
    blocks: int


class DemoDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-demo/1"):
    """`demo`."""

    host: str
    proofs: tuple[Proof, ...]
    passed: bool


class ReplayDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-replay/1"):
    """`replay`: how many deeds were done again, how it ended now, and in what it is not as it was then."""

    case: str
    host: str
    seed: int
    deeds: int
    ended: str
    same: bool
    differs: tuple[str, ...]


class EventDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-event/1"):
    """One line of `--events`: a `step` begins, or the step under way makes `progress`. Numbers count from 1."""

    event: Literal["step", "progress"]
    number: int
    total: int
    text: str
    done_bytes: int | None
    total_bytes: int | None
    bytes_per_s: int | None


Document = (
    ListDocument
    | DomainsDocument
    | TreeDocument
    | CurrentDocument
    | ParentDocument
    | InfoDocument
    | DuDocument
    | DiffDocument
    | CheckDocument
    | VerifyDocument
    | ChainDocument
    | CompactDocument
    | CapabilitiesDocument
    | ExplainDocument
    | ConfigurationDocument
    | CreateDocument
    | ConfigDocument
    | RevertDocument
    | DeleteDocument
    | PruneDocument
    | RenameDocument
    | EditDocument
    | PinDocument
    | UnpinDocument
    | ForgetDocument
    | RestoreDocument
    | AdoptDocument
    | TrashDocument
    | RedefineDocument
    | RelocateDocument
    | XmlDocument
    | LogDocument
    | ExportDocument
    | ImportDocument
    | CloneDocument
    | ApplyDocument
    | RecoverDocument
    | DoctorDocument
    | DomainStateDocument
    | SimPlaceDocument
    | SimDomainDocument
    | SimWriteDocument
    | SimReadDocument
    | SimImageDocument
    | SimFileDocument
    | SimShowDocument
    | SimCrashDocument
    | DemoDocument
    | ReplayDocument
    | ErrorDocument
)
"""All of them, in the order of the reference."""
