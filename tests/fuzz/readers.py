"""Everything that reads text or bytes of others, by name; the order is the byte that chooses it in an input."""

from collections.abc import Callable

from simulator.core.unmodelled import NotModelled
from simulator.qemu.wire import Stream
from xensnap.engine import journal, plan, state
from xensnap.formats import (
    archive,
    disk_spec,
    domain_toml,
    libvirt_xml,
    libxl_json,
    qcow2,
    record_2014,
    savefile,
    snapshot_cfg,
    snapshot_record,
    trashed,
    xl_cfg,
)
from xensnap.model import DomainUuid

UUID = DomainUuid("0" * 36)


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _qmp(data: bytes) -> None:
    """What a client sends to a monitor, in two pieces as a socket may cut it."""
    stream, _ = Stream().fed(data[: len(data) // 2])
    try:
        stream.fed(data[len(data) // 2 :])
    except NotModelled:
        return


def _archive(data: bytes) -> None:
    manifest = archive.decode(data, path="x")
    archive.length_bytes(archive.places(manifest, len(data)))


READERS: dict[str, Callable[[bytes], object]] = {
    "state": lambda data: state.decode(data, path="x"),
    "record": lambda data: snapshot_record.decode(data, path="x"),
    "trashed": lambda data: trashed.decode(data, path="x"),
    "plan": lambda data: plan.decode(data, path="x"),
    "journal": lambda data: (journal.decode(data), journal.due(data)),
    "toml": lambda data: domain_toml.parse(_text(data), source="x", fresh_uuid="0" * 36),
    "save file": lambda data: (savefile.length(data, path="x"), savefile.parse(data, path="x")),
    "libxl": lambda data: libxl_json.disks(libxl_json.parse(data, source="x")),
    "xl list": lambda data: libxl_json.parse_list(data, source="x"),
    "qcow2": lambda data: qcow2.parse_header(data, "x"),
    "xl.cfg": lambda data: xl_cfg.parse(_text(data), source="x"),
    "disk": lambda data: disk_spec.parse(_text(data), source="x"),
    "snapshot.cfg": lambda data: snapshot_cfg.parse(_text(data), source="x", uuid=UUID),
    "libvirt XML": lambda data: libvirt_xml.parse(data, source="x"),
    "record of 2014": lambda data: record_2014.parse(data, source="x"),
    "archive": lambda data: archive.manifest_bytes(data, path="x"),
    "manifest": _archive,
    "QMP": _qmp,
}
