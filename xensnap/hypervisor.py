"""The abstract hypervisor: the ports that the engine works through, as Protocols, and what every host does alike.

The simulator, the real hosts and a user's own host implement these without inheriting from us; the contract tests in
`tests/unit/contracts` are the run-time check. Each docstring answers four questions in this order: what the method
makes true, what it needs true, what each error says about the effect, what it costs.

Everything is `async def`, yet nothing here or in the engine imports asyncio: the only concurrency that the engine asks
for is `Hypervisor.gather`. Where nothing waits, `drive` runs a coroutine to its end without any loop.
"""

import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Any, Protocol, TypeVar

import msgspec

from xensnap.errors import Failed
from xensnap.model import Backing, Chain, Described, Domain, DomainUuid, Extent, FileId, Image, InternalSnapshot, Layer

T = TypeVar("T")


class Capability(StrEnum):
    """What a host can do. Data, so that a plan can be refused before anything is tried."""

    INTERNAL = "internal"
    """Internal snapshots of qcow2 images that nobody has open."""
    EXTERNAL = "external"
    """Overlays, and switching what a domain starts from."""
    RUNNING = "running"
    """Domains can be started and stopped, and their disks snapshotted while they run."""
    MEMORY = "memory"
    """The memory of a running domain can be saved and restored."""
    LIVE_SAVE = "live-save"
    """The memory can be saved while the guest runs, but for a short stop at the end; `Domain.no_live_save` excepts."""
    DOWNTIME_LIMIT = "downtime-limit"
    """It can be said how long a guest may stand still at most for the end of a live save."""
    SAVE_PAUSED = "save-paused"
    """A domain that is paused already can be saved; `Domain.no_paused_save` excepts.

    On Xen 4.17 only HVM guests without PV drivers can.
    """
    QUIESCE = "quiesce"
    """Guests can be asked to make their file systems quiet; whether one answers, only asking tells."""
    IMMUTABLE = "immutable"
    """Files can carry the immutable flag."""


# --- Files -----------------------------------------------------------------------------------------------------------


WHOLE_BYTES_MAX = 64 << 20
"""What is read whole is text of ours, of libxl's or of an operator: no larger file is, whoever has put it there."""


class FileStat(msgspec.Struct, frozen=True):
    """What the file system says of one name. Links are not followed: a symlink is not a regular file.

    Attributes:
        file: which file it is.
        length_bytes: its length.
        mode: its permission bits, with those above them: sticky, setgid, setuid.
        is_dir: whether it is a directory.
        is_regular: whether it is a regular file.
        uid: the number of the user that it belongs to.
        links: how many names a regular file has; of more than one each is a hard link to it.
    """

    file: FileId
    length_bytes: int
    mode: int
    is_dir: bool = False
    is_regular: bool = True
    uid: int = 0
    links: int = 1


class Lock(Protocol):
    """A lock that is held. It ends with `release`, or when the last process that inherited it has died."""

    async def release(self) -> None:
        """Let go. Children that inherited the lock keep it until they end. Never fails. One system call."""


