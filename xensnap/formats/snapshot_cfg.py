"""xl.snapshot.cfg(5): what a snapshot should be, as the 2014 design writes it down. Pure.

    name = "before-update"
    description = "the day before"
    memory = "yes"                                   # or a file; absent or "no": disks only
    type = "internal"                                # of disks that do not say it themselves
    disk = [ 'hda',                                  # internal: no target
             'format=qcow2,vdev=hdb,target=/images/hdb-after.qcow2' ]    # external: the overlay

The syntax is that of xl.cfg(5), a disk is an xl disk specification. The documents contradict themselves in places, and
changed from one version to the next; every form that one of them shows is read. What is out of date, superfluous or
unknown is told in `warnings`.
"""

import difflib
import posixpath
import re
from collections.abc import Callable
from typing import TypeVar

import msgspec

from xensnap.errors import Usage, XensnapError
from xensnap.formats import disk_spec, xl_cfg
from xensnap.formats.device_disk import DeviceDisk, device_number, same_device
from xensnap.formats.xl_cfg import Config
from xensnap.model import DomainUuid, Kind

T = TypeVar("T")

KEYS = ("name", "description", "creationtime", "memory", "type", "live", "disk_only", "disk")
OTHER_NAMES = {"save": "memory", "disks": "disk"}
"""Keys of other versions: both examples say `save`, and the last version `disks`."""

YES_OR_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_NO_TARGET = ("", "null")
_OLD_FORM = re.compile(r"(?P<vdev>[a-z0-9]+)=(?P<path>/[^,]*)(?:,type=(?P<format>[a-z0-9]+))?")
"""`hda=/images/over.qcow2,type=qcow2`: how the examples write a disk, and what no xl has ever read."""


class ConfigDisk(msgspec.Struct, frozen=True):
    """One disk as the file has it. `path` is the overlay; empty where the snapshot is kept inside the image."""

    vdev: str
    path: str = ""

    @property
    def kind(self) -> Kind:
        """Internal or external: the one that has no overlay, and the one that has."""
        return Kind.EXTERNAL if self.path else Kind.INTERNAL


class SnapshotConfig(msgspec.Struct, frozen=True):
    """A file that was read.

    `memory` None is a file that says nothing of it, which asks for the disks only, as does False. `memory_path` is
    empty for the usual place, and ends with a slash for a directory. `disks` None is a file that names none: all.
    """

    source: str
    name: str | None = None
    description: str | None = None
    memory: bool | None = None
    memory_path: str = ""
    kind: Kind | None = None
    live: bool | None = None
    disk_only: bool | None = None
    disks: tuple[ConfigDisk, ...] | None = None
    warnings: tuple[str, ...] = ()


def parse(text: str, *, source: str, uuid: DomainUuid) -> SnapshotConfig:
    """Read a snapshot's configuration.

    Args:
        text: the file's content.
        source: its name, for the messages.
        uuid: of the domain, which `<domain_uuid>` and `UUID` in paths stand for.

    Raises:
        Usage: with all that is wrong, one on each line.
    """
    _require_right_kind(text, source)
    return _Reading(xl_cfg.parse(text, source=source), uuid).result()


_PRINTED = re.compile(r'\s*\{\s*"schema":\s*"xensnap-')
"""How a document of ours begins."""


def _require_right_kind(text: str, source: str) -> None:
    begin = text.lstrip("\ufeff \t\r\n")[:1]
    if begin == "{":
        cause = f"{source} is the record of a snapshot, and not the configuration of a new one"
        remedy = f"`xensnap import-xml DOMAIN {source}` records a snapshot that its images hold."
        if _PRINTED.match(text):
            cause = f"{source} is what --json has printed, and not the configuration of a snapshot"
            remedy = "`xensnap create --print-config` writes a configuration."
        raise Usage(cause, id="config-is-record", remedy=remedy)
    if begin == "<":
        cause = f"{source} is XML, as libvirt writes it, and not a snapshot's configuration"
        raise Usage(cause, id="config-is-xml", remedy="See `xensnap import-xml --help`.")


