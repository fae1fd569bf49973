"""The nouns of the field as frozen values: domains, disks, images, chains, snapshots. No I/O here, ever.

Every value prints as Python that makes it again, because Hypothesis shows failing examples that way.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple, NewType

import msgspec

DomainUuid = NewType("DomainUuid", str)
"""Identity of a domain, 36 characters, lower case. Nothing is keyed by name or domid (design: identity is the UUID)."""

DomId = NewType("DomId", int)
"""Number of one incarnation of a domain; it grows with every start and is never an identity."""


class Format(StrEnum):
    """Image formats as libxl names them."""

    RAW = "raw"
    QCOW2 = "qcow2"
    QCOW = "qcow"
    VHD = "vhd"
    QED = "qed"


class Backend(StrEnum):
    """What serves a disk to the guest. Only qdisk is QEMU's block layer; the rest it knows nothing of."""

    QDISK = "qdisk"
    PHY = "phy"
    TAP = "tap"


class RunState(StrEnum):
    """What a domain is doing, as far as a snapshot cares."""

    OFF = "off"
    RUNNING = "running"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    SHUTDOWN = "shutdown"
    CRASHED = "crashed"
    DYING = "dying"


class GuestKind(StrEnum):
    """How Xen runs a guest."""

    PV = "pv"
    PVH = "pvh"
    HVM = "hvm"


class Kind(StrEnum):
    """How a disk snapshot is kept: a tag inside the qcow2 image, or the image frozen below a new overlay."""

    INTERNAL = "internal"
    EXTERNAL = "external"


class Consistency(StrEnum):
    """What a snapshot promises to the software in the guest."""

    CRASH = "crash"
    QUIESCED = "quiesced"
    CLEAN = "clean"
    CHECKPOINT = "checkpoint"


class DescribedBy(StrEnum):
    """Who owns the file that a cold start reads: we can switch our own, but never an operator's xl.cfg."""

    US = "us"
    OPERATOR = "operator"


class Layer(msgspec.Struct, frozen=True):
    """One image by its path and its format, which is always given and never probed."""

    path: str
    format: Format


class Disk(msgspec.Struct, frozen=True):
    """A virtual disk of a domain and the active layer that it starts from next. `path` is empty for an empty drive."""

    vdev: str
    path: str
    format: Format
    readonly: bool = False
    cdrom: bool = False
    backend: Backend = Backend.QDISK

    @property
    def layer(self) -> Layer:
        """The active layer."""
        return Layer(self.path, self.format)


class Domain(msgspec.Struct, frozen=True):
    """A domain as its host knows it now.

    `kind` is None where the host runs guests in one way only. What the host can do, but not with this guest as it is
    now, is told by a reason in words; where there is none, the host's capabilities alone tell.
    """

    uuid: DomainUuid
    name: str
    state: RunState
    disks: tuple[Disk, ...]
    domid: DomId | None = None
    described_by: DescribedBy = DescribedBy.US
    kind: GuestKind | None = None
    no_live_save: str = ""
    """Why its memory cannot be saved while it runs, as of a PV guest where Xen cannot log dirty pages of it."""
    no_paused_save: str = ""
    """Why it cannot be saved while it is paused, as of a guest that has to suspend itself."""
    memory_bytes: int = 0
    """The most memory that it may have; 0 where its host does not tell."""
    never_ran: bool = False
    """Whether it has executed nothing since it was made: nothing is lost if it is made once more."""
    described_in: str = ""
    """The operator's own file that it is started from, absolute, where the host was told of one."""
    uuid_not_pinned: bool = False
    """Whether it is known to get a new UUID at each start, so that only its name and its images tell who it is."""
    halted: str = ""
    """Why it stands still although nobody has paused it, as of a guest whose write has found no room."""

    def disk(self, vdev: str) -> Disk | None:
        """The disk that the guest sees as `vdev`, if there is one."""
        return next((disk for disk in self.disks if disk.vdev == vdev), None)


class Described(msgspec.Struct, frozen=True):
    """What a toolstack makes of the text of a configuration file: a domain that need not be there.

    `text` is in the form that the toolstack itself writes; `uuid` is empty where the file leaves it open.
    """

    text: str
    name: str
    uuid: str
    disks: tuple[Disk, ...]


class FileId(msgspec.Struct, frozen=True, order=True):
    """Which file it really is, whatever it is called: device and inode number."""

    device: int
    inode: int


