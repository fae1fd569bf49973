"""The tree that snapshots form by their parents. Pure functions over records; a parent that is gone makes a root."""

from collections.abc import Iterable, Mapping
from itertools import count

from xensnap.errors import NotFound, which_of
from xensnap.model import Snapshot

Snapshots = Mapping[str, Snapshot]


def by_name(snapshots: Iterable[Snapshot]) -> dict[str, Snapshot]:
    """Oldest first; of those of one second a parent before its children, and then by name, the same everywhere."""
    all_of_them = {snapshot.name: snapshot for snapshot in snapshots}
    generations = _generations(all_of_them)
    return dict(sorted(all_of_them.items(), key=lambda each: (each[1].creation_time_s, generations[each[0]], each[0])))


def _generations(snapshots: Snapshots) -> dict[str, int]:
    """For each snapshot, how many it and those of its ancestors are that lead to it within one second.

    Each is looked at once, since hundreds can be of one second. In a cycle, which only damaged records have, it is the
    cycle's length, wherever it was entered.
    """
    found: dict[str, int] = {}
    for name in snapshots:
        line: dict[str, None] = {}
        at: str | None = name
        while at is not None and at not in found and at not in line:
            line[at] = None
            at = _parent_of_one_second(snapshots, at)
        if at is not None and at in line:
            cycle = list(line)[list(line).index(at) :]
            found.update(dict.fromkeys(cycle, len(cycle)))
        above = 0 if at is None else found[at]
        left = [each for each in reversed(line) if each not in found]
        found.update(zip(left, count(above + 1), strict=False))
    return found


def _parent_of_one_second(snapshots: Snapshots, name: str) -> str | None:
    above = parent(snapshots, name)
    one_second = above is not None and snapshots[above].creation_time_s == snapshots[name].creation_time_s
    return above if one_second else None


def known(snapshots: Mapping[str, Snapshot], name: str, *, domain: str) -> Snapshot:
    """The snapshot of this name. `NotFound` names those that the domain has, and the nearest to what was asked for."""
    if name in snapshots:
        return snapshots[name]
    told = which_of(name, [*snapshots], told="Its snapshots are") if snapshots else "It has none."
    raise NotFound(f"{domain} has no snapshot {name!r}", id="no-such-snapshot", remedy=told)


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
