"""The record of one snapshot as text: libxl-json with the names of the 2014 design and our additions.

Pure: text in, value out. Keys that this version does not know survive a rewrite; a key of the wrong type is an error
that names its JSON path, because libxl's own habit of treating it as missing loses data silently.
"""

import json
from functools import lru_cache
from typing import Any, Literal, cast

import msgspec
from msgspec.structs import replace

from xensnap.errors import Damaged, Usage
from xensnap.formats import record_2014
from xensnap.formats.device_disk import DiskBackend
from xensnap.model import (
    Consistency,
    DiskSnapshot,
    DomainUuid,
    Excluded,
    Fingerprint,
    Format,
    Kind,
    Layer,
    Pin,
    RunState,
    Snapshot,
)

SCHEMA = 1

OF_2014 = "it is a record of the implementation of 2014, which does not tell its domain"
"""Why a record is refused that is healthy, but whoever wrote it knew less than is needed."""

CACHED_MAX = 8192
"""How many records are kept decoded, for whoever works on one host for long. A record takes a few kilobytes."""


CONFIGS_MAX = 64
"""Of how many configurations it is remembered what they are."""


class _Device(msgspec.Struct, frozen=True, omit_defaults=True):
    """`libxl_device_disk`, as much of it as attaching the disk takes; what else a file says of it survives."""

    pdev_path: str
    vdev: str
    format: Format
    backend: DiskBackend = "unknown"
    readwrite: int = 0


class _Fingerprint(msgspec.Struct, frozen=True, omit_defaults=True):
    snapshot_id: str = ""
    date_s: int = 0
    date_ns: int = 0
    inode: int = 0
    file_length_bytes: int = 0
    backing: str = ""


class _Disk(msgspec.Struct, frozen=True):
    device: str
    name: str
    type: Kind
    format: str
    file: str
    path: str
    size: int
    before: _Device
    fingerprint: _Fingerprint
    after: _Device | None = None


class _Excluded(msgspec.Struct, frozen=True):
    device: str
    reason: str


class _Pin(msgspec.Struct, frozen=True):
    owner: str
    since: int
    until: int
    why: str


class _Record(msgspec.Struct, frozen=True):
    schema: int
    name: str
    description: str
    creation_time: int
    domain_uuid: str
    domain_name: str
    parent: str | None
    type: str
    consistency: Consistency
    live: bool
    save_memory: bool
    memory: str
    state: RunState
    running: bool
    blocked: bool
    paused: bool
    shutdown: bool
    dying: bool
    disks: list[_Disk]
    excluded: list[_Excluded]
    domain_config: str | dict[str, Any]
    pin: _Pin | None = None
    memory_size: int = 0


_DECODER = msgspec.json.Decoder(_Record)


def encode(snapshot: Snapshot) -> bytes:
    """The record's text: pretty, four spaces, as libxl writes its own JSON."""
    record: Any = _to_record(snapshot)
    if snapshot.extra_json:
        record = _merge(json.loads(snapshot.extra_json), msgspec.to_builtins(record))
    return msgspec.json.format(msgspec.json.encode(record), indent=4) + b"\n"


@lru_cache(maxsize=CACHED_MAX)
def decode(text: bytes, *, path: str) -> Snapshot:
    """Read a record. The same text is decoded once: an operation reads every record several times.

    Args:
        text: the file's content.
        path: where it came from, for errors.

    Raises:
        Damaged: not JSON, a key missing or of the wrong type (with its JSON path), or a schema from the future.
    """
    try:
        record = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if _is_of_2014(text):
            remedy = "Move it out of the store: `xensnap import-xml` takes it in."
            raise Damaged(f"{path}: {OF_2014}", path=path, remedy=remedy) from error
        raise Damaged(f"{path}: {error}", path=path, remedy="Restore the record from its sidecar copy.") from error
    if record.schema != SCHEMA:
        raise Damaged(
            f"{path}: schema {record.schema} - at `$.schema`; this version reads {SCHEMA}",
            path=path,
            remedy="Use the xensnap version that wrote it.",
        )
    snapshot = _from_record(record, extra_json="")
    if msgspec.json.encode(record) == msgspec.json.format(text, indent=-1):
        return snapshot  # written by us, as nearly all are: no need to look for keys that we do not know
    try:
        raw = msgspec.json.decode(text)  # what stands under keys that we do not know was not looked at yet
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"{path}: {error}", path=path, remedy="Restore the record from its sidecar copy.") from error
    return snapshot if _same_keys(raw, msgspec.to_builtins(record)) else replace(snapshot, extra_json=json.dumps(raw))


def _is_of_2014(text: bytes) -> bool:
    """Whether a text that is no record of ours is one of the implementation of 2014."""
    try:
        raw = msgspec.json.decode(text)
        record_2014.parse(text, source="")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Usage):
        return False
    return "schema" not in raw


KindWord = Literal["internal", "external", "mixed", "none"]


def kind_word(snapshot: Snapshot) -> KindWord:
    """`internal`, `external`, `mixed`, or `none` for a snapshot without disks."""
    if len(snapshot.kinds) > 1:
        return "mixed"
    return next((kind.value for kind in snapshot.kinds), "none")


