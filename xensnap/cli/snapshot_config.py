"""The configuration file of a snapshot, put together with what the options say; neither may contradict the other."""

from collections.abc import Callable

import msgspec

from xensnap.cli.names import full_path, local_file
from xensnap.engine.engine import Engine
from xensnap.engine.request import DiskChoice
from xensnap.errors import ExitCode, NotFound, Reason, Refused, Usage
from xensnap.formats import snapshot_cfg
from xensnap.formats.device_disk import same_device
from xensnap.formats.snapshot_cfg import SnapshotConfig
from xensnap.model import Domain

FILE_BYTES_MAX = 256 << 10
"""A file of more than this describes no snapshot."""

EMPTY = SnapshotConfig(source="the command line")


def domain_and_file(engine: Engine, words: tuple[str, ...], option: str | None) -> tuple[str, str | None]:
    """Which word is the domain, and which the configuration file, if there is one.

    The domain is the last word, and a file stands before it. One document of 2014 has them the other way round: that is
    understood where the last word is no domain, but the first one is.

    Raises:
        Usage: too many words, or two files.
    """
    if len(words) > 2:
        cause = f"one domain is expected, and at most a configuration file before it, not {len(words)} words"
        raise Usage(cause, id="too-many-words", remedy="Take one snapshot at a time.")
    if len(words) == 1:
        return words[0], option
    first, last = words
    if option is not None and option != first:
        raise Usage(f"two configuration files were given: -f {option!r} and {first!r}", id="two-files")
    turned = not _is_domain(engine, last) and _is_domain(engine, first)
    return (first, last) if turned else (last, first)


def _is_domain(engine: Engine, word: str) -> bool:
    try:
        engine.list(word)
    except NotFound:
        return False
    return True


def read(path: str, domain: Domain) -> SnapshotConfig:
    """The file at a path on this machine, whatever host the domain is on.

    Raises:
        NotFound: there is no such file.
        Usage: it cannot be read as what it should be.
    """
    try:
        data = local_file(path)
    except NotFound as error:
        remedy = "Look at the path. A name for the snapshot stands after -n."
        raise NotFound(error.cause, id=error.id, remedy=remedy) from error
    if len(data) > FILE_BYTES_MAX:
        raise Usage(f"{path}: {len(data)} bytes are no snapshot's configuration", id="bad-snapshot-config")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise Usage(f"{path}: it is no text: {error}", id="bad-text", remedy="Write it in UTF-8.") from error
    return snapshot_cfg.parse(text, source=path, uuid=domain.uuid)


def memory_given(text: str | None) -> tuple[bool | None, str]:
    """What `--memory` says: whether the memory is wanted, and where it goes."""
    if text is None:
        return None, ""
    wanted = snapshot_cfg.YES_OR_NO.get(text.lower())
    return (True, text) if wanted is None else (wanted, "")


def combined(file: SnapshotConfig, options: SnapshotConfig, *, disks_told: bool, auto: bool) -> SnapshotConfig:
    """What both say together.

    Args:
        file: what the file says.
        options: what the options say.
        disks_told: whether options speak of single disks.
        auto: whether an option leaves it to us where each snapshot is kept.

    Raises:
        Refused: id `conflict`, with everything on which they do not agree.
    """
    conflicts = _conflicts(file, options)
    if file.disks is not None and disks_told:
        conflicts.append(f"{file.source} says which disks, and so do --disk, --only or --exclude")
    if file.kind is not None and auto:
        conflicts.append(f"{file.source} says type {file.kind.value!r}, and --type says 'auto'")
    if conflicts:
        remedy = f"Say it in one place: change {file.source}, or leave out the option."
        raise Refused([Reason("conflict", cause, remedy, ExitCode.USAGE) for cause in conflicts])
    said = {
        name: value
        for name in options.__struct_fields__
        if name not in {"source", "warnings"} and (value := getattr(options, name)) != getattr(EMPTY, name)
    }
    return msgspec.structs.replace(file, **said)


def _conflicts(file: SnapshotConfig, options: SnapshotConfig) -> list[str]:
    found = [
        f"{file.source} says {key} {in_file!r}, and {option} says {given!r}"
        for key, option, in_file, given in (
            ("name", "--name", file.name, options.name),
            ("description", "--description", file.description, options.description),
            ("type", "--type", file.kind and file.kind.value, options.kind and options.kind.value),
            ("memory", "--memory", _memory(file), _memory(options)),
            ("live", "--live", file.live, options.live),
        )
        if in_file is not None and given is not None and in_file != given
    ]
    if options.disk_only and file.memory:
        found.append(f"{file.source} wants the memory ({_memory(file)!r}), and --disk-only says disks alone")
    if file.disk_only and options.memory:
        found.append(f"{file.source} says disks alone, and --memory says {_memory(options)!r}")
    return found


def _memory(config: SnapshotConfig) -> str | None:
    if config.memory is None:
        return None
    return config.memory_path or ("yes" if config.memory else "no")


def choices(config: SnapshotConfig, domain: Callable[[], Domain]) -> dict[str, DiskChoice]:
    """What the file says of each disk of the domain. A disk is named by any of its names; one that is not, is left out.

    What no snapshot ever covers, a cdrom or what is read-only, need not be named. A disk that is said to go on in its
    own image keeps its snapshot there: that is how one example says `internal`.
    """
    if config.disks is None:
        return {}
    has, chosen = domain().disks, dict[str, DiskChoice]()
    for told in config.disks:
        disk = next((disk for disk in has if same_device(disk.vdev, told.vdev)), None)
        path = "" if disk is not None and told.path == disk.path else told.path
        kind = snapshot_cfg.ConfigDisk(told.vdev, path).kind
        chosen[disk.vdev if disk else told.vdev] = DiskChoice(kind, path)
    for disk in has:
        if disk.vdev not in chosen and disk.path and not (disk.readonly or disk.cdrom):
            chosen[disk.vdev] = DiskChoice(skip=True)
    return chosen


def memory_path(config: SnapshotConfig, *, host: str) -> str:
    """Where the memory goes; a slash at the end, which says that it is a directory, stays."""
    path = config.memory_path
    return full_path(path, host=host) + ("/" if path.endswith("/") else "") if path else ""
