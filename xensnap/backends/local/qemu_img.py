"""Images that nobody has open, by the real qemu-img (7.2.22 or later).

Metadata is read natively (`reader`); qemu-img is started only to write, or to walk clusters. Before every write stands
the gate. An exit code is never the last word on a snapshot table, a size or a backing name: those are read again.

How names are told to qemu-img: paths are absolute, so that none is taken for an option or, by a colon, for a protocol;
`snapshot` has no `-f` and gets `--image-opts`, where commas are doubled.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from xensnap.backends.local.gate import Gate, busy
from xensnap.backends.local.reader import (
    read_chain,
    read_end_of_counts,
    read_extents,
    read_holds_data,
    read_image,
    read_is_at,
)
from xensnap.errors import Damaged, Effect, Failed, NotFound, Reason, Refused, ToolFailed, XensnapError
from xensnap.hypervisor import CheckResult, Completed, Grown, Machine, Runner
from xensnap.model import Backing, Chain, Extent, Format, Image, InternalSnapshot, Layer

TAG_BYTES_MAX = 255
_SECTOR_BYTES = 512
# QEMU's words when its own lock is held, for reading and for writing (traced: 7.2.22).
_LOCKED = ('Failed to get "write" lock', 'Failed to get shared "write" lock')
# What it says when it has ended before touching anything.
_PERCENT = re.compile(rb"\(([0-9.]+)/100%\)")
_UNTOUCHED = ("Could not open ", "Could not open new backing file", "Device has active dirty bitmaps")
_CHECK_CLEAN, _CHECK_CORRUPT, _CHECK_LEAKS = 0, 2, 3


class QemuImg:
    """The `ImageTool` port by qemu-img.

    Args:
        runner: starts it.
        machine: names who has an image open.
        gate: opens only when nobody is in the way.
        read: one image's metadata.
        read_through: a whole chain's metadata.
        read_holds_data: whether an image has clusters.
        read_is_at: whether the active state is that of a snapshot.
        read_extents: what each state of an image has.
        read_end_of_counts: how far an image should reach for all that it counts, where it does not.
        program: qemu-img's name or path.
        daemon: qemu-storage-daemon's, which alone can delete a snapshot by its id.
    """

    def __init__(
        self,
        runner: Runner,
        machine: Machine,
        *,
        gate: Gate | None = None,
        read: Callable[[Layer], Image] = read_image,
        read_through: Callable[[Layer], Chain] = read_chain,
        read_holds_data: Callable[[Layer], bool] = read_holds_data,
        read_is_at: Callable[[Layer, str], bool] = read_is_at,
        read_extents: Callable[[Layer], Mapping[str, tuple[Extent, ...]]] = read_extents,
        read_end_of_counts: Callable[[Layer], int] = read_end_of_counts,
        program: str = "qemu-img",
        daemon: str = "qemu-storage-daemon",
    ) -> None:
        self._runner = runner
        self._machine = machine
        self._gate = gate or Gate(machine)
        self._read = read
        self._read_through = read_through
        self._read_holds_data = read_holds_data
        self._read_is_at = read_is_at
        self._read_extents = read_extents
        self._read_end_of_counts = read_end_of_counts
        self._program = program
        self._daemon = daemon

    async def inspect(self, layer: Layer) -> Image:
        """See `ImageTool.inspect`."""
        return self._read(layer)

    async def chain(self, layer: Layer) -> Chain:
        """See `ImageTool.chain`."""
        return self._read_through(layer)

    async def require_unused(self, layer: Layer) -> None:
        """See `ImageTool.require_unused`."""
        await self._gate.to_write(layer.path)

    async def in_use(self, layer: Layer) -> bool | None:
        """See `ImageTool.in_use`."""
        return self._gate.in_use(layer.path)

    async def holds_data(self, layer: Layer) -> bool:
        """See `ImageTool.holds_data`."""
        return self._read_holds_data(layer)

    async def is_at(self, layer: Layer, *, snapshot_id: str) -> bool:
        """See `ImageTool.is_at`."""
        return self._read_is_at(layer, snapshot_id)

    async def extents(self, layer: Layer) -> Mapping[str, tuple[Extent, ...]]:
        """See `ImageTool.extents`."""
        return self._read_extents(layer)

    async def create_overlay(self, path: str, *, backing: Backing, size_bytes: int) -> None:
        """See `ImageTool.create_overlay`."""
        _whole_sectors(size_bytes)
        await self._gate.to_write(path)
        before = self._read(Layer(path, Format.RAW))
        if before.file_length_bytes:
            cause = f"{path} is not empty, so it is not the file that was made for this overlay"
            raise Refused([Reason("overlay-not-empty", cause, "Choose another name for the overlay.")])

        def effect() -> Effect:
            return Effect.UNKNOWN if self._read(before.layer).file_length_bytes else Effect.NONE

        name, format = _stored_name(backing.name), _format(backing)
        arguments = ("create", "-q", "-f", "qcow2", "-u", "-F", format, "-b", name, _file(path), str(size_bytes))
        await self._write(path, arguments, effect)

    async def snapshot_create(self, layer: Layer, *, tag: str) -> InternalSnapshot:
        """See `ImageTool.snapshot_create`."""
        _possible(tag)
        await self._gate.to_write(layer.path)
        before = self._snapshots(layer)
        if any(entry.tag == tag for entry in before):
            cause = f"{layer.path} already has a snapshot {tag!r}"
            raise Refused([Reason("tag-taken", cause, "Choose another name.")])

        def made() -> InternalSnapshot | None:
            return next((entry for entry in self._snapshots(layer) if entry.tag == tag), None)

        await self._write(
            layer.path,
            ("snapshot", "--image-opts", "-c", tag, _options(layer)),
            lambda: Effect.DONE if made() else Effect.NONE,
        )
        if entry := made():
            return entry
        raise Damaged(f"{layer.path}: qemu-img made a snapshot {tag!r} that is not in the table", path=layer.path)

    async def snapshot_apply(self, layer: Layer, *, snapshot_id: str) -> None:
        """See `ImageTool.snapshot_apply`."""
        await self._gate.to_write(layer.path)
        self._entry(layer, snapshot_id)
        await self._write(layer.path, ("snapshot", "--image-opts", "-a", snapshot_id, _options(layer)))

    async def snapshot_delete(self, layer: Layer, *, tag: str, snapshot_id: str) -> None:
        """See `ImageTool.snapshot_delete`."""
        await self._gate.to_write(layer.path)
        before = self._snapshots(layer)
        self._entry(layer, snapshot_id, tag=tag)

        def effect() -> Effect:
            return Effect.NONE if any(entry.id == snapshot_id for entry in self._snapshots(layer)) else Effect.DONE

        # `-d` takes the first entry with this tag, whatever its id (traced: 7.2.22).
        if sum(entry.tag == tag for entry in before) == 1:
            await self._write(layer.path, ("snapshot", "--image-opts", "-d", tag, _options(layer)), effect)
        else:
            await self._delete_by_id(layer, tag, snapshot_id, effect)
        if effect() is Effect.NONE:
            raise Damaged(f"{layer.path}: snapshot {snapshot_id} is still there after its deletion", path=layer.path)

    async def commit(self, top: Layer, *, into: Layer, progress: Grown | None = None) -> None:
        """See `ImageTool.commit`."""
        below = self._read_through(top).images[1:]
        target = self._read(into)
        if target.file not in {image.file for image in below}:
            raise NotFound(f"{into.path} is not below {top.path}", id="not-in-chain")
        await self._gate.to_read(top.path)
        await self._gate.to_write(into.path)
        # With -d the top keeps its clusters, so it reads the same throughout; -b alone would do that, too.
        arguments = ("-f", top.format, "-d", "-b", _file(into.path), _file(top.path))
        await self._write(top.path, _telling("commit", arguments, progress), heard=self._heard(top, progress))

    async def rebase(self, layer: Layer, *, backing: Backing | None, copy: bool, progress: Grown | None = None) -> None:
        """See `ImageTool.rebase`."""
        await self._gate.to_write(layer.path)
        before = self._read(layer)
        onto = ("-F", _format(backing), "-b", _stored_name(backing.name)) if backing else ("-b", "")

        def effect() -> Effect:
            if copy:
                return Effect.UNKNOWN
            return Effect.NONE if self._read(layer).backing == before.backing else Effect.DONE

        # By default the header is written before the tables that lead to what was copied: a kill in between loses all
        # of that without a word (measured: 7.2.22, killed by strace). With each write going through, tables come first.
        how = ("-t", "writethrough") if copy else ("-u",)
        arguments = ("-f", layer.format, *how, *onto, _file(layer.path))
        below = before.backing
        told = self._heard(Layer(below.path, below.format or Format.RAW), progress) if below and copy else None
        await self._write(layer.path, _telling("rebase", arguments, progress), effect, heard=told)

    async def resize(self, layer: Layer, *, size_bytes: int) -> None:
        """See `ImageTool.resize`."""
        _whole_sectors(size_bytes)
        await self._gate.to_write(layer.path)
        before = self._read(layer).virtual_size_bytes

        def effect() -> Effect:
            return Effect.NONE if self._read(layer).virtual_size_bytes == before else Effect.UNKNOWN

        how = ("--shrink",) if size_bytes < before else ()
        arguments = ("resize", "-q", "-f", layer.format, *how, _file(layer.path), str(size_bytes))
        await self._write(layer.path, arguments, effect)

    async def check(self, layer: Layer, *, repair_leaks: bool = False) -> CheckResult:
        """See `ImageTool.check`."""
        if layer.format is Format.RAW:
            self._read(layer)
            return CheckResult()
        # Of an image that is being written, leaks are told that are none: its QEMU keeps refcounts to itself (measured:
        # 7.2.22), and under Xen no lock of QEMU's says so.
        await (self._gate.to_write if repair_leaks else self._gate.to_read)(layer.path)
        # An image that stands on itself is opened again and again without end (measured: 7.2.22).
        with suppress(Refused, NotFound):
            self._read_through(layer)
        found = await self._check(layer)
        if not repair_leaks or found.corruptions:
            return found
        # Under Xen no lock keeps off who has opened the image meanwhile, and what his QEMU has counted is no leak.
        await self._gate.to_write(layer.path)
        if self._lengthen(layer):
            found = await self._check(layer)
            await self._gate.to_write(layer.path)
        return found if found.clean else await self._check(layer, "-r", "leaks")

    def _lengthen(self, layer: Layer) -> bool:
        """Let the file reach to the end of all that it counts, for a check looks no further; whether it was shorter.

        Where there is no room for that, the leak stays: it harms nobody.
        """
        end = self._read_end_of_counts(layer)
        if end:
            with suppress(OSError):
                fd = os.open(layer.path, os.O_WRONLY | os.O_CLOEXEC)
                try:
                    os.posix_fallocate(fd, end - 1, 1)  # never shortens a file that has grown meanwhile
                finally:
                    os.close(fd)
        return end > 0

    async def _check(self, layer: Layer, *how: str) -> CheckResult:
        arguments = ("check", "-f", layer.format, "--output=json", *how, _file(layer.path))
        done = await self._run(self._program, arguments)
        if done.returncode not in (_CHECK_CLEAN, _CHECK_CORRUPT, _CHECK_LEAKS):
            raise await self._failed(layer.path, done, Effect.NONE)
        # Counts that are zero are left out (traced: 7.2.22).
        counts = _json(done)
        stale = min(_stale_flags(done.stderr.decode("utf-8", "replace")), counts.get("corruptions", 0))
        return CheckResult(counts.get("leaks", 0), counts.get("corruptions", 0) - stale, stale)

    async def measure_bytes(self, layer: Layer) -> int:
        """See `ImageTool.measure_bytes`."""
        await self._gate.to_read(layer.path)
        done = await self._run(
            self._program, ("measure", "--output=json", "-f", layer.format, "-O", "qcow2", _file(layer.path))
        )
        if done.returncode:
            raise await self._failed(layer.path, done, Effect.NONE)
        return int(_json(done)["required"])

    async def copy(self, layer: Layer, *, to: str) -> None:
        """See `ImageTool.copy`."""
        await self._gate.to_read(layer.path)
        await self._gate.to_write(to)
        await self._copy_file(self._read(layer), to)
        compared = await self._runner.run(("cmp", "--", _file(layer.path), _file(to)))
        if compared.returncode:
            raise await self._failed(to, compared, Effect.UNKNOWN)

    async def copy_out(self, layer: Layer, *, snapshot_id: str = "", to: str, shared: bool = False) -> None:
        """See `ImageTool.copy_out`."""
        if not shared:
            await self._gate.to_read(layer.path)
        await self._gate.to_write(to)
        if not snapshot_id:
            self._read_through(layer)  # a chain whose formats are not told is refused, instead of being probed
            await self._write(to, ("convert", "-q", "-f", layer.format, "-O", "qcow2", _file(layer.path), _file(to)))
            return
        entry = self._entry(layer, snapshot_id)
        image = self._read(layer)
        if entry.disk_size_bytes == image.virtual_size_bytes:
            which = f"snapshot.id={_escaped(snapshot_id)}"
            how = ("-U",) if shared else ()
            names = (_file(layer.path), _file(to))
            await self._write(to, ("convert", *how, "-q", "-f", layer.format, "-l", which, "-O", "qcow2", *names))
            if shared and self._entry(layer, snapshot_id) != entry:
                cause = f"the snapshot {snapshot_id} of {layer.path} became another one while it was copied"
                raise Failed(cause, id="image-changed", effect=Effect.UNKNOWN)
            return
        if shared:
            cause = f"{layer.path} has another size than at its snapshot {snapshot_id}, and is written to"
            raise Refused([Reason("image-resized", cause, "Shut the guest down meanwhile.")])
        # `convert -l` shows a snapshot at the size that the disk has now, cut off or filled with zeros (measured:
        # 7.2.22). So the whole image is copied, and the copy reverted and rid of all else.
        try:
            await self._copy_file(image, to)
            await self._only(Layer(to, layer.format), image.backing, snapshot_id)
        except ToolFailed as error:
            error.effect = Effect.UNKNOWN
            raise

    async def _copy_file(self, image: Image, to: str) -> None:
        source = _file(image.layer.path)
        copied = await self._runner.run(("cp", "--sparse=always", "--reflink=auto", source, _file(to)))
        if copied.returncode:
            raise await self._failed(to, copied, Effect.UNKNOWN)

    async def _only(self, copy: Layer, backing: Backing | None, snapshot_id: str) -> None:
        """Make of a copied image one that holds what one snapshot held, alone and without a backing file."""
        if backing:
            elsewhere = Backing(backing.path, backing.path, backing.format)
            await self.rebase(copy, backing=elsewhere, copy=False)
        await self.snapshot_apply(copy, snapshot_id=snapshot_id)
        for each in self._snapshots(copy):
            await self.snapshot_delete(copy, tag=each.tag, snapshot_id=each.id)
        if backing:
            await self.rebase(copy, backing=None, copy=True)

    def _snapshots(self, layer: Layer) -> tuple[InternalSnapshot, ...]:
        if layer.format is not Format.QCOW2:
            cause = f"{layer.path}: {layer.format} images hold no internal snapshots"
            raise Refused([Reason("no-internal-snapshots", cause, "Take an external snapshot.")])
        return self._read(layer).snapshots

    def _entry(self, layer: Layer, snapshot_id: str, *, tag: str | None = None) -> InternalSnapshot:
        """The one entry with this id, and with this tag if one is given."""
        found = [entry for entry in self._snapshots(layer) if entry.id == snapshot_id]
        if len(found) > 1:
            raise Damaged(f"{layer.path}: {len(found)} snapshots have the id {snapshot_id!r}", path=layer.path)
        if not found or tag not in (None, found[0].tag):
            named = f"the id {snapshot_id!r}" + ("" if tag is None else f" and the tag {tag!r}")
            raise NotFound(f"{layer.path} has no snapshot with {named}", id="snapshot-not-in-image")
        return found[0]

    async def _delete_by_id(self, layer: Layer, tag: str, snapshot_id: str, effect: Callable[[], Effect]) -> None:
        """Several entries have this tag, so qemu-img would take the oldest; QEMU itself can tell them apart."""
        victim = {"device": "image", "id": snapshot_id}
        try:
            tag.encode()
            victim["name"] = tag
        except UnicodeEncodeError:
            pass  # QMP carries no such name; the id is unique, that has been proved
        commands: list[dict[str, Any]] = [
            {"execute": "qmp_capabilities"},
            {"execute": "blockdev-snapshot-delete-internal-sync", "arguments": victim},
            {"execute": "quit"},
        ]
        arguments = (
            "--blockdev", f"node-name=image,{_options(layer)}",
            "--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor",
        )  # fmt: skip
        stdin = b"".join(json.dumps(command).encode() + b"\n" for command in commands)
        done = await self._run(self._daemon, arguments, stdin)
        answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
        if errors := [answer["error"]["desc"] for answer in answers if "error" in answer]:
            done = Completed(done.argv, 1, done.stdout, "\n".join(errors).encode())
        if done.returncode:
            raise await self._failed(layer.path, done, effect())

    async def _write(
        self,
        path: str,
        arguments: tuple[str, ...],
        effect: Callable[[], Effect] = lambda: Effect.UNKNOWN,
        *,
        heard: Callable[[bytes], None] | None = None,
    ) -> None:
        """Run qemu-img on an image that passed the gate; `effect` looks what a failed run has changed."""
        done = await self._run(self._program, arguments, heard=heard)
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace")
            untouched = done.returncode > 0 and any(sign in words for sign in _UNTOUCHED)
            raise await self._failed(path, done, Effect.NONE if untouched else _looked(done, effect))

    def _heard(self, layer: Layer, progress: Grown | None) -> Callable[[bytes], None] | None:
        """Makes bytes of what qemu-img tells of its way through an image."""
        if progress is None:
            return None
        total_bytes = self._read(layer).allocated_bytes

        def heard(text: bytes) -> None:
            told = _PERCENT.findall(text)
            if told:
                progress(int(total_bytes * float(told[-1]) / 100), total_bytes)

        return heard

    async def _run(
        self,
        program: str,
        arguments: tuple[str, ...],
        stdin: bytes = b"",
        heard: Callable[[bytes], None] | None = None,
    ) -> Completed:
        for argument in arguments:
            if "\0" in argument:
                cause = f"{argument!r} holds a zero byte, which no program can be told"
                raise Refused([Reason("zero-byte", cause, "Use a name without it.")])
        return await self._runner.run((program, *arguments), stdin=stdin, heard=heard)

    async def _failed(self, path: str, done: Completed, effect: Effect) -> XensnapError:
        words = done.stderr.decode("utf-8", "replace").strip()
        if any(sign in words for sign in _LOCKED):
            try:
                openers = await self._machine.openers(path)
            except XensnapError:
                openers = ()
            return busy(path, openers)
        return ToolFailed(
            f"{path}: {words or f'{done.argv[0]} ended with {done.returncode}'}",
            argv=done.argv,
            returncode=done.returncode,
            stderr=words,
            effect=effect,
        )


def _looked(done: Completed, effect: Callable[[], Effect]) -> Effect:
    """What a failed run has changed, as far as the image can tell; of a killed one it cannot."""
    if done.returncode < 0:
        return Effect.UNKNOWN
    try:
        return effect()
    except XensnapError:
        return Effect.UNKNOWN


def _telling(verb: str, arguments: tuple[str, ...], progress: Grown | None) -> tuple[str, ...]:
    """The command with `-p`, or with the `-q` that silences it; it tells on a pipe, too (traced: 7.2.22)."""
    return (verb, "-q" if progress is None else "-p", *arguments)


def _stale_flags(words: str) -> int:
    """How many of the errors that a check has told are flags that do not follow their clusters' counts.

    A `snapshot -c` whose disk fails, or that is killed, raises the counts of all clusters first; those whose flags it
    has not come to are told as corruption, and `-r leaks` puts both right, like `-r all` (measured with blkdebug, and
    with kills at each write: 7.2.22). It puts flags right only where it has found no other error.
    """
    return sum(line.startswith("ERROR OFLAG_COPIED") for line in words.splitlines())


def _file(path: str) -> str:
    return path if path[:1] == "/" else f"{os.getcwd()}/{path}"  # noqa: PTH109 -- paths are text in the model


def _stored_name(name: str) -> str:
    """A backing name as it goes into a header: QEMU takes what has a colon before any slash for a protocol."""
    head, colon, _ = name.partition(":")
    return f"./{name}" if colon and "/" not in head else name


def _format(backing: Backing) -> Format:
    if backing.format is None:
        cause = f"the format of the backing file {backing.name!r} is not given"
        raise Refused([Reason("backing-format-missing", cause, "Say which it is; formats are never probed.")])
    return backing.format


def _options(layer: Layer) -> str:
    return f"driver={layer.format},file.driver=file,file.filename={_escaped(_file(layer.path))}"


def _escaped(value: str) -> str:
    return value.replace(",", ",,")


def _possible(tag: str) -> None:
    if len(tag.encode("utf-8", "surrogateescape")) > TAG_BYTES_MAX:
        # qemu-img would cut it off without a word (traced: 7.2.22).
        cause = f"a snapshot's tag is longer than {TAG_BYTES_MAX} bytes: {tag[:40]!r}…"
        raise Refused([Reason("tag-too-long", cause, "Choose a shorter name.")])


def _whole_sectors(size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % _SECTOR_BYTES:
        cause = f"a disk of {size_bytes} bytes is not possible, QEMU counts in sectors of {_SECTOR_BYTES}"
        raise Refused([Reason("not-whole-sectors", cause, f"Give a multiple of {_SECTOR_BYTES}.")])


def _json(done: Completed) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
