"""All documents as one type. A verb imports only its own: making all these classes takes milliseconds."""

from xensnap.cli.documents.done import (
    ConfigDocument,
    DomainStateDocument,
    OperationDocument,
    RecoverDocument,
    TrashDocument,
    XmlDocument,
)
from xensnap.cli.documents.examined import (
    CapabilitiesDocument,
    ChainDocument,
    CheckDocument,
    CompactDocument,
    ConfigurationDocument,
    DiffDocument,
    DoctorDocument,
    DuDocument,
    ExplainDocument,
    VerifyDocument,
)
from xensnap.cli.documents.listed import (
    CurrentDocument,
    DomainsDocument,
    InfoDocument,
    ListDocument,
    LogDocument,
    ParentDocument,
    TreeDocument,
)
from xensnap.cli.documents.parts import ErrorDocument
from xensnap.cli.documents.simulated import (
    DemoDocument,
    ReplayDocument,
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
