"""A domain that its operator has made anew, without the UUID that it had: what was kept under that becomes its own."""

from collections.abc import Iterator

from msgspec.structs import replace

from xensnap.engine import formers, names
from xensnap.engine.create import sidecar_paths
from xensnap.engine.doctor.finding import Finding, Repair, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.formers import Former
from xensnap.engine.rebind_steps import KeepThrown, LeaveStore, MoveHere, StartAsNow
from xensnap.engine.state import DomainState
from xensnap.engine.store_steps import WriteRecord, WriteSidecar
from xensnap.model import Snapshot

_OF_THE_STORE = {"domain.libxl-json", "description.json", "reserve"}
"""What is in a store besides records, journals and memory; on some hosts also what is known of a domain that is off."""


def identity(seen: Survey) -> Iterator[Finding]:
    """The domain has the UUID under which its snapshots were taken."""
    for former in formers.shared(seen.view):
        name = seen.view.domain.name
        cause = f"it had the UUID {former.uuid} when {former.told} was taken, and has another one now"
        reasons = tuple(formers.against(seen.view, former))
        if reasons:
            cause = f"{cause}; {'; '.join(reason.cause for reason in reasons)}"
            remedy = " ".join(dict.fromkeys(reason.remedy for reason in reasons))
            yield Finding("uuid-changed", Severity.ERROR, name, cause, remedy)
        else:
            yield Finding("uuid-changed", Severity.ERROR, name, cause, repair=_taken_over(seen, former))


def _taken_over(seen: Survey, former: Former) -> Repair:
    """Records are written here before they go there, memory is moved, and images stay where they are."""
    contents = former.contents
    snapshots = tuple(_ours(seen, former, snapshot) for snapshot in contents.snapshots.values())
    thrown = tuple(replace(each, snapshot=_ours(seen, former, each.snapshot)) for each in contents.trashed.values())
    memories = {each.memory.rpartition("/")[2] for each in former.snapshots if _is_there(seen, former, each)}
    left = (*filter(_is_left, former.files),)
    uuid = seen.view.domain.uuid
    audit = () if "journal.1" in seen.stored else ("journal",)
    return Repair(
        f'keep {former.told} under the UUID that it has now, for which uuid = "{uuid}" belongs into its file',
        prepare=(
            *(_move(former, name, name) for name in sorted(memories) if name in former.files),
            *(WriteRecord(snapshot) for snapshot in snapshots),
            *(KeepThrown(each) for each in thrown),
        ),
        finish=(
            StartAsNow(),
            *(WriteSidecar(path, snapshot) for snapshot in snapshots for path in sidecar_paths(snapshot)),
            LeaveStore(former.uuid, left),
            *(_move(former, name, f"{name}.1") for name in audit if name in former.files),
        ),
        state=_state(seen, former),
    )


def _state(seen: Survey, former: Former) -> DomainState:
    now, then = seen.view.state, former.contents.state
    known = {entry.path for entry in then.ours}
    return replace(
        then,
        domain_uuid=seen.view.domain.uuid,
        ours=(*then.ours, *(entry for entry in now.ours if entry.path not in known)),
        let_go=tuple(_ours(seen, former, snapshot) for snapshot in then.let_go),
        parked=(*then.parked, *now.parked),
    )


def _ours(seen: Survey, former: Former, snapshot: Snapshot) -> Snapshot:
    """The snapshot as one of this domain, its memory in this store if it was in that one."""
    memory = snapshot.memory
    if _is_there(seen, former, snapshot):
        memory = f"{seen.store.directory}/{memory.rpartition('/')[2]}"
    return replace(snapshot, domain_uuid=seen.view.domain.uuid, memory=memory)


def _is_there(seen: Survey, former: Former, snapshot: Snapshot) -> bool:
    return snapshot.memory.rpartition("/")[0] == f"{seen.view.root}/{former.uuid}"


def _is_left(name: str) -> bool:
    return name in _OF_THE_STORE or names.is_record(name) or names.is_trashed(name)


def _move(former: Former, name: str, to: str) -> MoveHere:
    return MoveHere(former.uuid, name, to, former.files[name].file.inode)
