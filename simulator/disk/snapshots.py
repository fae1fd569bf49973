"""The table of internal snapshots inside a qcow2 image, as qemu-img 7.2.22 keeps it.

Ids are the highest numeric id plus one, written in decimal; so the order of ids is the order of creation, holes are not
filled, and the highest is used again after it was deleted. Tags may be doubled or empty and are cut after 255 bytes,
in the middle of a character if need be. All operations cost the same however many snapshots there are.
"""

from collections.abc import Callable, Iterator
from functools import cached_property

import msgspec
from immutables import Map

from simulator.core.numerals import whole
from simulator.disk.content import Content
from xensnap.model import InternalSnapshot

replace = msgspec.structs.replace

TAG_BYTES_MAX = 255
SNAPSHOTS_MAX = 65536


def stored(tag: str) -> bytes:
    """A tag as the table keeps it."""
    return tag.encode("utf-8", "surrogateescape")[:TAG_BYTES_MAX]


class Entry(msgspec.Struct, frozen=True, dict=True):
    """One snapshot: the content that was active, by reference, and what the table says about it.

    Attributes:
        live: whether a running QEMU made it; qemu-img writes a count of instructions, 0, into its own (qemu.md 22).
        clock_ns: how long the guest had run, by QEMU's clock.
        state_bytes: how much of the machine's state QEMU has saved beside the disk.
    """

    number: int
    tag: bytes
    date_ns: int
    size_bytes: int
    content: Content
    live: bool = False
    clock_ns: int = 0
    state_bytes: int = 0

    @cached_property
    def told(self) -> InternalSnapshot:
        """The entry as everybody outside sees it. Made once, since tables share their entries."""
        seconds, nanoseconds = divmod(self.date_ns, 10**9)
        tag = self.tag.decode("utf-8", "surrogateescape")
        return InternalSnapshot(str(self.number), tag, seconds, nanoseconds, self.size_bytes, self.state_bytes)


class Table(msgspec.Struct, frozen=True, dict=True):
    """All snapshots of one image."""

    entries: Map[int, Entry] = Map()
    tags: Map[bytes, tuple[int, ...]] = Map()
    highest: int = 0

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        """In the order of creation."""
        return (self.entries[number] for number in sorted(self.entries))

    @cached_property
    def told(self) -> tuple[InternalSnapshot, ...]:
        """All entries as everybody outside sees them, in the order of creation. Made once, since tables are shared."""
        return tuple(entry.told for entry in self)

    def added(self, entry: Entry) -> "Table":
        """With one more snapshot at the end."""
        assert entry.number == self.highest + 1, "ids grow by one"
        same = (*self.tags.get(entry.tag, ()), entry.number)
        after = Table(self.entries.set(entry.number, entry), self.tags.set(entry.tag, same), entry.number)
        if "told" in self.__dict__:
            after.__dict__["told"] = (*self.told, entry.told)
        return after

    def removed(self, entry: Entry) -> "Table":
        """Without this snapshot."""
        entries = self.entries.delete(entry.number)
        left = tuple(number for number in self.tags[entry.tag] if number != entry.number)
        highest = self.highest
        if entry.number == highest:
            highest = next((number for number in range(highest - 1, 0, -1) if number in entries), 0)
        return Table(entries, self.tags.set(entry.tag, left) if left else self.tags.delete(entry.tag), highest)

    def mapped(self, change: Callable[[Content], Content]) -> "Table":
        """With the content of every snapshot changed by a function."""
        entries = ((number, replace(entry, content=change(entry.content))) for number, entry in self.entries.items())
        return Table(Map(entries), self.tags, self.highest)

    def by_id(self, snapshot_id: str) -> Entry | None:
        """The entry with this id, compared as text as qemu-img does: '01' is no id."""
        if not snapshot_id.isascii() or not snapshot_id.isdigit() or snapshot_id != str(whole(snapshot_id)):
            return None
        return self.entries.get(whole(snapshot_id))

    def by_tag(self, tag: str) -> Entry | None:
        """The oldest entry with this tag. A tag that is too long is not cut here: it is not found."""
        numbers = self.tags.get(tag.encode("utf-8", "surrogateescape"))
        return self.entries[numbers[0]] if numbers else None
