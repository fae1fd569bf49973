"""Planning a new snapshot. Pure: a view, a request and a fresh operation id in, a plan or a refusal out."""

import posixpath
from collections.abc import Iterator

import msgspec

from xensnap.engine import disks, elsewhere, flags, live, names, risks, space
from xensnap.engine.context import directory
from xensnap.engine.disks import Covered
from xensnap.engine.opened import against_opened
from xensnap.engine.overlay_steps import LayerOf, MakeOverlay, ReuseOverlay, SwitchLayers
from xensnap.engine.plan import Plan
from xensnap.engine.planning import plan_for
from xensnap.engine.point_steps import TakePoint
from xensnap.engine.records import Store
from xensnap.engine.request import CreateRequest, Fresh
from xensnap.engine.state import OurFile
from xensnap.engine.steps import OneStep, Step, Together
from xensnap.engine.store_steps import WriteRecord, WriteSidecar
from xensnap.engine.view import Places, View, with_current
from xensnap.errors import ExitCode, Reason
from xensnap.hypervisor import Capability
from xensnap.model import Backing, DiskSnapshot, Domain, Format, Image, Kind, Layer, RunState, Snapshot

DEPTH_WARNING = 50
"""Layers from which on opening the chain is felt; `create -b` is quadratic in it (QEMU 7.2.22)."""


def plan_create(view: View, request: CreateRequest, fresh: Fresh) -> Plan:
    """Plan a snapshot.

    Args:
        view: what was observed.
        request: what is asked for.
        fresh: operation id and time.

    Raises:
        Refused: with every reason against it. Nothing was touched.
    """
    covered, excluded, reasons = disks.choose(view, request)
    name = request.name if request.name is not None else names.default_name(fresh.now_s, frozenset(view.snapshots))
    store = Store(f"{view.root}/{view.domain.uuid}")
    places = {disk.vdev: _overlay_path(disk, request, store, fresh) for disk in covered if disk.kind is Kind.EXTERNAL}
    memory = live.memory_file(view, request, store, name)
    needs = tuple(_needs(view, covered, places, request, memory))
    reasons = [
        *against_name(view, name),
        *against_running(view),
        *live.against(view, request),
        *live.against_memory_file(view, request, store, name),
        *against_opened(view, {d.vdev for d in view.domain.disks} - {left.vdev for left in excluded}),
        *reasons,
        *_against_places(view, covered, places, reuse=request.reuse_external),
        *space.against(view, needs),
        *flags.against(view, places),
    ]
    taken = risks.refuse(reasons, request.accept)
    frozen = flags.freeze(view, places, accepted=request.accept)

    snapshot = Snapshot(
        name=name,
        domain_uuid=view.domain.uuid,
        domain_name=view.domain.name,
        creation_time_s=fresh.now_s,
        state=view.domain.state,
        consistency=live.grade(view, request),
        disks=tuple(_disk_snapshot(disk, name, places) for disk in covered),
        parent=with_current(view),
        description=request.description,
        memory=memory,
        live=live.saves_live(view, request),
        excluded=tuple(excluded),
        domain_config=view.configuration,
    )
    sidecars = sidecar_paths(snapshot)
    made = [OurFile(path, "overlay") for path in places.values()] + [OurFile(path, "sidecar") for path in sidecars]
    if snapshot.memory and directory(snapshot.memory) != store.directory:
        made.append(OurFile(snapshot.memory, "memory"))
    return plan_for(
        view,
        fresh.operation,
        "create",
        f"create snapshot {name!r} of {view.domain.name}",
        snapshot=name,
        prepare=(
            *_prepare_disks(view, snapshot),
            *_switch(view, places),
            *live.take(view, snapshot, request),
            *frozen,
            WriteRecord(snapshot),
            *(WriteSidecar(path, snapshot) for path in sidecars),
        ),
        state=msgspec.structs.replace(
            view.state,
            current=name,
            ours=(*view.state.ours, *made),
        ),
        finish=live.end(snapshot, request),
        bytes_needed=space.bytes_of(needs),
        taken=taken.also(flags.risked(frozen)),
        warnings=(*flags.advice(view, _layers(places)), *_warnings(view)),
    )