class _Reading:
    """The keys one after the other; mistakes are collected, so that all are told at once."""

    def __init__(self, config: Config, uuid: DomainUuid) -> None:
        self.config = config
        self.uuid = uuid
        self.warnings = list(config.warnings)
        self.mistakes: list[str] = []

    def result(self) -> SnapshotConfig:
        """All that the file says."""
        self._look_at_keys()
        name = self._tried(lambda: self.config.string("name"), None)
        description = self._tried(lambda: self.config.string("description"), None)
        nothing: tuple[bool | None, str] = (None, "")
        memory, memory_path = self._tried(self._memory, nothing)
        found = SnapshotConfig(
            source=self.config.source,
            name=name,
            description=description,
            memory=memory,
            memory_path=memory_path,
            kind=self._tried(self._kind, None),
            live=self._tried(lambda: self._truth("live"), None),
            disk_only=self._tried(lambda: self._truth("disk_only"), None),
            disks=self._tried(self._disks, None),
        )
        if found.disk_only and found.memory:
            self.mistakes.append(f"{found.source}: `disk_only' and `memory' contradict each other")
        if self.mistakes:
            remedy = "What each key means is in xl.snapshot.cfg(5)."
            raise Usage("\n".join(self.mistakes), id="bad-snapshot-config", remedy=remedy)
        return msgspec.structs.replace(found, warnings=tuple(self.warnings))

    def _tried(self, read: Callable[[], T], otherwise: T) -> T:
        try:
            return read()
        except XensnapError as error:
            self.mistakes.append(error.cause)
            return otherwise

    def _where(self, key: str) -> str:
        return f"{self.config.source}:{self.config.settings[key].line}"

    def _look_at_keys(self) -> None:
        for key in self.config.settings:
            if key in OTHER_NAMES:
                self.warnings.append(f"{self._where(key)}: `{key}' is out of date, write `{OTHER_NAMES[key]}'")
            elif key == "creationtime":
                cause = "`creationtime' is ignored, because a snapshot is of the moment when it is taken"
                self.warnings.append(f"{self._where(key)}: {cause}")
            elif key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, n=1)
                hint = f"; did you mean `{near[0]}'?" if near else ""
                self.warnings.append(f"{self._where(key)}: unknown key `{key}'{hint}")

    def _key(self, key: str) -> str:
        """The name by which the file has a key. `Usage` where it has two of them that differ."""
        other = next(old for old, new in OTHER_NAMES.items() if new == key)
        settings = self.config.settings
        if other in settings and key in settings and settings[other].value != settings[key].value:
            raise self.config.error(other, f"`{other}' and `{key}' are two names of one key, and differ")
        return other if other in settings else key

    def _truth(self, key: str) -> bool | None:
        number = self.config.number(key)
        return None if number is None else bool(number)

    def _kind(self) -> Kind | None:
        word = self.config.string("type")
        if word is None or word in set(Kind):
            return None if word is None else Kind(word)
        raise self.config.error("type", f"unknown value for type: `{word}'; it is internal or external")

    def _memory(self) -> tuple[bool | None, str]:
        key = self._key("memory")
        text = self.config.string(key)
        if text is None:
            return None, ""
        if text.lower() in YES_OR_NO:
            return YES_OR_NO[text.lower()], ""
        return True, self._path(key, text)

    def _path(self, key: str, text: str) -> str:
        """A full path, with what stands for the domain replaced."""
        if not text.startswith("/"):
            raise self.config.error(key, f"`{text}' is no full path")
        parts = [self.uuid if part == "UUID" else part for part in text.replace("<domain_uuid>", self.uuid).split("/")]
        return posixpath.normpath("/".join(parts)) + ("/" if not parts[-1] and text.strip("/") else "")

    def _disks(self) -> tuple[ConfigDisk, ...] | None:
        key = self._key("disk")
        items = self.config.items(key)
        if items is None:
            return None
        found: list[ConfigDisk] = []
        for item in items:
            disk = self._tried(lambda item=item: self._disk(key, item), None)  # type: ignore[misc]
            if disk is not None and any(same_device(disk.vdev, other.vdev) for other in found):
                self.mistakes.append(f"{self._where(key)}: {disk.vdev} is there twice")
            elif disk is not None:
                found.append(disk)
        return tuple(found)

    def _disk(self, key: str, spec: xl_cfg.Value) -> ConfigDisk:
        where = self._where(key)
        if isinstance(spec, list):
            raise self.config.error(key, "a disk is a string, and not a list")
        if old := _OLD_FORM.fullmatch(spec):
            path, format = old["path"], old["format"] or "qcow2"
            canonical = f"format={format},vdev={old['vdev']},target={path}"
            self.warnings.append(f"{where}: `{spec}' is no disk specification, write `{canonical}'")
            spec = canonical
        elif device_number(spec) is not None:
            spec = f"vdev={spec}"
        device = disk_spec.parse(spec, source=where, needs_target=False)
        vdev, target = device.vdev or "", device.pdev_path or ""
        if device.is_cdrom:
            raise self.config.error(key, f"{vdev} is a cdrom, and those have no snapshots")
        plain = DeviceDisk(vdev=vdev, pdev_path=device.pdev_path, format=device.format, readwrite=1)
        if device != plain:
            self.warnings.append(f"{where}: of `{spec}' only vdev, format and target mean something to a snapshot")
        if target in _NO_TARGET:
            return ConfigDisk(vdev)
        if device.format != "qcow2":
            raise self.config.error(key, f"{vdev}: an overlay is qcow2, and not {device.format}: write `format=qcow2'")
        return ConfigDisk(vdev, self._path(key, target))


def dump(config: SnapshotConfig) -> str:
    """The file that says the same in today's words; reading it gives the same again, but for what it was called."""
    lines = []
    if config.name is not None:
        lines.append(f"name = {_quoted(config.name)}")
    if config.description is not None:
        lines.append(f"description = {_quoted(config.description)}")
    if config.memory is not None:
        lines.append(f"memory = {_quoted(config.memory_path or ('yes' if config.memory else 'no'))}")
    if config.kind is not None:
        lines.append(f"type = {_quoted(config.kind)}")
    lines += [f"{key} = {int(value)}" for key, value in _flags(config) if value is not None]
    if config.disks is not None:
        specs = [_quoted(f"format=qcow2,vdev={d.vdev},target={d.path}" if d.path else d.vdev) for d in config.disks]
        lines.append(f"disk = [ {', '.join(specs)} ]" if specs else "disk = [ ]")
    return "".join(f"{line}\n" for line in lines)


def _flags(config: SnapshotConfig) -> tuple[tuple[str, bool | None], ...]:
    return ("live", config.live), ("disk_only", config.disk_only)


def _quoted(text: str) -> str:
    """As a string that the parser gives back unchanged."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char >= " " and char != "\x7f" else f"\\x{ord(char):02x}" for char in plain) + '"'
