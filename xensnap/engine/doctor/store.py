"""What the store of a domain should be: one state, one journal, and records that tell of different things."""

from collections.abc import Iterator

from xensnap.engine import names
from xensnap.engine.doctor.copies import remembered
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.rebuild import last_decided
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.repair_steps import RemoveFile, SetAside
from xensnap.engine.store_steps import RewriteRecord
from xensnap.formats import snapshot_record

_ANEW = "write it anew from the journal and the records"


def state(seen: Survey) -> Iterator[Finding]:
    """`domain.libxl-json` is there where there are snapshots, can be read, and is of this domain."""
    view, path = seen.view, seen.store.state
    if view.state_problem:
        repair = Repair(_ANEW, prepare=(SetAside(path),))
        yield Finding("state-damaged", Severity.ERROR, path, view.state_problem, repair=repair)
    elif "domain.libxl-json" not in seen.stored and not seen.lock.at_work:
        if view.snapshots or last_decided(seen.entries, view.domain.uuid):
            cause = "snapshots have been taken, and the state of the domain is gone"
            yield Finding("state-missing", Severity.ERROR, path, cause, repair=Repair(_ANEW))
    elif view.state.domain_name != view.domain.name:
        cause = f"the store knows the domain as {view.state.domain_name!r}, and it is called {view.domain.name!r}"
        repair = Repair("note the new name")
        yield Finding("domain-renamed", Severity.NOTE, view.domain.name, cause, repair=repair)


def journal(seen: Survey) -> Iterator[Finding]:
    """The journal can be read to its end, and nothing waits for `recover`."""
    if seen.journal_problem:
        repair = Repair("begin anew; what the operation has left is told by the other findings")
        yield Finding("journal-damaged", Severity.ERROR, seen.store.journal, seen.journal_problem, repair=repair)
    if seen.begun and not seen.lock.at_work:
        begun = seen.begun
        cause = f"not at its end yet: {begun.plan.summary}, by process {begun.pid} of {begun.user}"
        remedy = f"If that is not at work any more, run `xensnap recover {seen.view.domain.name}`."
        yield Finding("interrupted", Severity.ERROR, seen.view.domain.name, cause, remedy)


def trail(seen: Survey) -> Iterator[Finding]:
    """The journal tells what was done last, which `undo` goes by."""
    if seen.last_lost and not seen.journal_problem:
        cause = "it does not tell any more what was done last, so that nothing can take that back"
        repair = Repair("note that")
        yield Finding("journal-incomplete", Severity.WARNING, seen.store.journal, cause, repair=repair)


def records(seen: Survey) -> Iterator[Finding]:
    """Every record can be read. One that cannot is taken from its copy or from the journal, if either has it."""
    known = {names.record_file(snapshot.name): snapshot for snapshot in remembered(seen)}
    for path in sorted(seen.view.damaged_paths - {seen.store.state}):
        cause = next((cause for cause in seen.view.damaged if path in cause), "it cannot be read")
        snapshot = known.get(path.rpartition("/")[2])
        repair = None
        if snapshot is not None:
            says = f"put it aside, and write the record of {snapshot.name!r} from what else tells of it"
            repair = Repair(says, prepare=(SetAside(path),), finish=(RewriteRecord(snapshot),))
        remedy = "Put it back from a backup, or take it out of the store: `xensnap forget`."
        if snapshot_record.OF_2014 in cause:
            remedy = f"Move it elsewhere, and take it in from there: `xensnap import-xml {seen.view.domain.name} FILE`."
        yield Finding("record-damaged", Severity.ERROR, path, cause, remedy, repair)


def older_names(seen: Survey) -> Iterator[Finding]:
    """Every record has the file name that this version gives it: the documents of 2014 have two others for it."""
    right = {names.record_file(name) for name in seen.view.snapshots}
    for name, snapshot in seen.view.snapshots.items():
        for file_name in names.older_record_files(name):
            path = f"{seen.store.directory}/{file_name}"
            if file_name in seen.stored and file_name not in right and path not in seen.view.damaged_paths:
                cause = f"the record of {name!r} has an older file name"
                remove = RemoveFile(path, seen.stored[file_name].file.inode, seen.generation(path))
                repair = Repair(
                    f"write it as {names.record_file(name)}, and remove it under the older name",
                    finish=(RewriteRecord(snapshot), remove),
                )
                yield Finding("record-older-name", Severity.NOTE, path, cause, repair=repair)


def twins(seen: Survey) -> Iterator[Finding]:
    """No two records tell of the same content: deleting by one would take what the other tells of."""
    held: dict[tuple[str, str, str], str] = {}
    for snapshot in seen.view.snapshots.values():
        keys = [(disk.image.path, disk.fingerprint.snapshot_id, disk.tag) for disk in snapshot.disks]
        others = {held.setdefault(key, snapshot.name) for key in keys} - {snapshot.name}
        for other in sorted(others):
            cause = f"{other!r} and {snapshot.name!r} tell of the same content: one is a copy of the other"
            remedy = f"Take the wrong one out of the store: `xensnap forget {seen.view.domain.name} NAME`."
            yield Finding("record-twice", Severity.ERROR, snapshot.name, cause, remedy)