def needed(view: View, request: CreateRequest, fresh: Fresh) -> tuple[space.Need, ...]:
    """What it takes to take a snapshot; arguments as of `plan_create`. What is against that is not looked for."""
    covered, _, _ = disks.choose(view, request)
    store = Store(f"{view.root}/{view.domain.uuid}")
    places = {disk.vdev: _overlay_path(disk, request, store, fresh) for disk in covered if disk.kind is Kind.EXTERNAL}
    memory = live.memory_file(view, request, store, request.name or "")
    return tuple(_needs(view, covered, places, request, memory))


def sidecar_paths(snapshot: Snapshot) -> tuple[str, ...]:
    """Where the copies of a snapshot's record stand: for each frozen image, beside its overlay."""
    return tuple(
        names.sidecar_file(disk.image.path, directory=directory(disk.overlay.path))
        for disk in snapshot.disks
        if disk.overlay
    )


def overlay_on(path: str, image: Image, vdev: str) -> MakeOverlay:
    """The step that makes an overlay of an image, of the same size."""
    return MakeOverlay(vdev, path, backing_for(path, image.layer), image.virtual_size_bytes)


def backing_for(overlay_path: str, below: Layer) -> Backing:
    """How an overlay names its backing file: relative within one directory, so that both can move, else absolute.

    A relative name with a colon would be taken for a protocol, so it gets a `./`.
    """
    if directory(overlay_path) != directory(below.path):
        return Backing(below.path, below.path, below.format)
    base = posixpath.basename(below.path)
    return Backing(f"./{base}" if ":" in base else base, below.path, below.format)


def _overlay_path(disk: Covered, request: CreateRequest, store: Store, fresh: Fresh) -> str:
    if disk.overlay_path:
        return disk.overlay_path
    beside = directory(disk.image.layer.path)
    place = request.external_dir or (store.directory if beside.startswith("/dev") else beside)
    return names.overlay_file(disk.image.layer.path, vdev=disk.vdev, operation=fresh.operation, directory=place)


def _disk_snapshot(disk: Covered, name: str, places: dict[str, str]) -> DiskSnapshot:
    internal = disk.kind is Kind.INTERNAL
    return DiskSnapshot(
        vdev=disk.vdev,
        kind=disk.kind,
        image=disk.image.layer,
        size_bytes=disk.image.virtual_size_bytes,
        tag=names.free_tag(name, frozenset(entry.tag for entry in disk.image.snapshots)) if internal else "",
        overlay=None if internal else Layer(places[disk.vdev], Format.QCOW2),
    )


def _prepare_disks(view: View, snapshot: Snapshot) -> tuple[Step, ...]:
    """Overlays are made beforehand; tags in images are put there by whoever has them open."""
    steps: list[OneStep] = [
        (ReuseOverlay if disk.overlay.path in view.taken else MakeOverlay)(
            disk.vdev, disk.overlay.path, backing_for(disk.overlay.path, disk.image), disk.size_bytes
        )
        for disk in snapshot.disks
        if disk.overlay
    ]
    if view.domain.state is RunState.OFF:
        steps += [TakePoint(d.vdev, d.image.path, d.tag) for d in snapshot.disks if d.kind is Kind.INTERNAL]
    return (Together(tuple(steps)),) if steps else ()


def _switch(view: View, places: dict[str, str]) -> tuple[Step, ...]:
    """The empty overlays read as their bases, so the domain may start from them at every instant from now on."""
    if not places:
        return ()
    before = tuple(LayerOf(disk.vdev, disk.layer) for disk in view.domain.disks if disk.vdev in places)
    after = tuple(LayerOf(vdev, Layer(path, Format.QCOW2)) for vdev, path in places.items())
    return (SwitchLayers(view.domain.uuid, before, after),)


def _layers(places: dict[str, str]) -> dict[str, Layer]:
    return {vdev: Layer(path, Format.QCOW2) for vdev, path in places.items()}


def against_name(view: View, name: str) -> list[Reason]:
    """All that keeps a snapshot from having this name."""
    bad = names.problem(name)
    if bad:
        return [bad]
    record = Store(f"{view.root}/{view.domain.uuid}").record(name)
    if record in view.damaged_paths:
        cause = f"there is a record of a snapshot {name!r} already, which cannot be read: {record}"
        return [Reason("name-taken", cause, "Choose another name, or repair or remove the record.", ExitCode.BUSY)]
    if name in view.trashed:
        cause = f"there is a snapshot {name!r} of {view.domain.name} in the trash"
        return [Reason("name-taken", cause, "Choose another name, or empty the trash.", ExitCode.BUSY)]
    if name not in view.snapshots:
        return []
    cause = f"{view.domain.name} has a snapshot {name!r} already"
    return [Reason("name-taken", cause, "Choose another name, or delete the old one first.", ExitCode.BUSY)]


