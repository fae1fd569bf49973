"""libvirt's `<domainsnapshot>`: our snapshots as virsh shows its own, and virsh's as ours. Pure.

    <domainsnapshot>
      <name>before-update</name>
      <state>running</state>
      <parent><name>installed</name></parent>
      <creationTime>1403522755</creationTime>
      <memory snapshot='external' file='/…/before-update.save'/>
      <disks>
        <disk name='xvda' snapshot='internal'/>
        <disk name='xvdb' snapshot='external' type='file'>
          <driver type='qcow2'/><source file='/images/xvdb.after.qcow2'/>
        </disk>
      </disks>
      <domain><uuid>…</uuid></domain>
    </domainsnapshot>

What is written is valid by libvirt's own schema (domainsnapshot.rng, libvirt 9.0.0). libvirt calls a tag in an image
like the snapshot; where ours is called differently, `<cookie>`, which libvirt leaves to its users, tells so.
"""

import re
from typing import Any
from xml.etree.ElementTree import Element, ParseError, SubElement, indent, tostring

import msgspec
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from xensnap.errors import Usage
from xensnap.model import Consistency, Kind, RunState, Snapshot

BYTES_MAX = 4 << 20
"""libvirt puts the whole domain into each snapshot, which makes some kilobytes."""

_STATES = {
    RunState.OFF: "shutoff",
    RunState.RUNNING: "running",
    RunState.PAUSED: "paused",
    RunState.SUSPENDED: "paused",
    RunState.SHUTDOWN: "shutdown",
    RunState.CRASHED: "crashed",
    RunState.DYING: "shutdown",
}
_READ = {
    "shutoff": RunState.OFF,
    "running": RunState.RUNNING,
    "blocked": RunState.RUNNING,
    "paused": RunState.PAUSED,
    "shutdown": RunState.SHUTDOWN,
    "crashed": RunState.CRASHED,
    "disk-snapshot": RunState.RUNNING,
}
_DISKS_OF_A_RUNNING_GUEST = "disk-snapshot"
_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Bad(msgspec.Struct, frozen=True):
    """Makes errors about one kind of file."""

    id: str
    remedy: str

    def __call__(self, source: str, what: str) -> Usage:
        """The error."""
        return Usage(f"{source}: {what}", id=self.id, remedy=self.remedy)


_BAD_SNAPSHOT = Bad(id="bad-snapshot-xml", remedy="`virsh snapshot-dumpxml DOMAIN NAME` prints what is wanted here.")
_BAD_DOMAIN = Bad(id="bad-domain-xml", remedy="`virsh dumpxml DOMAIN` prints what is wanted here.")


class XmlDisk(msgspec.Struct, frozen=True):
    """One disk. `name` is its target, or the path of its image; `kind` None is a disk that was left out."""

    name: str
    kind: Kind | None
    overlay: str = ""
    format: str = ""
    tag: str = ""


class XmlSnapshot(msgspec.Struct, frozen=True):
    """What the XML says. `memory` is no, internal (within an image, as only KVM guests have it) or a path."""

    name: str
    description: str
    creation_time_s: int | None
    state: RunState
    disks_only: bool
    parent: str | None
    memory: str
    disks: tuple[XmlDisk, ...]
    domain_uuid: str = ""
    domain_name: str = ""
    active: bool = False


def dump(snapshot: Snapshot, *, domain: bytes = b"", source: str = "the domain's XML") -> str:
    """The XML of a snapshot. Characters of its description that no XML can hold are replaced by `\ufffd`.

    Args:
        snapshot: what to tell of.
        domain: the domain as `virsh dumpxml` prints it, which libvirt wants to have with a snapshot that it takes over.
        source: where that comes from, for the messages.

    Raises:
        Usage: id `bad-domain-xml`: the domain is no XML, or another domain's.
    """
    root = Element("domainsnapshot")
    _text(root, "name", snapshot.name)
    if snapshot.description:
        _text(root, "description", snapshot.description)
    running = snapshot.consistency in {Consistency.CRASH, Consistency.QUIESCED}
    _text(root, "state", _DISKS_OF_A_RUNNING_GUEST if running else _STATES[snapshot.state])
    if snapshot.parent is not None:
        _text(SubElement(root, "parent"), "name", snapshot.parent)
    _text(root, "creationTime", str(snapshot.creation_time_s))
    if snapshot.memory:
        SubElement(root, "memory", snapshot="external", file=snapshot.memory)
    else:
        SubElement(root, "memory", snapshot="no")
    disks = SubElement(root, "disks")
    for disk in snapshot.disks:
        if disk.overlay is None:
            SubElement(disks, "disk", name=disk.vdev, snapshot="internal")
            continue
        external = SubElement(disks, "disk", name=disk.vdev, snapshot="external", type="file")
        SubElement(external, "driver", type=disk.overlay.format.value)
        SubElement(external, "source", file=disk.overlay.path)
    for left in snapshot.excluded:
        SubElement(disks, "disk", name=left.vdev, snapshot="no")
    if domain:
        root.append(_domain(domain, snapshot.domain_uuid, source))
    else:
        _text(SubElement(root, "domain"), "uuid", snapshot.domain_uuid)
    _add_tags(root, snapshot)
    indent(root)
    return tostring(root, encoding="unicode") + "\n"


