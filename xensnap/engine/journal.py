"""The journal: what is about to be done is durable before it is done, what came of it is durable last.

One entry a line, as `lines` has it. The file is also the audit trail.
"""

from typing import Protocol

import msgspec

from xensnap.engine import lines
from xensnap.engine.plan import Plan
from xensnap.errors import Damaged, NotFound
from xensnap.hypervisor import Files

ROTATE_BYTES = 256 * 1024
"""A journal that is longer is put aside when the next operation begins; one older generation is kept."""

TORN = b" torn\n"
"""Ends a torn line, and keeps it from being read as a whole one where only its line end was missing."""


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """Intent: this plan is going to be carried out. Durable before the first step."""

    operation: str
    plan: Plan
    time_ns: int
    pid: int
    boot_id: str
    user: str


class Note(msgspec.Struct, frozen=True, tag="note"):
    """Something that happened on the way. Not synced: recovery looks at the host instead of believing it."""

    operation: str
    text: str


class Fact(msgspec.Struct, frozen=True, tag="fact"):
    """Something that no look at the host can tell later. Durable before anybody acts on it."""

    operation: str
    text: str


class End(msgspec.Struct, frozen=True, tag="end"):
    """Outcome: `done` or `undone`. Durable before anybody is told."""

    operation: str
    outcome: str
    time_ns: int


Entry = Begin | Note | Fact | End
_DECODER = msgspec.json.Decoder(Entry)


class HasFiles(Protocol):
    """A host, as much of it as the journal needs."""

    files: Files


def encode(entry: Entry) -> bytes:
    """One line."""
    return lines.line(msgspec.json.encode(entry))


def decode(data: bytes) -> tuple[Entry, ...]:
    """All entries, without those that are torn or damaged: the audit trail."""
    entries = (_entry(line) for line in data.splitlines(keepends=True))
    return tuple(entry for entry in entries if entry is not None)


def pending(data: bytes) -> Begin | None:
    """The operation that began and has not ended. Reads from the end, so its cost does not grow with the past.

    Raises:
        Damaged: there are notes of an operation whose beginning cannot be read, so nobody knows what is half done.
    """
    noted = False
    for line in lines.from_the_end(data):
        match _entry(line):
            case End():
                break
            case Begin() as begun:
                return begun
            case Note() | Fact():
                noted = True
    if noted:
        cause = "the journal is damaged: an operation was interrupted, and what it was about cannot be read"
        remedy = "Put the journal back from a copy, or move it away if the images are as they should be."
        raise Damaged(cause, path="journal", remedy=remedy)
    return None


def due(data: bytes) -> str:
    """What waits for `recover`, in words; also that nobody can tell what does. Empty where nothing waits."""
    try:
        begun = pending(data)
    except Damaged as error:
        return error.cause
    return begun.plan.summary if begun else ""


def _entry(line: bytes) -> Entry | None:
    text = lines.text_of(line)
    try:
        return None if text is None else _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def read(host: HasFiles, path: str) -> bytes:
    """The journal; empty where there is none yet."""
    try:
        return await host.files.read(path)
    except NotFound:
        return b""


class Journal:
    """The writing side, used by whoever holds the domain's lock."""

    def __init__(self, host: HasFiles, path: str) -> None:
        self.files = host.files
        self._path = path

    async def begin(self, entry: Begin) -> None:
        """Make the intent durable. First barrier of every operation."""
        await self._make_ready()
        await self.files.append(self._path, encode(entry))
        await self.files.sync(self._path)

    async def note(self, operation: str, text: str) -> None:
        """Leave a trace for the reader of the audit trail."""
        await self.files.append(self._path, encode(Note(operation, text)))

    async def notes(self, operation: str) -> tuple[str, ...]:
        """The traces of an operation, in order, as many as there are left."""
        entries = decode(await read(self, self._path))
        return tuple(entry.text for entry in entries if isinstance(entry, Note) and entry.operation == operation)

    async def remember(self, operation: str, text: str) -> None:
        """Make a fact durable that nobody can look up later."""
        await self.files.append(self._path, encode(Fact(operation, text)))
        await self.files.sync(self._path)

    async def of(self, operation: str) -> tuple[str, ...]:
        """The facts of an operation, in order."""
        entries = decode(await read(self, self._path))
        return tuple(entry.text for entry in entries if isinstance(entry, Fact) and entry.operation == operation)

    async def end(self, entry: End) -> None:
        """Make the outcome durable. Last barrier of every operation."""
        await self.files.append(self._path, encode(entry))
        await self.files.sync(self._path)

    async def repair(self) -> None:
        """Begin a new line behind a torn one, or what is written next would be a part of that and invisible."""
        stat = await self.files.stat(self._path)
        if stat is None or not stat.length_bytes:
            return
        last = await self.files.read_part(self._path, offset=stat.length_bytes - 1, length_bytes=1)
        if last != b"\n":
            await self.files.append(self._path, TORN)

    async def _make_ready(self) -> None:
        stat = await self.files.stat(self._path)
        directory = self._path.rpartition("/")[0]
        if stat is None:
            await self.files.create(self._path)
            # The directory may be as new as the journal, and the store's root, too: each name is its parent's content.
            for place in (directory, _above(directory), _above(_above(directory))):
                await self.files.sync_dir(place)
        elif stat.length_bytes > ROTATE_BYTES:
            await self.files.rename(self._path, f"{self._path}.1")
            await self.files.create(self._path)
            await self.files.sync_dir(directory)
        else:
            await self.repair()


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"
