"""All that is looked for, in the order in which it is told."""

from collections.abc import Callable, Iterator

from xensnap.engine.doctor import (
    copies,
    guests,
    images,
    leftovers,
    let_go,
    lineage,
    locked,
    overlays,
    reach,
    rebind,
    store,
    tags,
)
from xensnap.engine.doctor.finding import Finding
from xensnap.engine.doctor.survey import Survey

Look = Callable[[Survey], Iterator[Finding]]

ALWAYS: tuple[Look, ...] = (
    reach.store,
    locked.lock,
    store.state,
    store.journal,
    store.records,
    leftovers.modes,
)
"""What is true or not whatever goes on."""

AT_REST: tuple[Look, ...] = (
    store.trail,
    rebind.identity,
    store.twins,
    store.older_names,
    images.present,
    images.unchanged,
    images.whole,
    images.formats,
    images.flagged,
    copies.lost,
    copies.strays,
    copies.wanted,
    let_go.records,
    tags.recorded,
    tags.ambiguous,
    tags.unknown,
    guests.memories,
    reach.memories,
    reach.directories,
    reach.ours,
    guests.state,
    guests.headers,
    guests.watcher,
    overlays.starts,
    overlays.ledger,
    overlays.unclaimed,
    overlays.strays,
    overlays.bases,
    overlays.idle,
    lineage.parents,
    lineage.circles,
    lineage.current,
    leftovers.files,
    leftovers.linked,
)
"""What an operation under way may leave open until it has ended."""


def diagnose(seen: Survey) -> tuple[Finding, ...]:
    """Everything that does not fit. Pure. While an operation is not at its end, only what that does not explain."""
    looks = ALWAYS if seen.begun or seen.lock.at_work else (*ALWAYS, *AT_REST)
    return tuple(finding for look in looks for finding in look(seen))