class Files(Protocol):
    """Names and bytes on the host's file systems. Errors are `FileFailed` with the operating system's errno.

    Written is not durable: content is durable after `sync`, a name after `sync_dir` of its directory.
    """

    async def read(self, path: str) -> bytes:
        """The whole content of a regular file of no more than `WHOLE_BYTES_MAX`. One open, one read.

        `NotFound` where there is none; `FileFailed` with EFBIG where it is larger, of which nothing is read.
        """

    async def read_part(self, path: str, *, offset: int, length_bytes: int) -> bytes:
        """As much of these bytes of a regular file as there is. `NotFound` without the file. One open, one read."""

    async def create(self, path: str, data: bytes = b"", *, mode: int = 0o600) -> None:
        """Make a new file with this content; needs the name to be free. Follows no symlink.

        `FileFailed` with EEXIST: none. With another errno: none, a half-written file has been removed again.
        Durable only after `sync(path)` and `sync_dir`.
        """

    async def replace(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """Make `path` hold exactly `data`, at once for every reader; the old content stays until then.

        Writes a sibling `.<name>.new`, syncs it and renames it. `FileFailed`: none, the old content stands.
        The content is durable before the name changes; the change of name only after `sync_dir`. Costs one fsync.
        """

    async def append(self, path: str, data: bytes, *, mode: int = 0o600) -> None:
        """Add `data` at the end, making the file if there is none. `FileFailed`: unknown, the tail may be torn.

        A file with a second name is left alone: EMLINK. Not durable until `sync`.
        """

    async def write_part(self, path: str, data: bytes, *, offset: int) -> None:
        """Write over these bytes of a regular file, which has to be there and to reach so far. `FileFailed`: unknown.

        A file with a second name is left alone: EMLINK. Not durable until `sync`.
        """

    async def sync(self, path: str, *, after: Callable[[], Awaitable[None]] | None = None) -> None:
        """Make the content of a file durable. `FileFailed`: unknown; what was written may be lost. Costs one fsync.

        With `after`, once that is done, in which somebody else may write the file and sync it: what fails to reach the
        disk meanwhile is told here, too. An error is told once to each who had the file open before it (Linux 4.13).
        """

    async def sync_dir(self, path: str) -> None:
        """Make the names in a directory durable. `FileFailed`: unknown. Costs one fsync."""

    async def mkdir(self, path: str) -> None:
        """Make a directory, and those above it that are missing, mode 0700. One that exists is fine if it is one."""

    async def rename(self, old: str, new: str, *, replace: bool = True) -> None:
        """Give a file a new name in the same file system. `FileFailed`: none.

        What had the name is replaced, at once; without `replace` it stays, and the error is EEXIST, unless it is that
        very file already: a renaming may die between the two names. Durable after `sync_dir` of both directories.
        """

    async def remove(self, path: str, *, inode: int = 0, generation: int = 0) -> None:
        """Unlink one file. `NotFound` where there is none; `FileFailed`: none. Durable after `sync_dir`.

        With an inode number, and a generation where it is not 0, only that very file: another one stays, with errno
        ESTALE. Nothing is between the look that tells and the call that unlinks.
        """

    async def names(self, path: str) -> tuple[str, ...]:
        """The names in a directory, sorted; empty where there is no such directory."""

    async def listing(self, path: str) -> Mapping[str, FileStat]:
        """What stands in a directory, by name, each as `stat` tells it; empty where there is no such directory.

        What is gone by the time that it is looked at has no entry. One listing, and one look for each name.
        """

    async def stat(self, path: str) -> FileStat | None:
        """What a name leads to, or None where there is nothing. Follows no symlink in its last part."""

    async def free_bytes(self, path: str) -> int:
        """Bytes that can still be written in the file system of an existing directory."""

    async def set_immutable(self, path: str, *, on: bool) -> None:
        """Set or clear the immutable flag, which also stops writes on descriptors open already.

        Setting what is set is fine. `Refused` with id `no-immutable-flag` where the file system or our rights do not
        allow it: none. One ioctl.
        """

    async def is_immutable(self, path: str) -> bool:
        """Whether the flag is set; False where the file system knows no flags."""

    async def generation(self, path: str) -> int:
        """What tells a regular file from those that had its inode number before it and will have it after it.

        A file system gives the number of a file that is gone to the next one, often at once, with another generation.
        0 where nobody can tell: there is no such file, or its file system has no generations. One open, one ioctl.
        """

    async def lock(self, path: str, *, note: bytes, wait_s: float = 0.0) -> Lock:
        """Hold the exclusive lock on `path` (made if missing) and write `note` into it, so that others can name us.

        `Busy` after `wait_s` seconds, naming the holder from its note: none. The lock dies with its last holder
        (flock, inherited by the children that ports start); it is never broken. A file with a second name is left
        alone: `FileFailed` with EMLINK.
        """


# --- Machine ---------------------------------------------------------------------------------------------------------


class Opener(msgspec.Struct, frozen=True):
    """A process that has a file open."""

    pid: int
    command: str
    writing: bool


class Machine(Protocol):
    """The clock and the processes of the host."""

    async def now_ns(self) -> int:
        """Wall clock, nanoseconds since the epoch. May jump."""

    async def monotonic_ns(self) -> int:
        """A clock that never goes back, nanoseconds."""

    async def sleep(self, seconds: float) -> None:
        """Return after at least this long."""

    async def fresh_id(self) -> str:
        """A UUID that nobody has seen before, 36 characters, lower case."""

    async def whoami(self) -> "Identity":
        """Who we are: stays the same while this process lives."""

    async def openers(self, path: str) -> tuple[Opener, ...]:
        """The other processes that have this very file open, found by inode, whatever name they used.

        `Refused` with id `cannot-see-openers` where not all processes can be seen: none. Costs up to 450 ms on a busy
        host, so it is asked only to name who, or where no lease can be had.
        """


class Identity(msgspec.Struct, frozen=True):
    """One process on one boot of one machine, and the user that it works for, by name and by number."""

    pid: int
    boot_id: str
    user: str
    uid: int = 0


# --- Images that nobody has open -------------------------------------------------------------------------------------


class CheckResult(msgspec.Struct, frozen=True):
    """What a consistency check found. Raw images have nothing to check and are clean.

    Attributes:
        leaks: clusters that are counted more often than they are used.
        corruptions: errors in the tables, whose repair is a guess.
        stale_flags: entries that say of a cluster whether it is used only once, and are wrong by its count. A killed
            `snapshot -c` or `-a` leaves them, and they are put right by the counts (QEMU 7.2.22).
    """

    leaks: int = 0
    corruptions: int = 0
    stale_flags: int = 0

    @property
    def clean(self) -> bool:
        """Nothing was found."""
        return self == CheckResult()


Grown = Callable[[int, int], None]
"""Told now and then how many bytes of how many are done, where the tool says so."""


class ImageTool(Protocol):
    """Images that no process has open for writing.

    Every writing method first makes sure that no process at all has the image open, since QEMU under Xen takes no lock
    (Xen 4.17.7): `Busy`, effect none, names who. `ToolFailed` keeps the tool's own words. The format is always given.
    """

    async def inspect(self, layer: Layer) -> Image:
        """Header and snapshot table of one image; its backing file need not exist.

        `NotFound` without the file, `Damaged` where the header or table is not what the format says, with the offset.
        Reading only; at most three reads and one more per MiB of table, no process is started.
        """

    async def chain(self, layer: Layer) -> Chain:
        """The image and everything below it. `NotFound` and `Damaged` name the image; a loop is `Damaged`."""

    async def require_unused(self, layer: Layer) -> None:
        """Return if no process has the image open, so that it may be written now; the gate of every writing method.

        `Busy`: none, names who. Costs 1-2 ms (a lease taken and given back at once).
        """

    async def in_use(self, layer: Layer) -> bool | None:
        """Whether any process has the file of this name open just now; None where the host has no quick way to tell.

        `NotFound` as `inspect`. Reading only; microseconds, and nobody is waited for.
        """

    async def holds_data(self, layer: Layer) -> bool:
        """Whether a qcow2 image has any cluster of its own, so that it reads differently from its backing file.

        False for a file that is empty yet. `NotFound` and `Damaged` as `inspect`. One more read than `inspect`.
        """

    async def is_at(self, layer: Layer, *, snapshot_id: str) -> bool:
        """Whether the active state of a qcow2 image has just the clusters of an internal snapshot.

        By the tables of the first level alone, of 8 bytes for 512 MiB of disk at the usual cluster size: a state that
        was written to since has tables of its own. Errors as `inspect`; `NotFound` also without such a snapshot.
        """

    async def extents(self, layer: Layer) -> Mapping[str, tuple[Extent, ...]]:
        """What an image itself has of the disk: the active state under "", each internal snapshot under its id.

        Of a raw image, the stretches that hold data. `NotFound` and `Damaged` as `inspect`. One read for each cluster
        table, which is 1 MiB for 8 GiB of disk at the usual cluster size; of a guest that runs, a moving target.
        """

    async def create_overlay(self, path: str, *, backing: Backing, size_bytes: int) -> None:
        """Make the existing empty file `path` an empty qcow2 overlay of exactly this size, not opening the chain.

        Needs `path` created by us beforehand, so that mode and exclusiveness are ours. `ToolFailed`: unknown, the
        file may be anything. Durable after `Files.sync`.
        """

    async def snapshot_create(self, layer: Layer, *, tag: str) -> InternalSnapshot:
        """Put an internal snapshot under `tag` into a qcow2 image; needs the tag to be free there.

        `Busy`, and `Refused` with id `tag-taken`: none. `ToolFailed`: none but for leaked clusters, unless the tool
        was killed, then unknown. Costs about 3.4 s per TiB of allocated clusters.
        """

    async def snapshot_apply(self, layer: Layer, *, snapshot_id: str) -> None:
        """Make the active state, the disk size included, equal to the snapshot with this id.

        By id, because qemu-img 7.2 takes ids before names. `NotFound`: none. `ToolFailed`: unknown.
        """

    async def snapshot_delete(self, layer: Layer, *, tag: str, snapshot_id: str) -> None:
        """Remove the one snapshot that has both this tag and this id. `NotFound`: none. `ToolFailed`: unknown."""

    async def commit(self, top: Layer, *, into: Layer, progress: Grown | None = None) -> None:
        """Write what `top` holds into `into`, anywhere below it; `top` keeps its content and reads the same throughout.

        `into` is grown to the size of `top` first, never shrunk. Repeating it is harmless. `ToolFailed`: unknown.
        """

    async def rebase(self, layer: Layer, *, backing: Backing | None, copy: bool, progress: Grown | None = None) -> None:
        """Give the image another backing file, or none.

        With `copy`, all that would read differently is copied in first, so the content stays the same and an
        interrupted run can be repeated. Without, only the header changes and the caller vouches for the content.
        `ToolFailed`: unknown with `copy`, else none.
        """

    async def resize(self, layer: Layer, *, size_bytes: int) -> None:
        """Make the disk this large; shrinking throws away what lies beyond. `ToolFailed`: none."""

    async def check(self, layer: Layer, *, repair_leaks: bool = False) -> CheckResult:
        """Count what is wrong; with `repair_leaks`, give leaked clusters back and count what is left then.

        Flags that were stale follow the counts then. Where there is corruption nothing is repaired: counts are not to
        be trusted, and what seems leaked may be in use. Writing only with `repair_leaks`. `ToolFailed`: none.
        """

    async def measure_bytes(self, layer: Layer) -> int:
        """Bytes that a qcow2 copy of everything that the image shows would need. `ToolFailed`: none."""

    async def copy(self, layer: Layer, *, to: str) -> None:
        """Make the existing empty file `to` the same as the image file, byte for byte, holes kept; and compare.

        What the image stands on is not looked at. `Busy`: none. `ToolFailed`: unknown, `to` may be anything. Durable
        after `Files.sync`.
        """

    async def copy_out(self, layer: Layer, *, snapshot_id: str = "", to: str, shared: bool = False) -> None:
        """Fill the existing empty file `to` with a standalone qcow2 image of one internal snapshot.

        Without one, of what the image shows now, all that it stands on included. `NotFound`: none. `ToolFailed`:
        unknown, `to` may be anything. Not durable until `Files.sync`.

        With `shared` also out of an image that a QEMU writes to: it never writes to clusters or tables of an internal
        snapshot, so that this is right as long as nobody deletes that one (QEMU 7.2.22: 146 of 146 copies made with
        `-U` while it wrote were the content at the snapshot). `Refused`, id `image-resized`: the image has another size
        than at the snapshot, which needs a copy of all of it. `Failed`, unknown: the snapshot went meanwhile.
        """


# --- Block layer of a running domain ---------------------------------------------------------------------------------


class Node(msgspec.Struct, frozen=True):
    """One image open in a running QEMU, top of a disk first, with what lies below it."""

    node_name: str
    vdev: str
    layer: Layer
    readonly: bool
    backing: "Node | None" = None


class TakeInternal(msgspec.Struct, frozen=True):
    """Part of a transaction: an internal snapshot in the active layer of one disk."""

    vdev: str
    tag: str


class TakeOverlay(msgspec.Struct, frozen=True):
    """Part of a transaction: the active layer is frozen below this prepared overlay."""

    vdev: str
    overlay: Layer


Action = TakeInternal | TakeOverlay


class JobState(msgspec.Struct, frozen=True):
    """A block job as QEMU tells it: how far, of how much, and whether it can be completed."""

    id: str
    done_bytes: int
    total_bytes: int
    ready: bool
    concluded: bool
    error: str = ""


PATIENCE_S = 60.0
"""How long a block job may come no nearer to its end before nobody waits for it any longer."""


class Headway:
    """Whether a job comes nearer to its end: after each stretch of time less must be left than at its beginning.

    What has been copied tells nothing, for a guest that writes faster than its disk is copied has the job copy the same
    places for ever. One that has not said yet how much there is to do has all of it left.

    Args:
        patience_s: length of a stretch, seconds.
        now_s: when it begins, on a clock that never goes back.
    """

    def __init__(self, patience_s: float, now_s: float) -> None:
        self._patience_s = patience_s
        self._began_s = now_s
        self._left: float = math.inf

    def is_lost(self, state: JobState, now_s: float) -> bool:
        """Whether a stretch is over, and has brought nothing."""
        left = state.total_bytes - state.done_bytes if state.total_bytes else math.inf
        if now_s < self._began_s + self._patience_s:
            self._left = left if self._left == math.inf else self._left
            return False
        lost = left >= self._left
        self._began_s, self._left = now_s, left
        return lost


def stalled(domain: str, patience_s: float) -> Failed:
    """The error of who has waited for a job without headway."""
    cause = (
        f"copying a disk of {domain} has come no nearer to its end in {patience_s:g} s: "
        "the guest writes faster, or the storage is too slow"
    )
    remedy = "Try again when the guest writes less: `xensnap chain compact`."
    return Failed(cause, id="job-stalled", remedy=remedy)


class Job(Protocol):
    """A block job that runs in QEMU. It outlives us; `BlockLayer.job` finds it again.

    One that is going to write the header of an image when it ends may wait for that until somebody calls `wait`,
    `complete` or `cancel`, who makes durable first what it has copied (QEMU 7.2.22, qemu.md 182).
    """

    id: str

    async def state(self) -> JobState:
        """How it stands now. `NotFound`: it ended and QEMU has forgotten it. One round trip."""

    async def wait(
        self, *, progress: Callable[[JobState], None] | None = None, patience_s: float = PATIENCE_S
    ) -> JobState:
        """Return when it is ready or concluded. `Failed` when it ended with an error: unknown, look at the chain.

        `Failed` with id `job-stalled` when it makes no headway for so long (see `Headway`): none, it still runs.
        `Failed` with id `job-failed`, or `FileFailed`, also where what it has copied cannot be made durable: it still
        waits for that, and the images read the same as before.
        """

    async def complete(self, *, patience_s: float = PATIENCE_S) -> None:
        """Let a ready job pivot, and return when it has. `Failed`: none.

        `Failed` with id `job-stalled`: unknown. It still runs and may pivot yet; `cancel` it, then look at the chain.
        """

    async def cancel(self) -> None:
        """End it without a pivot, and return when it is gone. The images read the same as before."""


class BlockLayer(Protocol):
    """The block layer of running domains. Only the QEMU that has an image open may change it."""

    async def nodes(self, domain: Domain) -> tuple[Node, ...]:
        """What the domain's QEMU has open. `Busy` when its monitor is not to be had in time: none."""

    async def transaction(self, domain: Domain, actions: Sequence[Action]) -> None:
        """Take all these points at one moment, or none. One action per device and per file.

        `Failed`: none. `Unknown` when the reply was lost. The guest's I/O stands still meanwhile.
        """

    async def delete_internal(self, domain: Domain, vdev: str, *, tag: str, snapshot_id: str) -> None:
        """Remove an internal snapshot from a disk's active layer. `NotFound`: none. `Unknown`: the reply was lost."""

    async def commit(self, domain: Domain, vdev: str, *, top: Layer, base: Layer, job_id: str) -> Job:
        """Start writing `top` and what lies between down into `base`, as a job. `Failed`: none."""

    async def stream(self, domain: Domain, vdev: str, *, layer: Layer, base: Layer | None, job_id: str) -> Job:
        """Start copying what lies between `layer` and `base` up into `layer`, as a job. `Failed`: none."""

    async def flush(self, domain: Domain) -> None:
        """Make durable what QEMU has written to the active layers and still holds back. `Failed`: unknown.

        A stream ends without that (QEMU 7.2.22): tables that it has filled are in QEMU's memory, and nothing is synced.
        """

    async def job(self, domain: Domain, job_id: str) -> Job:
        """A job started before, by us or by one that died. `NotFound` when QEMU does not know it."""


# --- Toolstack -------------------------------------------------------------------------------------------------------


class Then(StrEnum):
    """What a domain does when an operation is over."""

    SAME = "same"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"


class Saving(Protocol):
    """A memory save under way, in two phases with the caller's disk transaction between them."""

    async def suspended(self, *, progress: Callable[[int], None] | None = None) -> None:
        """Return when the guest executes nothing any more and will not until `finish`.

        Where the host knows it, `progress` is told now and then how many bytes of its memory are saved by now.

        `Failed`: none, the guest runs as before and no file is left.
        """

    async def finish(self, *, then: Then) -> None:
        """Complete the memory file and let the guest go on as asked. `Failed` names the guest's state.

        The file is durable after `Files.sync`.
        """


class Watcher(Protocol):
    """The daemon that reboots and cleans up a guest, stopped so that it does not see the suspend."""

    async def resume(self) -> None:
        """Let it go on: always, but never beside a suspended guest. `recover` calls it for one that died."""


class Toolstack(Protocol):
    """Domains. Exit codes of a toolstack are never believed: every method reads the state back."""

    async def domains(self) -> tuple[Domain, ...]:
        """All domains that the host knows, running or not, by name. Reading only."""

    async def inspect(self, ref: str) -> Domain:
        """The domain with this UUID, name or domid, tried in this order where a name could be a number.

        `NotFound` names the domains there are; `Refused` with id `ambiguous-domain`. Reading only.
        """

    async def configuration(self, uuid: DomainUuid) -> str:
        """The domain's configuration as its toolstack writes it, for the record. Reading only."""

    async def described(self, text: str, *, source: str) -> Described:
        """What the toolstack makes of the text of a configuration file that an operator wrote. Reading only.

        `source` names the file: in the errors, and where the toolstack reads files itself it has to hold this text.
        `Usage` or `Failed` with the toolstack's own words where it cannot be read.
        """

    async def set_configuration(self, uuid: DomainUuid, text: str, *, file: str = "") -> None:
        """From now on the domain has this configuration, in the form of `configuration`: its name, its machine.

        Needs the name to be free and the disks to be those that the domain has. Their active layers stay what they
        are, whatever the text says. A guest that runs goes on with what it has. `file` is the operator's own that says
        the same, for hosts that start domains from such; empty where there is none. `NotFound`, `FileFailed`: none.
        Durable on return.
        """

    async def set_layers(self, uuid: DomainUuid, layers: Mapping[str, Layer]) -> None:
        """From now on the domain starts from these active layers (by vdev), in every source that we may write.

        All disks at once or none. `NotFound`, `FileFailed`: none. Durable on return.
        """

    async def require_definable(self, domain: Domain, *, configuration: str, file: str) -> None:
        """Return if `define` can do this now; raises what it would raise. Reading only."""

    async def define(self, domain: Domain, *, configuration: str, file: str) -> None:
        """Make a domain known that is off, with this configuration, which has its UUID, its name and its disks already.

        Where domains are started from files of the operator's, `file` becomes the one of this domain. Needs UUID, name
        and `file` to be free; a file that holds just this already is fine. `Refused` with id `domain-exists`, `Usage`
        and `Damaged` for what is no configuration of this host, `FileFailed` with EEXIST: none. Another `FileFailed`:
        unknown, it can be repeated. Durable on return.
        """

    async def create(self, uuid: DomainUuid, *, paused: bool = False) -> Domain:
        """Start a domain that is off. `Failed`: it is off, but may have used up a domid."""

    async def destroy(self, domain: Domain) -> None:
        """End it at once; returns when its QEMU is gone and its images are closed. One that is off is fine."""

    async def shutdown(self, domain: Domain, *, timeout_s: float) -> None:
        """Ask the guest to power off and wait. `Failed` after the time-out: it was asked, and still runs."""

    async def pause(self, domain: Domain) -> None:
        """The guest executes nothing. Pauses are counted on Xen; this makes sure of exactly one of ours."""

    async def unpause(self, domain: Domain) -> None:
        """Take back one `pause`. `Failed`: it is still paused."""

    async def resume(self, domain: Domain) -> None:
        """Revive a guest that a killed save left suspended. `Failed`: it is still suspended."""

    async def rename(self, domain: Domain, name: str) -> None:
        """Give it another name; needs the name to be free. `Refused` with id `name-taken`: none."""

    async def restore(
        self, memory: str, *, uuid: DomainUuid, layers: Mapping[str, Layer], paused: bool, configuration: str = ""
    ) -> Domain:
        """Bring a saved domain back on these disks. Needs uuid and name to be free and each disk to open.

        With a `configuration`, the host takes what may differ from that: name, bridges, actions on events. The machine
        has to be the one that was saved.

        `Failed`: no such domain runs, though a domid may be used up; every disk was looked at, not believed.
        """

    def saving(
        self, domain: Domain, *, to: str, live: bool = False, max_downtime_s: float | None = None
    ) -> AbstractAsyncContextManager[Saving]:
        """Save the memory into the existing empty file `to`, in two phases:

        `async with toolstack.saving(…) as save: await save.suspended(); …disks…; await save.finish(then=…)`

        Leaving it before `finish` undoes: the guest goes on and `to` holds nothing of use. One shape serves
        `xl save -p`, the live migration stream and QEMU's pre-switchover.

        A live one with `max_downtime_s` stops the guest only when what is left of its memory can be expected to be
        written in that time; where that does not come about, `suspended` fails with id `not-converging`: none. Needs
        the capability. A memory that is written in a tenth of a second is kept to no limit (QEMU 7.2.22).
        """

    async def watched(self, domain: Domain) -> bool | None:
        """Whether the daemon is there that reboots and cleans up this running guest. Reading only.

        None where the host needs none, or the domain is off.
        """

    async def hold_watcher(self, domain: Domain) -> Watcher | None:
        """Stop the daemon that would end at a suspend; None where there is none. `Failed`: it runs on."""

    async def watch(self, domain: Domain) -> None:
        """Let somebody reboot and clean up this running guest again, where the daemon that did has been lost.

        Needs nothing; where somebody watches, or nobody needs to, nothing happens. `Failed`: nobody does; with id
        `needs-domain-config`, since the guest could not be started anew as it is known. Costs the start of a process,
        which stays until the guest ends. The guest feels nothing.
        """


# --- Optional ports --------------------------------------------------------------------------------------------------


class GuestAgent(Protocol):
    """Software in the guest that can make its file systems quiet."""

    async def freeze(self, domain: Domain, *, timeout_s: float) -> int:
        """Freeze the guest's file systems; how many.

        It is asked first whether it is there at all. `Failed`, effect none: it is not, or it could not freeze and has
        thawed again. `Unknown` after the time-out, which is ours and not the guest's: it may freeze yet, so thaw it.
        """

    async def thaw(self, domain: Domain) -> int:
        """Undo `freeze`; how many file systems were still frozen, fewer than then where some went on before.

        Harmless where nothing is frozen. `Failed`: they may still be frozen. Answers in a few seconds, or fails.
        """


class Hooks(Protocol):
    """Programs of the operator that run before and after."""

    async def run(self, hook: str, facts: Mapping[str, str], *, timeout_s: float) -> tuple[str, ...]:
        """Run the programs for this moment with these facts in their environment, one after the other.

        Returns what went wrong where the operator only wants to be told. `Failed` with id `hook-failed` names the
        program where he wants nothing to be done then: none, of ours. Costs what the programs cost.
        """


# --- The low seam: what the real backends stand on -------------------------------------------------------------------


class Completed(msgspec.Struct, frozen=True):
    """A program that has ended. Negative return codes are signals."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


class Runner(Protocol):
    """Runs programs, never through a shell."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        heard: Callable[[bytes], None] | None = None,
    ) -> Completed:
        """Run to the end, in a process session of its own that inherits the locks we hold.

        While it runs, `heard` is told now and then all that it has written on its output so far; never, if it is quick.

        `Failed` with id `no-such-program`: none. `Unknown` after the time-out: the program has been killed. An ended
        program is never an error here, whatever its code.
        """


