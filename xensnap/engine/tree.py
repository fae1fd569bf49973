"""The tree that snapshots form by their parents. Pure functions over records; a parent that is gone makes a root."""

from collections.abc import Iterable, Mapping

from xensnap.errors import NotFound
from xensnap.model import Snapshot

Snapshots = Mapping[str, Snapshot]


def by_name(snapshots: Iterable[Snapshot]) -> dict[str, Snapshot]:
    """Oldest first; of those of one second a parent before its children, and then by name, the same everywhere."""
    all_of_them = {snapshot.name: snapshot for snapshot in snapshots}
    return {name: all_of_them[name] for name in sorted(all_of_them, key=lambda name: _age(all_of_them, name))}


def _age(snapshots: Snapshots, name: str) -> tuple[int, int, str]:
    """What to sort by: the second, and how many ancestors are of the same one."""
    second, seen = snapshots[name].creation_time_s, {name}
    above = parent(snapshots, name)
    while above is not None and above not in seen and snapshots[above].creation_time_s == second:
        seen.add(above)
        above = parent(snapshots, above)
    return second, len(seen), name


def known(snapshots: Mapping[str, Snapshot], name: str, *, domain: str) -> Snapshot:
    """The same from the records alone."""
    if name in snapshots:
        return snapshots[name]
    there = ", ".join(map(repr, snapshots)) or "none"
    cause = f"{domain} has no snapshot {name!r}"
    raise NotFound(cause, id="no-such-snapshot", remedy=f"Its snapshots are: {there}.")


def parent(snapshots: Snapshots, name: str) -> str | None:
    """The parent that is still there."""
    above = snapshots[name].parent
    return above if above in snapshots else None


def children(snapshots: Snapshots) -> dict[str | None, tuple[str, ...]]:
    """Direct children of each snapshot that has any, oldest first; under None, the roots."""
    found: dict[str | None, tuple[str, ...]] = {}
    for name in snapshots:
        above = parent(snapshots, name)
        found[above] = (*found.get(above, ()), name)
    return found


def descendants(snapshots: Snapshots, name: str) -> tuple[str, ...]:
    """All below `name`, each after its parent."""
    below = children(snapshots)
    found: dict[str, None] = {}
    waiting = list(below.get(name, ()))
    while waiting:
        child = waiting.pop(0)
        if child not in found:  # a cycle in damaged records must not hang us
            found[child] = None
            waiting.extend(below.get(child, ()))
    return tuple(found)


def surviving_ancestor(snapshots: Snapshots, name: str | None, gone: frozenset[str]) -> str | None:
    """The nearest snapshot at or above `name` that is not among those that go."""
    seen: set[str] = set()
    while name is not None and name in gone and name not in seen:
        seen.add(name)
        name = parent(snapshots, name)
    return name if name in snapshots and name not in gone else None


def walk(snapshots: Snapshots) -> Iterable[tuple[int, str]]:
    """Depth and name of each, every one after its parent, roots oldest first.

    Records whose parents form a cycle come last, the oldest of them shown as a root.
    """
    below = children(snapshots)
    seen: set[str] = set()
    for start in (*below.get(None, ()), *snapshots):
        stack = [(0, start)]
        while stack:
            depth, name = stack.pop()
            if name not in seen:
                seen.add(name)
                yield depth, name
                stack.extend((depth + 1, child) for child in reversed(below.get(name, ())))