def _add_tags(root: Element, snapshot: Snapshot) -> None:
    others = [disk for disk in snapshot.disks if disk.kind is Kind.INTERNAL and disk.tag != snapshot.name]
    if others:
        cookie = SubElement(SubElement(root, "cookie"), "xensnap")
        for disk in others:
            SubElement(cookie, "tag", disk=disk.vdev).text = _clean(disk.tag)


def _text(parent: Element, name: str, text: str) -> None:
    SubElement(parent, name).text = _clean(text)


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


def parse(data: bytes, *, source: str) -> XmlSnapshot:
    """Read a snapshot, as `virsh snapshot-dumpxml` prints it.

    Args:
        data: the XML, in the encoding that it names.
        source: where it comes from, for the messages.

    Raises:
        Usage: id `bad-snapshot-xml`: no XML, XML with a document type or entities, or no snapshot.
    """
    return _snapshot(_root(data, "domainsnapshot", source, _BAD_SNAPSHOT), source)


def _domain(data: bytes, uuid: str, source: str) -> Any:
    domain = _root(data, "domain", source, _BAD_DOMAIN)
    told = _found(domain, "uuid").strip().lower()
    if told != uuid:
        raise _BAD_DOMAIN(source, f"it is about the domain {told!r}, and the snapshot is of {uuid}")
    return domain


def _root(data: bytes, tag: str, source: str, bad: Bad) -> Any:
    if len(data) > BYTES_MAX:
        raise bad(source, f"{len(data)} bytes are no <{tag}>")
    try:
        root = fromstring(data, forbid_dtd=True)
    except DefusedXmlException as error:
        raise bad(source, "a document type or entities are not read, because nobody needs them here") from error
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise bad(source, f"no XML: {error}") from error
    if root.tag != tag:
        raise bad(source, f"the root is <{root.tag}>, and not <{tag}>")
    return root


def _snapshot(root: Any, source: str) -> XmlSnapshot:
    name = _found(root, "name")
    if not name:
        raise _BAD_SNAPSHOT(source, "the snapshot has no <name>")
    state = _found(root, "state").strip() or "shutoff"
    if state not in _READ:
        raise _BAD_SNAPSHOT(source, f"unknown <state> {state!r}")
    created = _found(root, "creationTime").strip()
    if created and not re.fullmatch(r"[0-9]{1,18}", created):
        raise _BAD_SNAPSHOT(source, f"<creationTime> {created!r} is no epoch second")
    memory = root.find("memory")
    tags = {tag.get("disk", ""): tag.text or "" for tag in root.findall("cookie/xensnap/tag")}
    return XmlSnapshot(
        name=name,
        description=_found(root, "description"),
        creation_time_s=int(created) if created else None,
        state=_READ[state],
        disks_only=state == _DISKS_OF_A_RUNNING_GUEST,
        parent=_found(root, "parent/name") or None,
        memory="no" if memory is None else memory.get("file") or memory.get("snapshot") or "no",
        disks=tuple(_disk(disk, tags, name, source) for disk in root.findall("disks/disk")),
        domain_uuid=_found(root, "domain/uuid").strip().lower(),
        domain_name=_found(root, "domain/name"),
        active=_found(root, "active").strip() == "1",
    )


def _disk(disk: Any, tags: dict[str, str], snapshot: str, source: str) -> XmlDisk:
    name = disk.get("name") or ""
    if not name:
        raise _BAD_SNAPSHOT(source, "a <disk> has no name")
    overlay, driver = disk.find("source"), disk.find("driver")
    file = "" if overlay is None else overlay.get("file") or overlay.get("dev") or ""
    match disk.get("snapshot") or ("external" if file else ""):
        case "no" | "manual":
            return XmlDisk(name, None)
        case "internal":
            return XmlDisk(name, Kind.INTERNAL, tag=tags.get(name, snapshot))
        case "external" if file:
            return XmlDisk(name, Kind.EXTERNAL, file, "" if driver is None else driver.get("type") or "")
        case "external":
            raise _BAD_SNAPSHOT(source, f"the disk {name} is external, and no <source file=…> says where it went on")
        case other:
            raise _BAD_SNAPSHOT(source, f"the disk {name} has an unknown kind of snapshot: {other!r}")


def _found(root: Any, path: str) -> str:
    return str(root.findtext(path) or "")
