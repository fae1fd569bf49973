"""The journal: what is about to be done is durable before it is done, what came of it is durable last.

One entry a line, as `lines` has it. The file is also the audit trail, and tells who is at work: whoever begins an
operation, takes one over or ends one says so here, and whoever finds that somebody else has said so stops at once.
"""

from typing import Protocol

import msgspec

from xensnap.engine import lines
from xensnap.engine.plan import Plan
from xensnap.errors import Damaged, NotFound, Unknown
from xensnap.hypervisor import Files
from xensnap.model import FileId

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


class Claim(msgspec.Struct, frozen=True, tag="claim"):
    """Whoever recovers the operation from here on. Not synced: nobody who could mind it survives a power cut."""

    operation: str
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


Entry = Begin | Claim | Note | Fact | End
_DECODER = msgspec.json.Decoder(Entry)


class Overtaken(Unknown):
    """Somebody else has worked on the domain although we hold its lock: somebody has removed the file of that."""

    default_id = "overtaken"


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


def trail(data: bytes) -> tuple[Entry | None, ...]:
    """All entries in order, and None for each line that was written whole and cannot be read any more."""
    whole = (line for line in data.splitlines(keepends=True) if line.endswith(b"\n") and not line.endswith(TORN))
    return tuple(map(_entry, whole))