def _to_record(snapshot: Snapshot) -> _Record:
    state = snapshot.state
    return _Record(
        schema=SCHEMA,
        name=snapshot.name,
        description=snapshot.description,
        creation_time=snapshot.creation_time_s,
        domain_uuid=snapshot.domain_uuid,
        domain_name=snapshot.domain_name,
        parent=snapshot.parent,
        type=kind_word(snapshot),
        consistency=snapshot.consistency,
        live=snapshot.live,
        save_memory=bool(snapshot.memory),
        memory=snapshot.memory,
        state=state,
        running=state is RunState.RUNNING,
        blocked=False,
        paused=state is RunState.PAUSED,
        shutdown=state is RunState.SHUTDOWN,
        dying=state is RunState.DYING,
        disks=[_to_disk(disk) for disk in snapshot.disks],
        excluded=[_Excluded(excluded.vdev, excluded.reason) for excluded in snapshot.excluded],
        domain_config=_config(snapshot.domain_config),
        pin=_Pin(snapshot.pin.owner, snapshot.pin.since_s, snapshot.pin.until_s, snapshot.pin.why)
        if snapshot.pin
        else None,
        memory_size=snapshot.memory_bytes,
    )


def _to_disk(disk: DiskSnapshot) -> _Disk:
    print_ = disk.fingerprint
    return _Disk(
        device=disk.vdev,
        name=disk.tag,
        type=disk.kind,
        format=disk.overlay.format if disk.overlay else "unknown",
        file=disk.overlay.path if disk.overlay else "",
        path="",  # the seed: hidden from users, blank when stored; `before` has it
        size=disk.size_bytes,
        before=_device_of(disk.image, disk.vdev),
        after=_device_of(disk.overlay, disk.vdev) if disk.overlay else None,
        fingerprint=_Fingerprint(
            print_.snapshot_id, print_.date_s, print_.date_ns, print_.inode, print_.file_length_bytes, print_.backing
        ),
    )


def _device_of(layer: Layer, vdev: str) -> _Device:
    """What to attach, whole: a snapshot covers only disks that are QEMU's and that the guest may write to."""
    return _Device(layer.path, vdev, layer.format, "qdisk", 1)


@lru_cache(maxsize=CONFIGS_MAX)
def _config(text: str) -> str | dict[str, Any]:
    """The domain's configuration as the object that it is where it is libxl's JSON, and else as it is written.

    The same text is looked at once, since it hardly ever changes; nobody changes what is returned.
    """
    if text.startswith("{"):
        try:
            config = msgspec.json.decode(text)  # strict, where Python's own takes `NaN` for a number
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return text
        if isinstance(config, dict) and _config_text(config) == text:
            return config
    return text


def _config_text(config: str | dict[str, Any]) -> str:
    return config if isinstance(config, str) else json.dumps(config, indent=4, ensure_ascii=False)


def _from_record(record: _Record, *, extra_json: str) -> Snapshot:
    return Snapshot(
        name=record.name,
        domain_uuid=DomainUuid(record.domain_uuid),
        domain_name=record.domain_name,
        creation_time_s=record.creation_time,
        state=record.state,
        consistency=record.consistency,
        disks=tuple(_from_disk(disk) for disk in record.disks),
        parent=record.parent,
        description=record.description,
        memory=record.memory,
        memory_bytes=record.memory_size,
        live=record.live,
        excluded=tuple(Excluded(excluded.device, excluded.reason) for excluded in record.excluded),
        domain_config=_config_text(record.domain_config),
        pin=Pin(record.pin.owner, record.pin.since, record.pin.until, record.pin.why) if record.pin else None,
        extra_json=extra_json,
    )


def _from_disk(disk: _Disk) -> DiskSnapshot:
    print_ = disk.fingerprint
    return DiskSnapshot(
        vdev=disk.device,
        kind=disk.type,
        image=Layer(disk.before.pdev_path, disk.before.format),
        size_bytes=disk.size,
        tag=disk.name,
        overlay=Layer(disk.after.pdev_path, disk.after.format) if disk.after else None,
        fingerprint=Fingerprint(
            print_.snapshot_id, print_.date_s, print_.date_ns, print_.inode, print_.file_length_bytes, print_.backing
        ),
    )


def _same_keys(raw: Any, known: Any) -> bool:
    """Whether the text holds no key that we would drop."""
    if isinstance(raw, dict) and isinstance(known, dict):
        return all(key in known and _same_keys(value, known[key]) for key, value in raw.items())
    if isinstance(raw, list) and isinstance(known, list):
        return all(_same_keys(one, other) for one, other in zip(raw, known, strict=False))
    return True


def _merge(raw: Any, known: Any) -> Any:
    """What is known now, over what stood there before; list members belong together by their `device`."""
    if isinstance(raw, dict) and isinstance(known, dict):
        return {**raw, **{key: _merge(raw.get(key), value) for key, value in known.items()}}
    if isinstance(raw, list) and isinstance(known, list):
        before = {_device(item): item for item in raw}
        return [_merge(before.get(_device(item)), item) for item in known]
    return known


def _device(item: Any) -> Any:
    return cast("dict[str, Any]", item).get("device") if isinstance(item, dict) else item
