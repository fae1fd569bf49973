"""What verbs print that change something."""

import msgspec

from xensnap.cli.documents.parts import DomainDocument, RecoveredDocument
from xensnap.model import Kind


class DomainStateDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-domain/1"):
    """`domain start` and its like: what the domain does now."""

    host: str
    domain: DomainDocument


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
    warnings: tuple[str, ...] = ()
    recovered: RecoveredDocument | None = None


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


OperationDocument = (
    CreateDocument
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
    | RedefineDocument
    | RelocateDocument
    | ExportDocument
    | ImportDocument
    | CloneDocument
    | ApplyDocument
)
"""Those that tell what an operation on a domain has done."""