def pending(data: bytes) -> Begin | None:
    """The operation that began and has not ended. Reads from the end, so its cost does not grow with the past.

    What somebody who was overtaken still noted of an operation that had ended by then means nothing.

    Raises:
        Damaged: there are notes of an operation whose beginning cannot be read, so nobody knows what is half done.
    """
    noted: set[str] = set()
    ended: set[str] = set()
    for line in lines.from_the_end(data):
        match _entry(line):
            case End(operation):
                noted.discard(operation)
                ended.add(operation)
                if not noted:
                    return None
            case Begin() as begun if not ended or begun.operation in noted:
                return begun
            case Claim(operation) | Note(operation) | Fact(operation):
                noted |= {operation} - ended
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
    """The writing side, for whoever holds the domain's lock; made when that has just been taken.

    From then on nobody else may say that he is at work. One who does all the same can only have got a lock of another
    file, after a stranger removed the one that we hold; from there on it is he who acts, and we may not.
    """

    def __init__(self, host: HasFiles, path: str) -> None:
        self.files = host.files
        self._path = path
        self._file: FileId | None = None
        self._judged_bytes = 0
        self._length_bytes = 0
        self._said: list[bytes] = []

    @classmethod
    async def under_lock(cls, host: HasFiles, path: str) -> "Journal":
        """The journal as it is now, which is what we answer for from here on."""
        made = cls(host, path)
        await made._find()
        return made

    async def require_ours(self) -> None:
        """Look whether somebody else has begun, taken over or ended an operation since we hold the lock.

        Raises:
            Overtaken: somebody has, or the journal is gone. Whatever is half done is his to bring to its end.
        """
        stat = await self.files.stat(self._path)
        file, length_bytes = (stat.file, stat.length_bytes) if stat else (None, 0)
        if file != self._file or length_bytes < self._judged_bytes:
            raise _overtaken("its journal has been put aside or removed")
        if length_bytes == self._length_bytes:
            return  # nothing was written but by us
        begun_bytes = length_bytes - self._judged_bytes
        new = await self.files.read_part(self._path, offset=self._judged_bytes, length_bytes=begun_bytes)
        for line in new.splitlines(keepends=True):
            entry = _entry(line)
            if isinstance(entry, Begin | Claim | End) and line not in self._said:
                raise _overtaken(_says(entry))
        self._judged_bytes += new.rfind(b"\n") + 1  # a torn line is judged once more, with what follows it
        self._length_bytes = length_bytes

    async def begin(self, entry: Begin) -> None:
        """Make the intent durable. First barrier of every operation.

        Raises:
            Overtaken: somebody else was here since we hold the lock, and what was planned is old. Nothing is begun.
        """
        try:
            await self.require_ours()
            await self._make_ready()
            await self._say(entry)
            await self.files.sync(self._path)
            await self.require_ours()
        except Overtaken:
            if encode(entry) in self._said:  # he came just before our line, which nobody may take for a beginning
                await self._append(encode(End(entry.operation, "undone", entry.time_ns)))
            raise

    async def claim(self, entry: Claim) -> None:
        """Take over an operation that was interrupted, before anything is done to it. `Overtaken` as `require_ours`."""
        await self.require_ours()
        await self._say(entry)

    async def note(self, operation: str, text: str) -> None:
        """Leave a trace for the reader of the audit trail. `Overtaken` as `require_ours`."""
        await self.require_ours()
        await self._append(encode(Note(operation, text)))

    async def notes(self, operation: str) -> tuple[str, ...]:
        """The traces of an operation, in order, as many as there are left."""
        entries = decode(await read(self, self._path))
        return tuple(entry.text for entry in entries if isinstance(entry, Note) and entry.operation == operation)

    async def remember(self, operation: str, text: str) -> None:
        """Make a fact durable that nobody can look up later. `Overtaken` as `require_ours`."""
        await self.require_ours()
        await self._append(encode(Fact(operation, text)))
        await self.files.sync(self._path)

    async def of(self, operation: str) -> tuple[str, ...]:
        """The facts of an operation, in order."""
        entries = decode(await read(self, self._path))
        return tuple(entry.text for entry in entries if isinstance(entry, Fact) and entry.operation == operation)

    async def end(self, entry: End) -> None:
        """Make the outcome durable. Last barrier of every operation. `Overtaken` as `require_ours`."""
        await self.require_ours()
        await self._say(entry)
        await self.files.sync(self._path)

    async def repair(self) -> None:
        """Begin a new line behind a torn one, or what is written next would be a part of that and invisible."""
        stat = await self.files.stat(self._path)
        if stat is None or not stat.length_bytes:
            return
        last = await self.files.read_part(self._path, offset=stat.length_bytes - 1, length_bytes=1)
        if last != b"\n":
            await self._append(TORN)

    async def _say(self, entry: Begin | Claim | End) -> None:
        """What others stop at. Remembered before it is written: nobody knows how much of it a failure leaves."""
        self._said.append(encode(entry))
        await self._append(self._said[-1])

    async def _append(self, line: bytes) -> None:
        await self.files.append(self._path, line)
        self._length_bytes += len(line)

    async def _find(self) -> None:
        stat = await self.files.stat(self._path)
        self._file = stat.file if stat else None
        self._judged_bytes = self._length_bytes = stat.length_bytes if stat else 0

    async def _make_ready(self) -> None:
        stat = await self.files.stat(self._path)
        directory = self._path.rpartition("/")[0]
        if stat is None:
            await self.files.create(self._path)
            # The directory may be as new as the journal, and the store's root, too: each name is its parent's content.
            for place in (directory, _above(directory), _above(_above(directory))):
                await self.files.sync_dir(place)
            await self._find()
        elif stat.length_bytes > ROTATE_BYTES:
            await self.files.rename(self._path, f"{self._path}.1")
            await self.files.create(self._path)
            await self.files.sync_dir(directory)
            await self._find()
        else:
            await self.repair()


def _overtaken(what: str) -> Overtaken:
    cause = f"another process has worked on the domain at the same time: {what}; nothing more was done here"
    remedy = "Look with `xensnap log` and `xensnap doctor`. Never remove a lock file: a dead process holds no lock."
    return Overtaken(cause, remedy=remedy)


def _says(entry: Begin | Claim | End) -> str:
    match entry:
        case Begin():
            return f"process {entry.pid} of {entry.user} has begun: {entry.plan.summary}"
        case Claim():
            return f"process {entry.pid} of {entry.user} has taken over what was under way"
        case End():
            return f"what was under way is {entry.outcome}"


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"
