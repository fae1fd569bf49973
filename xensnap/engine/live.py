"""What a snapshot of a running domain needs besides its disks: pure decisions about memory and the one moment."""

from collections.abc import Iterator, Mapping

from xensnap.engine import names, trust
from xensnap.engine.context import directory
from xensnap.engine.live_steps import (
    Checkpoint,
    EndDomain,
    LetRun,
    Point,
    RemoveMemory,
    RestoreMemory,
    SaveAway,
    StartDomain,
    TakePoints,
)
from xensnap.engine.overlay_steps import LayerOf
from xensnap.engine.quiet_steps import TakeQuietPoints
from xensnap.engine.records import Store
from xensnap.engine.request import CreateRequest, Fresh, Quiesce
from xensnap.engine.steps import Step
from xensnap.engine.view import View
from xensnap.errors import ExitCode, Reason
from xensnap.hypervisor import Capability, Then
from xensnap.model import Consistency, Layer, RunState, Snapshot

HAS_MEMORY = (RunState.RUNNING, RunState.PAUSED)
"""States in which a guest has a memory that could be saved."""


def wants_memory(view: View, request: CreateRequest) -> bool:
    """A guest that runs gives its memory, unless only the disks are wanted."""
    return view.domain.state in HAS_MEMORY and not request.disk_only


def no_paused_save(view: View) -> str:
    """Why this guest cannot be saved while it is paused; empty if it can."""
    if Capability.SAVE_PAUSED not in view.capabilities:
        return f"{view.host} cannot save a paused guest"
    return view.domain.no_paused_save


def no_live_save(view: View) -> str:
    """Why this guest cannot be saved while it runs; empty if it can."""
    if Capability.LIVE_SAVE not in view.capabilities:
        return f"{view.host} cannot save memory while the guest runs"
    return view.domain.no_live_save


def saves_live(view: View, request: CreateRequest) -> bool:
    """Whether the guest runs while its memory is copied: asked for, and it can."""
    return request.live and wants_memory(view, request) and not no_live_save(view)


def quiets(view: View, request: CreateRequest) -> Quiesce | None:
    """Whether the guest is asked to be quiet: one that gives its memory, or executes nothing, has no need to."""
    if request.quiesce is Quiesce.NEVER or wants_memory(view, request) or view.domain.state is not RunState.RUNNING:
        return None
    return request.quiesce if Capability.QUIESCE in view.capabilities else None


def grade(view: View, request: CreateRequest) -> Consistency:
    """What the snapshot promises to the software in the guest; that it was quiet is known only when it was."""
    if view.domain.state is RunState.OFF:
        return Consistency.CLEAN
    return Consistency.CHECKPOINT if wants_memory(view, request) else Consistency.CRASH


def memory_file(view: View, request: CreateRequest, store: Store, name: str) -> str:
    """Where the memory goes; empty where none is saved. A snapshot that was renamed keeps the file of its old name."""
    if not wants_memory(view, request):
        return ""
    if request.memory:
        place = request.memory.rstrip("/")
        is_directory = place != request.memory or place in view.free_bytes
        return f"{place}/{names.encode(name)}.save" if is_directory else place
    return free_in_store(view, store, name)


def free_in_store(view: View, store: Store, name: str) -> str:
    """A memory file in the store that nobody has: also none that is in the trash, was let go, or was left over."""
    taken = view.taken | view.stored | {snapshot.memory for snapshot in view.snapshots.values()}
    return names.free_memory(f"{store.directory}/{names.encode(name)}", taken)


def against(view: View, request: CreateRequest) -> Iterator[Reason]:
    """All that keeps this domain, as it is now, from being snapshotted like this."""
    state, name = view.domain.state, view.domain.name
    if state is RunState.OFF:
        if request.needs_memory:
            cause = f"{name} is off, and has no memory that could be saved"
            yield Reason("domain-is-off", cause, "Start it, or take its disks alone: --disk-only.")
        if request.then not in (Then.SAME, Then.STOPPED):
            yield Reason("domain-is-off", f"{name} is off, and a snapshot does not start it", "Leave out --then.")
        return
    if state not in HAS_MEMORY:
        yield Reason("domain-state", f"{name} is {state}", "Let it run, or destroy it, and try again.")
    memory = wants_memory(view, request)
    disks = "Take a disk snapshot: --disk-only."
    if memory and Capability.MEMORY not in view.capabilities:
        yield Reason("no-memory", f"{view.host} cannot save the memory of a guest", disks)
    if memory and state is RunState.PAUSED and (why := no_paused_save(view)):
        yield Reason("paused-guest", f"{name} is paused and cannot be saved: {why}", f"Unpause it. {disks}")
    if request.live and memory and (why := no_live_save(view)):
        yield Reason("no-live-save", f"{name} cannot be saved while it runs: {why}", "Leave out --live.")
    if request.max_downtime_s is not None:
        yield from _against_downtime(view, request)
    if not memory and (request.live or request.then is not Then.SAME):
        yield Reason("needs-memory", "a disk snapshot never stops the guest", "Leave out --live and --then.")
    if request.quiesce is Quiesce.REQUIRE and not quiets(view, request):
        yield _against_quiesce(view, memory=memory)


