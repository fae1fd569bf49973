"""What should not be in the store, or not like that."""

from collections.abc import Iterator

from xensnap.engine import names
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.live_steps import PARTIAL
from xensnap.engine.repair_steps import ASIDE, RemoveFile
from xensnap.engine.store_steps import RewriteRecord
from xensnap.hypervisor import FileStat

_FIXED = {"reserve", "lock", "journal", "journal.1", "domain.libxl-json", "description.json"}
"""What is always in a store, or on some hosts: the last is what a Xen host remembers of a domain that is off."""
_WRITTEN_TO = {"lock", "journal"}
"""What is written to where it stands: all else is made anew, and takes the name."""
_MODE = 0o600


def files(seen: Survey) -> Iterator[Finding]:
    """Nothing is in the store but what is ours: no half-written file, and no memory that no snapshot has."""
    needed = {snapshot.memory for snapshot in (*seen.kept, *seen.view.state.let_go)}
    for name, stat in seen.stored.items():
        path = f"{seen.store.directory}/{name}"
        if ASIDE in name or names.is_trashed(name):
            continue
        if not stat.is_regular and not stat.is_dir:
            cause = "it is neither a file nor a directory; nobody of us puts such a thing here"
            yield Finding("not-a-file", Severity.ERROR, path, cause, "Look where it comes from, and remove it.")
        elif stat.is_dir and (name in _FIXED or names.is_record(name)):
            yield Finding("not-a-file", Severity.ERROR, path, "it is a directory", "Move it away.")
        elif stat.is_dir or name in _FIXED or names.is_record(name) or path in needed:
            continue
        elif _what(name):
            if not _may_be_needed(seen, name):
                yield _leftover(seen, path, stat, f"{_what(name)}, which nobody needs")
        elif names.is_overlay(name) or names.is_sidecar(name):
            continue  # images may be in the store, too, and are looked at as images
        else:
            yield Finding("unknown-file", Severity.NOTE, path, "it is none of ours", "Move it elsewhere.")
    for path, stat in seen.beside.items():
        if names.is_half_written(path) and not seen.begun and path not in seen.elsewhere:
            yield _leftover(seen, path, stat, "a copy of a record, half written")


def modes(seen: Survey) -> Iterator[Finding]:
    """Nobody else can read or write what is in the store: memory holds passwords, and records are believed."""
    for name, stat in seen.stored.items():
        if stat.is_regular and stat.mode & 0o077:
            path = f"{seen.store.directory}/{name}"
            cause = f"others may read or write it: its mode is {stat.mode & 0o7777:o}, and should be {_MODE:o}"
            yield Finding("open-to-others", Severity.WARNING, path, cause, f"chmod {_MODE:o} {path}", _anew(seen, name))


def linked(seen: Survey) -> Iterator[Finding]:
    """No file in the store has a second name, by which it could be changed, or kept when it is removed here."""
    for name, stat in seen.stored.items():
        path = f"{seen.store.directory}/{name}"
        if stat.links == 1 or path in seen.view.images or names.is_overlay(name) or names.is_sidecar(name):
            continue
        stops = name in _WRITTEN_TO
        cause = f"it has {stat.links} names" + (", so that nothing is done to it, nor to the domain" if stops else "")
        remedy = f"Remove the others: `find / -xdev -samefile {path}` shows them."
        severity = Severity.ERROR if stops else Severity.WARNING
        yield Finding("hard-linked", severity, path, cause, remedy, _anew(seen, name))


def _leftover(seen: Survey, path: str, stat: FileStat, cause: str) -> Finding:
    repair = Repair(f"remove {path}", finish=(RemoveFile(path, stat.file.inode, seen.generation(path)),))
    return Finding("leftover", Severity.WARNING, path, cause, repair=repair)


def _may_be_needed(seen: Survey, name: str) -> bool:
    """An operation that is not at its end needs what it has begun; a record that cannot be read may have a memory."""
    return bool(seen.begun or (name.endswith(".save") and seen.view.damaged_paths - {seen.store.state}))


def _what(name: str) -> str:
    if name.endswith(PARTIAL) and ".save." in name:
        return "memory whose save was interrupted"
    if name.endswith(".save"):
        return "the memory of a guest"
    if name == "start.cfg":
        return "a configuration for a start that was interrupted"
    return "a file that was being written" if name.startswith(".") and name.endswith(".new") else ""


def _anew(seen: Survey, name: str) -> Repair | None:
    """Our own texts can be written anew, which gives them the right mode; a file's mode alone no port can change."""
    snapshot = next((s for s in seen.view.snapshots.values() if names.record_file(s.name) == name), None)
    if snapshot is not None:
        return Repair(f"write the record of {snapshot.name!r} anew", finish=(RewriteRecord(snapshot),))
    return Repair("write it anew") if name == "domain.libxl-json" else None
