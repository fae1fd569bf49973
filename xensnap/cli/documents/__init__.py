"""What `--json` prints: one document for each verb, as types from which the published schemas are made.

A field may be added within a version; none is taken away or changed without a new number.
"""

from xensnap.cli.documents.done import (
    AdoptDocument,
    ApplyDocument,
    CloneDocument,
    ConfigDiskDocument,
    ConfigDocument,
    CreateDocument,
    DeleteDocument,
    DomainStateDocument,
    EditDocument,
    ExportDocument,
    FailedRecovery,
    ForgetDocument,
    ImportDocument,
    KeptDocument,
    Operation,
    ParkedDocument,
    PinDocument,
    PruneDocument,
    RecoverDocument,
    RedefineDocument,
    RelocateDocument,
    RenameDocument,
    RestoreDocument,
    RevertDocument,
    TrashDocument,
    TrashedDocument,
    UnpinDocument,
    XmlDocument,
)
from xensnap.cli.documents.examined import (
    CapabilitiesDocument,
    CapabilityDocument,
    ChainDisk,
    ChainDocument,
    ChainLayer,
    CheckDocument,
    CompactDocument,
    ConfigurationDocument,
    DiffDocument,
    DiskDifference,
    DiskFitnessDocument,
    DiskSpace,
    DoctorDocument,
    DuDocument,
    ExaminedDocument,
    ExplainDocument,
    Explained,
    FindingDocument,
    HiddenDocument,
    ModeDocument,
    SnapshotSpace,
    SpaceDocument,
    StretchDocument,
    UnexaminedDocument,
    VerifiedSnapshot,
    VerifyDocument,
    VerifyFinding,
)
from xensnap.cli.documents.listed import (
    CheckedDisk,
    CheckedSnapshot,
    CurrentDocument,
    DomainsDocument,
    DomainsEntry,
    InfoDocument,
    ListDocument,
    LiveDisk,
    LogDocument,
    LoggedDocument,
    ParentDocument,
    TreeDocument,
    TreeNode,
)
from xensnap.cli.documents.parts import (
    DiskDocument,
    DomainDocument,
    ErrorDocument,
    EventDocument,
    ExcludedDocument,
    PinnedDocument,
    ReasonDocument,
    RecoveredDocument,
    SnapshotDocument,
)
from xensnap.cli.documents.simulated import (
    DemoDocument,
    Proof,
    ReplayDocument,
    SeenRun,
    SimCrashDocument,
    SimDomainDocument,
    SimFileDocument,
    SimImageDocument,
    SimImportDocument,
    SimPlaceDocument,
    SimReadDocument,
    SimShowDocument,
    SimWriteDocument,
)

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
    | OperationDocument
    | ConfigDocument
    | TrashDocument
    | XmlDocument
    | LogDocument
    | RecoverDocument
    | DoctorDocument
    | DomainStateDocument
    | SimPlaceDocument
    | SimDomainDocument
    | SimWriteDocument
    | SimReadDocument
    | SimImageDocument
    | SimImportDocument
    | SimFileDocument
    | SimShowDocument
    | SimCrashDocument
    | DemoDocument
    | ReplayDocument
    | ErrorDocument
)
"""All of them, in the order of the reference."""

__all__ = [
    "AdoptDocument",
    "ApplyDocument",
    "CapabilitiesDocument",
    "CapabilityDocument",
    "ChainDisk",
    "ChainDocument",
    "ChainLayer",
    "CheckDocument",
    "CheckedDisk",
    "CheckedSnapshot",
    "CloneDocument",
    "CompactDocument",
    "ConfigDiskDocument",
    "ConfigDocument",
    "ConfigurationDocument",
    "CreateDocument",
    "CurrentDocument",
    "DeleteDocument",
    "DemoDocument",
    "DiffDocument",
    "DiskDifference",
    "DiskDocument",
    "DiskFitnessDocument",
    "DiskSpace",
    "DoctorDocument",
    "Document",
    "DomainDocument",
    "DomainStateDocument",
    "DomainsDocument",
    "DomainsEntry",
    "DuDocument",
    "EditDocument",
    "ErrorDocument",
    "EventDocument",
    "ExaminedDocument",
    "ExcludedDocument",
    "ExplainDocument",
    "Explained",
    "ExportDocument",
    "FailedRecovery",
    "FindingDocument",
    "ForgetDocument",
    "HiddenDocument",
    "ImportDocument",
    "InfoDocument",
    "KeptDocument",
    "ListDocument",
    "LiveDisk",
    "LogDocument",
    "LoggedDocument",
    "ModeDocument",
    "Operation",
    "OperationDocument",
    "ParentDocument",
    "ParkedDocument",
    "PinDocument",
    "PinnedDocument",
    "Proof",
    "PruneDocument",
    "ReasonDocument",
    "RecoverDocument",
    "RecoveredDocument",
    "RedefineDocument",
    "RelocateDocument",
    "RenameDocument",
    "ReplayDocument",
    "RestoreDocument",
    "RevertDocument",
    "SeenRun",
    "SimCrashDocument",
    "SimDomainDocument",
    "SimFileDocument",
    "SimImageDocument",
    "SimImportDocument",
    "SimPlaceDocument",
    "SimReadDocument",
    "SimShowDocument",
    "SimWriteDocument",
    "SnapshotDocument",
    "SnapshotSpace",
    "SpaceDocument",
    "StretchDocument",
    "TrashDocument",
    "TrashedDocument",
    "TreeDocument",
    "TreeNode",
    "UnexaminedDocument",
    "UnpinDocument",
    "VerifiedSnapshot",
    "VerifyDocument",
    "VerifyFinding",
    "XmlDocument",
]