def _against_downtime(view: View, request: CreateRequest) -> Iterator[Reason]:
    if not request.live:
        cause = "only a guest whose memory is copied while it runs can be stopped at the right moment"
        yield Reason("needs-live", cause, "Use --live, too.", ExitCode.USAGE)
    elif wants_memory(view, request) and no_live_save(view):
        cause = f"{view.domain.name} would stand still for as long as its memory is written"
        yield Reason("no-downtime-limit", cause, "Leave out --max-downtime.")
    elif Capability.DOWNTIME_LIMIT not in view.capabilities:
        cause = f"on {view.host} nobody can say how long a guest may stand still"
        yield Reason("no-downtime-limit", cause, "Leave out --max-downtime.")


def _against_quiesce(view: View, *, memory: bool) -> Reason:
    if memory:
        cause = "a checkpoint holds what the guest has not written yet, so nothing has to be quiet"
        return Reason("quiesce-with-memory", cause, "Leave out --quiesce, or the memory: --disk-only.")
    if view.domain.state is not RunState.RUNNING:
        cause = f"{view.domain.name} is {view.domain.state}, and cannot make its file systems quiet"
        return Reason("cannot-quiesce", cause, "Let it run, or leave out --quiesce.")
    cause = f"{view.host} has no way to ask a guest to make its file systems quiet"
    return Reason("cannot-quiesce", cause, "Leave out --quiesce, or shut the guest down first.")


def against_memory_file(view: View, request: CreateRequest, store: Store, name: str) -> Iterator[Reason]:
    """Why the memory cannot go where it is wanted. What is there already is never written over."""
    path = memory_file(view, request, store, name) if request.memory else ""
    if not path:
        return
    place = directory(path)
    if path in view.taken or path in {snapshot.memory for snapshot in view.snapshots.values()}:
        yield Reason("memory-exists", f"{path} exists already", "Name a file that does not exist.")
    elif place not in view.free_bytes and place != store.directory:
        yield Reason("no-such-directory", f"there is no directory {place}", "Make it, or name another.")


def take(view: View, snapshot: Snapshot, request: CreateRequest) -> tuple[Step, ...]:
    """The step that takes the points of a guest that runs, with its memory or without."""
    if view.domain.state is RunState.OFF:
        return ()
    points = tuple(
        Point(disk.vdev, disk.image, disk.tag, disk.overlay.path if disk.overlay else "") for disk in snapshot.disks
    )
    if not snapshot.memory:
        if not (quiet := quiets(view, request)):
            return (TakePoints(points),)
        required = quiet is Quiesce.REQUIRE
        return (TakeQuietPoints(points, request.quiesce_timeout_s, required, view.domain.domid),)
    # A guest that shall end stands still until that is decided: until then it may have to go on.
    then = Then.PAUSED if request.then is Then.STOPPED else request.then
    return (Checkpoint(points, snapshot.memory, view.domain.state, then, snapshot.live, request.max_downtime_s),)


def end(snapshot: Snapshot, request: CreateRequest) -> tuple[Step, ...]:
    """The step that ends a guest whose memory is kept, if that is asked for."""
    return (EndDomain(),) if snapshot.memory and request.then is Then.STOPPED else ()