def against_running(view: View) -> list[Reason]:
    """A domain that runs needs a host that can work with it."""
    if view.domain.state is RunState.OFF or Capability.RUNNING in view.capabilities:
        return []
    cause = f"{view.domain.name} is {view.domain.state}, and {view.host} can only work on domains that are off"
    return [Reason("domain-is-on", cause, "Shut it down first.")]


def places_of(request: CreateRequest) -> Places:
    """Where the request wants new files, to be looked at before planning."""
    files = {choice.path for choice in request.disks.values() if choice.path}
    directories = {request.external_dir} - {""}
    memory = request.memory.rstrip("/")
    if memory:
        files.add(memory)
        directories.add(memory)
    return Places(frozenset(files), frozenset(directories), frozenset({memory} - {""}))


def _against_places(view: View, covered: list[Covered], places: dict[str, str], *, reuse: bool) -> Iterator[Reason]:
    below = {disk.vdev: disk.image for disk in covered}
    for vdev, path in places.items():
        place = directory(path)
        if path in view.taken and not reuse:
            remedy = "Name a file that does not exist, or use it with --reuse-external if it is an empty overlay."
            yield Reason("overlay-exists", f"{vdev}: {path} exists already", remedy)
        elif path in view.taken:
            wrong = _wrong_with(view, path, below[vdev])
            if wrong:
                remedy = f"Make it with `qemu-img create -f qcow2 -F FORMAT -b {below[vdev].layer.path}`."
                yield Reason("overlay-not-usable", f"{vdev}: {path} cannot be gone on in: {wrong}", remedy)
        elif place not in view.free_bytes and place != f"{view.root}/{view.domain.uuid}":
            yield Reason("no-such-directory", f"{vdev}: there is no directory {place}", "Make it, or name another.")


def _wrong_with(view: View, path: str, below: Image) -> str:
    """Why an overlay that exists cannot be used on this image; empty if it can."""
    overlay = view.prepared.get(path)
    if overlay is None:
        return "it is no qcow2 image, or not an empty one"
    if overlay.file in view.reached or any(image and image.file == overlay.file for image in view.images.values()):
        return "it is used already"
    if overlay.backing is None or overlay.backing.path != below.layer.path:
        return f"it stands on {overlay.backing.path if overlay.backing else 'nothing'}"
    if overlay.backing.format is not below.layer.format:
        return f"it takes its backing file for {overlay.backing.format or 'no known format'}"
    if overlay.virtual_size_bytes != below.virtual_size_bytes:
        return f"its size is {overlay.virtual_size_bytes} bytes, and the disk's {below.virtual_size_bytes}"
    return ""


def _needs(
    view: View, covered: list[Covered], places: dict[str, str], request: CreateRequest, memory: str
) -> Iterator[space.Need]:
    """What it writes: tables for each disk, and the memory of a guest that gives it."""
    for disk in covered:
        path = places.get(disk.vdev, disk.image.layer.path)
        tagged = None if disk.vdev in places else disk.image
        yield space.for_tables(path, disk.image.virtual_size_bytes, disk.vdev, tagged)
    if live.wants_memory(view, request):
        yield from space.for_memory(view, memory)


def _warnings(view: View) -> tuple[str, ...]:
    deep = [
        f"{disk.disk.vdev}: its chain has {len(disk.chain.images)} layers; deleting snapshots makes it shorter"
        for disk in view.disks
        if disk.chain and len(disk.chain.images) > DEPTH_WARNING
    ]
    damaged = (f"a record cannot be read: {cause}" for cause in view.damaged)
    halted = [f"{view.domain.name} stands still: {view.domain.halted}"] if view.domain.halted else []
    return (*halted, *deep, *elsewhere.on_create(view.configuration), *_not_pinned(view.domain), *damaged)


def _not_pinned(domain: Domain) -> Iterator[str]:
    """Its snapshots stay under the UUID of the first; with a new name, too, it would be a stranger."""
    if domain.uuid_not_pinned:
        where = domain.described_in or "the file that it is started from"
        yield (
            f"uuid-not-pinned: {domain.name} gets a new UUID at each start, and is known by its name and images alone; "
            f'put this into {where}: uuid = "{domain.uuid}"'
        )
