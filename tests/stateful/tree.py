"""The tree of snapshots, as the oracle of a state machine keeps it: who is whose parent, and where the domain is."""

from dataclasses import dataclass, field


@dataclass
class Tree:
    """Names and parents."""

    parents: dict[str, str | None] = field(default_factory=dict)
    current: str | None = None

    def created(self, name: str) -> None:
        """A snapshot below the current one, which it becomes."""
        self.parents[name], self.current = self.current, name

    def chosen(self, name: str, how: str) -> set[str]:
        """What a deletion of `one`, with `children` or of `children_only` takes away."""
        gone = {name} if how != "children_only" else set()
        return gone | self._below(name) if how != "one" else gone

    def deleted(self, gone: set[str]) -> None:
        """What hung below them hangs below what is left above them."""
        self.current = self._first_kept(self.current, gone)
        self.parents = {
            child: self._first_kept(parent, gone) for child, parent in self.parents.items() if child not in gone
        }

    def renamed(self, old: str, new: str) -> None:
        """Another name for the same place."""
        self.parents[new] = self.parents.pop(old)
        self.parents = {child: new if parent == old else parent for child, parent in self.parents.items()}
        self.current = new if self.current == old else self.current

    def _first_kept(self, name: str | None, gone: set[str]) -> str | None:
        while name is not None and name in gone:
            name = self.parents[name]
        return name

    def _below(self, name: str) -> set[str]:
        direct = {child for child, parent in self.parents.items() if parent == name}
        return direct.union(*(self._below(child) for child in direct))