class Monitor(Protocol):
    """One QMP connection, negotiated. What QEMU tells unasked, its events, is not heard: state is looked at."""

    async def execute(self, command: str, arguments: Mapping[str, Any] | None = None) -> Any:
        """Send one command and return its reply. `Failed` keeps QEMU's words: none. `Unknown`: the reply was lost."""

    async def close(self) -> None:
        """Hang up, so that others get the monitor: QEMU serves one client at a time."""


class MonitorConnector(Protocol):
    """Finds the monitor of a domain and connects to it."""

    async def connect(self, domain: Domain, *, timeout_s: float) -> Monitor:
        """Connect and negotiate. `Busy` when another client holds it, `Failed` when QEMU is gone: none."""


# --- A host ----------------------------------------------------------------------------------------------------------


class Hypervisor(Protocol):
    """A host: its ports, what it can do, and how its coroutines are run."""

    name: str
    """As the user chose it: `sim`, `sim:DIR`, `qemu:DIR`, `xen`."""
    root: str
    """Absolute directory of the snapshot store on that host."""
    capabilities: frozenset[Capability]
    toolstack: Toolstack
    blocks: BlockLayer
    images: ImageTool
    files: Files
    machine: Machine
    agent: GuestAgent | None
    hooks: Hooks | None

    async def gather(self, *work: Awaitable[Any]) -> list[Any]:
        """Do these side by side where the host can, and return all results in order.

        Waits for all of them even when one fails, then raises the first error: nothing goes on unseen.
        """

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run one coroutine to its end, bringing whatever drives this host's waiting."""


def drive(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine whose awaits never wait for anything outside, without an event loop.

    The simulator's ports yield once at each effect, so that a scheduler can come between; here nobody does.
    """
    try:
        while True:
            work.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
