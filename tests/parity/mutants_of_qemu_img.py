"""What a reasonable fake would get wrong of qemu-img: each put into the simulator."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from simulator.disk import image, operations
from simulator.disk.content import EMPTY
from simulator.disk.image import Qcow2
from simulator.disk.refcounts import lowered, may_snapshot
from simulator.disk.snapshots import Entry, Table
from simulator.tools.img import arguments, change, copy, create, dd, look, mapping, opening, options, run, snapshot
from simulator.tools.img.arguments import Failed, number, size_of
from tests.parity import test_other_guests as guests
from tests.parity.mutants_of_xl import Case

replace = msgspec.structs.replace
Mutate = Callable[[pytest.MonkeyPatch], None]

BY_TAG, REMOVED, RESIZED = Table.by_tag, Table.removed, operations.resized
DONE, BACKED = snapshot._done, create._base
OPENED = opening.opened
HELD, IN_FILE = mapping._held, mapping._in_file
OPERANDS = dd._operands
WANTED, NUMBER, PARSED, SHOWN = copy._wanted, arguments.number, options.parsed, options.shown


def _refusing(patch: pytest.MonkeyPatch, unwanted: Callable[[Table, str], bool]) -> None:
    """`snapshot -c` does not take every tag."""

    def done(fs: Any, program: Any, *rest: Any) -> Any:
        tag: str = getattr(program, "tag", "")
        if type(program).__name__ == "SnapshotCreate":
            stored = fs.inode(program.layer.path).stored
            if isinstance(stored, Qcow2) and unwanted(stored.table, tag):
                raise Failed("the tag is refused")
        return DONE(fs, program, *rest)

    patch.setattr(snapshot, "_done", done)


def a_tag_is_there_once(patch: pytest.MonkeyPatch) -> None:
    """A second snapshot of the same name is refused."""
    _refusing(patch, lambda table, tag: BY_TAG(table, tag) is not None)


def a_tag_is_not_empty(patch: pytest.MonkeyPatch) -> None:
    """A snapshot has a name."""
    _refusing(patch, lambda _table, tag: not tag)


def an_apply_goes_by_names(patch: pytest.MonkeyPatch) -> None:
    """`snapshot -a 3` looks for the name first."""

    def by_id_or_name(table: Table, wanted: str) -> Entry | None:
        return table.by_tag(wanted) or table.by_id(wanted)

    patch.setattr(snapshot, "by_id_or_name", by_id_or_name)


def a_delete_takes_an_id(patch: pytest.MonkeyPatch) -> None:
    """`snapshot -d 3` takes the id, as `-a` does."""
    patch.setattr(Table, "by_tag", lambda table, tag: table.by_id(tag) or BY_TAG(table, tag))


def a_delete_takes_the_latest(patch: pytest.MonkeyPatch) -> None:
    """Of two snapshots of one name the later is deleted."""

    def latest(table: Table, tag: str) -> Entry | None:
        same = [entry for entry in table if entry.told.tag == tag]
        return same[-1] if same else None

    patch.setattr(Table, "by_tag", latest)


def ids_are_never_used_again(patch: pytest.MonkeyPatch) -> None:
    """The number of a snapshot that was deleted is not given to another."""

    def kept(table: Table, entry: Entry) -> Table:
        return replace(REMOVED(table, entry), highest=table.highest)

    patch.setattr(Table, "removed", kept)


def a_long_tag_is_kept_whole(patch: pytest.MonkeyPatch) -> None:
    """A name of 300 bytes is stored, or refused, but never cut."""
    patch.setattr(operations, "stored", lambda tag: tag.encode("utf-8", "surrogateescape"))


def a_snapshot_that_fails_leaks_nothing(patch: pytest.MonkeyPatch) -> None:
    """What could not be made has left no trace."""
    patch.setattr(operations, "snapshot_refused", lambda image: None if may_snapshot(image) else lowered(image))


def a_snapshot_that_a_disk_stops_leaks_nothing(patch: pytest.MonkeyPatch) -> None:
    """Where a disk fails half-way the counts are put right again."""
    patch.setattr(operations, "raised", lambda image, _clusters, **_more: image)


def an_apply_keeps_the_size(patch: pytest.MonkeyPatch) -> None:
    """A disk that has grown stays as large when a snapshot is applied."""

    def done(fs: Any, program: Any, *rest: Any) -> Any:
        path = program.layer.path
        size = fs.inode(path).stored.size_bytes
        after, *told = DONE(fs, program, *rest)
        return after.update(path, lambda image: replace(image, size_bytes=size)), *told  # type: ignore[type-var]

    patch.setattr(snapshot, "_done", done)


def an_old_image_with_snapshots_grows(patch: pytest.MonkeyPatch) -> None:
    """An image of version 2 is resized like one of version 3."""

    def resized(images: tuple[Any, ...], size_bytes: int) -> Any:
        top = images[0]
        if isinstance(top, Qcow2) and top.version == 2:
            return RESIZED((replace(top, table=Table()), *images[1:]), size_bytes)
        return RESIZED(images, size_bytes)

    patch.setattr(operations, "resized", resized)


def a_backing_format_is_guessed(patch: pytest.MonkeyPatch) -> None:
    """`create -b` without `-F` finds out what the base is."""

    def backed(*rest: Any, sized: bool) -> Any:
        fs, call, name, path, backing, backing_format = rest
        return BACKED(fs, call, name, path, backing, backing_format or "qcow2", sized=sized)

    patch.setattr(create, "_base", backed)


def a_snapshot_holds_its_base(patch: pytest.MonkeyPatch) -> None:
    """A commit that would change what an older snapshot of the overlay shows is refused."""

    def committed(fs: Any, argv: Any, cwd: str, now_ns: int) -> Any:
        stored = fs.inode(f"{cwd}/{argv[-1]}").stored
        if isinstance(stored, Qcow2) and stored.table.entries:
            raise Failed("the image has snapshots")
        return change.commit(fs, argv, cwd, now_ns)

    patch.setitem(run.SUBCOMMANDS, "commit", committed)


def a_copy_has_the_size_that_was_asked_for(patch: pytest.MonkeyPatch) -> None:
    """`convert -o size=2M` makes an image of that size."""

    def wanted(call: Any, form: str, parts: Any, size: int) -> Any:
        given = WANTED(call, form, parts, size)
        asked = next((size_of(part.partition("=")[2]) for part in parts if part.startswith("size=")), None)
        return given.with_(size=asked)

    patch.setattr(copy, "_wanted", wanted)


def a_part_of_a_byte_is_rounded(patch: pytest.MonkeyPatch) -> None:
    """An image of 1.5 bytes is one of a byte."""
    patch.setattr(create, "number", lambda text, what: int(float(text)) if text == "1.5" else NUMBER(text, what))


def an_option_says_what_is_on(patch: pytest.MonkeyPatch) -> None:
    """An option that begins with `no` is one that there is not."""
    patch.setattr(
        create,
        "parsed",
        lambda form, parts, prefix: PARSED(form, [f"{p}=x" if p[:2] == "no" else p for p in parts], prefix=prefix),
    )


def only_one_help_there_is(patch: pytest.MonkeyPatch) -> None:
    """`-o help` tells the same whether a file is named or not."""
    patch.setattr(create, "shown", lambda form, named: SHOWN(form, named=True))


def zeros_take_room(patch: pytest.MonkeyPatch) -> None:
    """A cluster that is marked as zeros is one that is allocated."""
    patch.setattr(look, "_clusters", lambda image: (len(image.content), -(-image.size_bytes // image.cluster_bytes)))


def what_is_compressed_has_a_place(patch: pytest.MonkeyPatch) -> None:
    """`map` tells people where compressed clusters are, as it tells programs."""
    patch.setattr(mapping, "_held", lambda image, *rest: HELD(replace(image, compressed=EMPTY), *rest))


def an_empty_raw_image_is_a_hole(patch: pytest.MonkeyPatch) -> None:
    """A raw image that nobody has written to holds no data."""
    patch.setattr(mapping, "_in_file", lambda image, *rest: (e for e in IN_FILE(image, *rest) if e.start))


def on_is_on(patch: pytest.MonkeyPatch) -> None:
    """Whatever word an option was switched by, `create` says `on` or `off`."""

    def parsed_without_words(form: str, parts: Any, prefix: str = "") -> Any:
        return replace(PARSED(form, parts, prefix=prefix), words={})

    patch.setattr(create, "parsed", parsed_without_words)


def a_share_is_of_the_image(patch: pytest.MonkeyPatch) -> None:
    """`rebase -U` is refused, as `-U` is wherever an image is written to."""
    patch.setattr(change, "opened", lambda *args, **more: OPENED(*args, **{**more, "sharing": True}))


def a_program_is_told_even_quietly(patch: pytest.MonkeyPatch) -> None:
    """`check -q --output=json` prints its JSON, which is no noise."""

    def checked(fs: Any, argv: Any, cwd: str, now_ns: int) -> Any:
        loud = [word for word in argv if word != "-q"] if "--output=json" in argv else argv
        return look.check(fs, loud, cwd, now_ns)

    patch.setitem(run.SUBCOMMANDS, "check", checked)


def a_part_is_written_alone(patch: pytest.MonkeyPatch) -> None:
    """With extended L2 entries a write takes no more than the parts that it touches, whoever shares the cluster."""
    patch.setattr(operations, "_copied", lambda *_rest: {})


def what_a_part_needs_is_a_cluster(patch: pytest.MonkeyPatch) -> None:
    """A write to a part of a cluster allocates the cluster, whatever the L2 entries are."""
    patch.setattr(image, "PARTS", 1)


def blocks_are_counted_from_where_dd_begins(patch: pytest.MonkeyPatch) -> None:
    """`dd skip=2 count=3` copies three blocks, as dd(1) does."""

    def operands(words: Any) -> dict[str, str]:
        given = OPERANDS(words)
        both = [number(given[each], each) for each in ("count", "skip") if each in given]
        return given | {"count": str(sum(both))} if len(both) == 2 else given

    patch.setattr(dd, "_operands", operands)


def too_far_a_skip_fails(patch: pytest.MonkeyPatch) -> None:
    """What `dd` cannot skip it fails at, and makes nothing."""

    def copied(*rest: Any) -> Any:
        fs, out, err, code = dd.dd(*rest)
        if err:
            raise Failed("cannot skip to specified offset")
        return fs, out, err, code

    patch.setitem(run.SUBCOMMANDS, "dd", copied)


MUTANTS: dict[Mutate, str | Case] = {
    a_part_is_written_alone: "img-extended-l2",
    what_a_part_needs_is_a_cluster: "img-extended-l2",
    blocks_are_counted_from_where_dd_begins: "img-dd",
    too_far_a_skip_fails: "img-dd",
    on_is_on: "img-words",
    a_share_is_of_the_image: "img-words",
    a_program_is_told_even_quietly: "img-words",
    a_tag_is_there_once: "snapshot-tags",
    a_tag_is_not_empty: "snapshot-tags",
    an_apply_goes_by_names: "snapshot-ids",
    a_delete_takes_an_id: "snapshot-tags",
    a_delete_takes_the_latest: "snapshot-tags",
    ids_are_never_used_again: "snapshot-ids",
    a_long_tag_is_kept_whole: "snapshot-tags",
    a_snapshot_that_fails_leaks_nothing: "narrow-refcounts",
    a_snapshot_that_a_disk_stops_leaks_nothing: Case(
        guests.FOUR_DISKS, guests.test_a_snapshot_that_a_disk_stops_leaves_nothing_or_has_leaked
    ),
    an_apply_keeps_the_size: "snapshot-sizes",
    an_old_image_with_snapshots_grows: "snapshot-sizes",
    a_backing_format_is_guessed: "create",
    a_snapshot_holds_its_base: "snapshot-overlay",
    a_copy_has_the_size_that_was_asked_for: "img-convert",
    a_part_of_a_byte_is_rounded: "img-create-sizes",
    an_option_says_what_is_on: "img-create-options",
    only_one_help_there_is: "img-create-options",
    zeros_take_room: "img-zeros",
    what_is_compressed_has_a_place: "img-convert-compressed",
    an_empty_raw_image_is_a_hole: "img-map-raw",
}