def against_revert(view: View, snapshot: Snapshot) -> Iterator[Reason]:
    """All that keeps a guest from coming back with its memory."""
    if not snapshot.memory:
        return
    if Capability.MEMORY not in view.capabilities:
        yield Reason("no-memory", f"{view.host} cannot restore the memory of a guest", "Revert on the host that can.")
    yield from against_memory(view, snapshot)
    if doubt := view.doubted.get(snapshot.name):
        cause = (
            f"whoever has written the memory of {snapshot.name!r} commands this host once it is restored, and {doubt}"
        )
        yield Reason("memory-not-trusted", cause, f"{trust.REMEDY} Or go back with the disks only: --disks-only.")
    for disk in view.domain.disks:
        if snapshot.disk(disk.vdev) is None and disk.path and not disk.readonly and not disk.cdrom:
            cause = f"{disk.vdev} is newer than the memory of {snapshot.name!r}, and old memory destroys what is on it"
            yield Reason("disk-not-covered", cause, f"Detach {disk.vdev} first.")


def against_memory(view: View, snapshot: Snapshot) -> Iterator[Reason]:
    """Why the memory that a record tells of cannot be had: it is gone, or not as long as it was when it was saved."""
    length = view.memories.get(snapshot.name, 0)
    if not snapshot.memory or length == snapshot.memory_bytes > 0:
        return
    where = f"the memory of {snapshot.name!r}, {snapshot.memory},"
    if not length:
        yield Reason("memory-missing", f"{where} is not there or empty", "Put the file back.")
    elif snapshot.memory_bytes:
        cause = f"{where} is {length} bytes long and was {snapshot.memory_bytes}"
        yield Reason(
            "memory-changed", cause, "Put it back from a backup, or go back with the disks only: --disks-only."
        )


def safety_file(view: View, fresh: Fresh) -> str:
    """Where the memory of a guest goes that a revert ends; empty where it has none that could be saved."""
    savable = view.domain.state is RunState.RUNNING or (
        view.domain.state is RunState.PAUSED and not no_paused_save(view)
    )
    if not savable or Capability.MEMORY not in view.capabilities:
        return ""
    return f"{view.root}/{view.domain.uuid}/safety-{fresh.operation[-12:]}.save"


def leave(view: View, fresh: Fresh) -> tuple[Step, ...]:
    """End the guest that runs, keeping its memory as the way back where that can be had."""
    if view.domain.state is RunState.OFF:
        return ()
    safety = safety_file(view, fresh)
    if not safety:
        return (EndDomain(remembered=True),)
    layers = tuple(LayerOf(disk.vdev, disk.layer) for disk in view.domain.disks if disk.path)
    return (SaveAway(safety, view.domain.state, layers),)


def is_lost(view: View, fresh: Fresh) -> bool:
    """Whether there is a guest that has to end without its memory being kept."""
    return view.domain.state is not RunState.OFF and not safety_file(view, fresh)


def lost_in_leaving(view: View, fresh: Fresh) -> Iterator[str]:
    """What a failure cannot bring back: a guest that has to end without its memory being kept."""
    if is_lost(view, fresh):
        why = no_paused_save(view) if view.domain.state is RunState.PAUSED else f"it is {view.domain.state}"
        yield f"the guest is ended before the revert is decided, and its memory cannot be kept: {why}"


def come_back(
    view: View, snapshot: Snapshot, fresh: Fresh, overlays: Mapping[str, Layer], configuration: str
) -> tuple[Step, ...]:
    """Restore the memory of the snapshot on the disks of the snapshot, standing still."""
    if not snapshot.memory:
        return ()
    layers = tuple(LayerOf(d.vdev, overlays.get(d.vdev, d.layer)) for d in view.domain.disks if d.path)
    return (RestoreMemory(snapshot.memory, layers, safety_file(view, fresh), configuration, is_lost(view, fresh)),)


def go_on(view: View, snapshot: Snapshot, then: Then, fresh: Fresh) -> tuple[Step, ...]:
    """What the guest does when all is decided, and then the way back goes."""
    if then is Then.SAME:
        then = {RunState.RUNNING: Then.RUNNING, RunState.PAUSED: Then.PAUSED}.get(snapshot.state, Then.STOPPED)
    steps: list[Step] = []
    if snapshot.memory:
        ending: dict[Then, Step] = {Then.RUNNING: LetRun(), Then.STOPPED: EndDomain()}
        steps += [ending[then]] if then in ending else []
    elif then in (Then.RUNNING, Then.PAUSED):
        steps.append(StartDomain(paused=then is Then.PAUSED))
    safety = safety_file(view, fresh)
    return (*steps, *((RemoveMemory(safety),) if safety else ()))
