"""What the verbs about simulated hosts print: `sim`, `demo`, `replay`."""

import msgspec

from xensnap.cli.documents.listed import LiveDisk
from xensnap.cli.documents.parts import DomainDocument


class SimPlaceDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-place/1"):
    """`sim init`, `sim reset`, `sim path`: where the simulated host is kept."""

    host: str
    path: str
    exists: bool


class SimImportDocument(msgspec.Struct, frozen=True, tag_field="schema", tag="xensnap-sim-import/1"):
    """`sim import`: what the simulated host is like, its domains, and what could not be taken over, a line each."""

    host: str
    path: str
    source: str
    domains: tuple[str, ...]
    without: tuple[str, ...]


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