class InternalSnapshot(msgspec.Struct, frozen=True):
    """One entry of a qcow2 image's snapshot table."""

    id: str
    tag: str
    date_s: int
    date_ns: int
    disk_size_bytes: int
    vm_state_bytes: int = 0
    vm_clock_ns: int = 0


class Backing(msgspec.Struct, frozen=True):
    """The backing file of an image: its name as the header stores it, where that leads, and its format if given."""

    name: str
    path: str
    format: Format | None


class Image(msgspec.Struct, frozen=True):
    """What the header and the snapshot table of one image file say. Raw images have no header: only sizes."""

    layer: Layer
    file: FileId
    virtual_size_bytes: int
    file_length_bytes: int
    allocated_bytes: int
    cluster_size_bytes: int = 0
    compat: str = ""
    refcount_bits: int = 0
    backing: Backing | None = None
    snapshots: tuple[InternalSnapshot, ...] = ()
    bitmaps: int = 0
    data_file: str = ""
    encrypted: bool = False
    dirty: bool = False
    corrupt: bool = False
    extended_l2: bool = False

    def tagged(self, tag: str) -> tuple[InternalSnapshot, ...]:
        """All entries with this tag; qemu-img 7.2 allows several of one name."""
        return tuple([entry for entry in self.snapshots if entry.tag == tag])


ZEROS = -1
"""The place of clusters that are known to be zeros and are kept nowhere."""


class Extent(NamedTuple):
    """A stretch of a disk that one state of an image has, and where in the file it is kept.

    Two states of one image share a cluster exactly where they have the same place for it. What no extent covers is
    read from the backing file.
    """

    start_bytes: int
    length_bytes: int
    place: int


class Chain(msgspec.Struct, frozen=True):
    """An image and what it stands on: the active layer first, the base last."""

    images: tuple[Image, ...]

    @property
    def active(self) -> Image:
        """The image that is written to."""
        return self.images[0]

    @property
    def base(self) -> Image:
        """The image that has no backing file."""
        return self.images[-1]

    def __iter__(self) -> Iterator[Image]:
        return iter(self.images)


class Fingerprint(msgspec.Struct, frozen=True):
    """How a disk snapshot is recognised again without reading its content.

    Internal: id, tag and date of the table entry. External: identity, length and backing name of the frozen file.
    """

    snapshot_id: str = ""
    date_s: int = 0
    date_ns: int = 0
    inode: int = 0
    file_length_bytes: int = 0
    backing: str = ""


class DiskSnapshot(msgspec.Struct, frozen=True):
    """One disk at the moment of a snapshot.

    `image` holds the content of that moment: the image with the tag, or the frozen image. `overlay` is the image that
    the disk went on with when the snapshot was external. `size_bytes` is the disk's size at that moment.
    """

    vdev: str
    kind: Kind
    image: Layer
    size_bytes: int
    tag: str = ""
    overlay: Layer | None = None
    fingerprint: Fingerprint = Fingerprint()


class Excluded(msgspec.Struct, frozen=True):
    """A disk that a snapshot does not cover, and why."""

    vdev: str
    reason: str


class Pin(msgspec.Struct, frozen=True):
    """Somebody needs a snapshot: it is not deleted while this holds. Times are epoch seconds; until 0 is for ever."""

    owner: str
    since_s: int
    until_s: int = 0
    why: str = ""

    def holds(self, now_s: int) -> bool:
        """Whether it has not run out."""
        return not self.until_s or now_s < self.until_s


class Snapshot(msgspec.Struct, frozen=True):
    """A domain snapshot as its record tells it. `extra_json` keeps the keys that this version does not know."""

    name: str
    domain_uuid: DomainUuid
    domain_name: str
    creation_time_s: int
    state: RunState
    consistency: Consistency
    disks: tuple[DiskSnapshot, ...]
    parent: str | None = None
    description: str = ""
    memory: str = ""
    memory_bytes: int = 0
    live: bool = False
    excluded: tuple[Excluded, ...] = ()
    domain_config: str = ""
    pin: Pin | None = None
    extra_json: str = ""

    def disk(self, vdev: str) -> DiskSnapshot | None:
        """What this snapshot holds of `vdev`, if it covers it."""
        return next((disk for disk in self.disks if disk.vdev == vdev), None)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds among its disks; both means a mixed snapshot (design 5.14: mixed is across disks)."""
        return frozenset(disk.kind for disk in self.disks)
