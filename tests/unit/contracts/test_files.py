"""The contract of `Files`."""

import errno
import stat

import pytest

from xensnap.errors import Busy, Effect, FileFailed, NotFound
from xensnap.hypervisor import WHOLE_BYTES_MAX
from xensnap.model import Format, Layer


def test_a_new_file_holds_what_it_was_given_and_is_ours_alone(bench, files, directory):
    path = f"{directory}/new"
    bench.run(files.create(path, b"content"))
    assert bench.run(files.read(path)) == b"content"
    found = bench.run(files.stat(path))
    assert (found.mode, found.length_bytes, found.is_regular, found.is_dir) == (0o600, 7, True, False)
    assert found.uid == bench.run(bench.host.machine.whoami()).uid


def test_a_listing_tells_of_each_name_what_a_look_at_it_tells(bench, files, directory):
    bench.run(files.mkdir(f"{directory}/place/below"))
    bench.run(files.create(f"{directory}/place/file", b"content"))
    assert bench.run(files.listing(f"{directory}/place")) == {
        name: bench.run(files.stat(f"{directory}/place/{name}")) for name in ("below", "file")
    }
    assert bench.run(files.listing(f"{directory}/nowhere")) == {}
    with pytest.raises(FileFailed):
        bench.run(files.listing(f"{directory}/place/file"))


def test_a_part_of_a_file_is_read_as_far_as_it_goes(bench, files, directory):
    path = f"{directory}/new"
    bench.run(files.create(path, b"content"))
    parts = [(0, 3, b"con"), (3, 100, b"tent"), (7, 1, b""), (100, 1, b""), (2, 0, b"")]
    for offset, length_bytes, expected in parts:
        assert bench.run(files.read_part(path, offset=offset, length_bytes=length_bytes)) == expected


def test_what_is_larger_than_any_text_is_not_read_whole(bench, files, directory):
    path = f"{directory}/large"
    bench.run(files.create(path, b"x" * WHOLE_BYTES_MAX))
    assert len(bench.run(files.read(path))) == WHOLE_BYTES_MAX
    bench.run(files.append(path, b"y"))
    with pytest.raises(FileFailed) as caught:
        bench.run(files.read(path))
    assert (caught.value.errno, caught.value.effect) == (errno.EFBIG, Effect.NONE)
    assert bench.run(files.read_part(path, offset=WHOLE_BYTES_MAX - 1, length_bytes=9)) == b"xy"


def test_a_name_is_given_once(bench, files, directory):
    path = f"{directory}/taken"
    bench.run(files.create(path, b"first"))
    with pytest.raises(FileFailed) as caught:
        bench.run(files.create(path, b"second"))
    assert (caught.value.errno, caught.value.effect, caught.value.path) == (errno.EEXIST, Effect.NONE, path)
    assert bench.run(files.read(path)) == b"first"


def test_nothing_is_made_in_a_directory_that_is_not_there(bench, files, directory):
    path = f"{directory}/nowhere/new"
    for work in (files.create(path, b"x"), files.replace(path, b"x"), files.append(path, b"x")):
        with pytest.raises(FileFailed) as caught:
            bench.run(work)
        assert caught.value.errno == errno.ENOENT
    assert bench.run(files.stat(f"{directory}/nowhere")) is None


def test_what_is_not_there_cannot_be_read_or_removed(bench, files, directory):
    part = files.read_part(f"{directory}/nothing", offset=0, length_bytes=1)
    for work in (files.read(f"{directory}/nothing"), part, files.remove(f"{directory}/nothing")):
        with pytest.raises(NotFound):
            bench.run(work)


def test_with_its_number_only_the_very_file_is_removed(bench, files, directory):
    path = f"{directory}/file"
    bench.run(files.create(path, b"ours"))
    inode, generation = bench.run(files.stat(path)).file.inode, bench.run(files.generation(path))
    others = [(inode + 1, 0), (inode + 1, generation)] + [(inode, generation + 1)] * bool(generation)
    for other, which in others:
        with pytest.raises(FileFailed) as caught:
            bench.run(files.remove(path, inode=other, generation=which))
        assert (caught.value.errno, caught.value.effect) == (errno.ESTALE, Effect.NONE)
    assert bench.run(files.read(path)) == b"ours"
    bench.run(files.remove(path, inode=inode, generation=generation))
    with pytest.raises(NotFound):
        bench.run(files.remove(path, inode=inode, generation=generation))


def test_a_directory_is_no_file_to_read(bench, files, directory):
    with pytest.raises(FileFailed):
        bench.run(files.read(directory))


def test_replacing_leaves_the_new_content_and_nothing_else(bench, files, directory):
    path = f"{directory}/record"
    before = set(bench.run(files.names(directory)))
    for content in (b"first", b"second, longer", b""):
        bench.run(files.replace(path, content))
        assert bench.run(files.read(path)) == content
    assert set(bench.run(files.names(directory))) == before | {"record"}
    assert bench.run(files.stat(path)).mode == 0o600


def test_a_sibling_left_by_one_that_died_is_in_nobodys_way(bench, files, directory):
    path = f"{directory}/record"
    bench.run(files.create(f"{directory}/.record.new", b"torn and much longer than what follows"))
    bench.run(files.replace(path, b"whole"))
    assert bench.run(files.read(path)) == b"whole"
    assert ".record.new" not in bench.run(files.names(directory))


def test_appending_makes_the_file_and_then_adds(bench, files, directory):
    path = f"{directory}/journal"
    bench.run(files.append(path, b"one\n"))
    bench.run(files.append(path, b"two\n"))
    assert bench.run(files.read(path)) == b"one\ntwo\n"
    assert bench.run(files.stat(path)).mode == 0o600


def test_a_part_of_a_file_is_written_over_and_the_rest_stays(bench, files, directory):
    path = f"{directory}/file"
    bench.run(files.create(path, b"0123456789"))
    inode = bench.run(files.stat(path)).file
    bench.run(files.write_part(path, b"abc", offset=2))
    assert bench.run(files.read(path)) == b"01abc56789"
    assert bench.run(files.stat(path)).file == inode


def test_what_has_a_second_name_is_not_written_to(bench, files, directory):
    path = f"{directory}/file"
    bench.run(files.create(path, b"ours"))
    assert bench.run(files.stat(path)).links == 1
    bench.second_name(path, f"{directory}/other")
    assert {bench.run(files.stat(f"{directory}/{name}")).links for name in ("file", "other")} == {2}
    for write in (
        files.append(path, b"more"),
        files.write_part(path, b"x", offset=0),
        files.lock(path, note=b"us"),
    ):
        with pytest.raises(FileFailed) as caught:
            bench.run(write)
        assert (caught.value.errno, caught.value.effect) == (errno.EMLINK, Effect.NONE)
    assert bench.run(files.read(path)) == b"ours"
    bench.run(files.replace(path, b"new"))
    assert [bench.run(files.read(f"{directory}/{name}")) for name in ("file", "other")] == [b"new", b"ours"]
    assert {bench.run(files.stat(f"{directory}/{name}")).links for name in ("file", "other")} == {1}


@pytest.mark.parametrize(("offset", "data"), [(8, b"xyz"), (11, b"x")])
def test_nothing_is_written_beyond_the_end_of_a_file(bench, files, directory, offset, data):
    path = f"{directory}/file"
    bench.run(files.create(path, b"0123456789"))
    for where in (path, f"{directory}/nowhere"):
        with pytest.raises(FileFailed):
            bench.run(files.write_part(where, data, offset=offset))
    assert bench.run(files.read(path)) == b"0123456789"
    assert bench.run(files.stat(f"{directory}/nowhere")) is None


def test_a_name_that_is_taken_is_left_to_its_file(bench, files, directory):
    old, new, free = (f"{directory}/{name}" for name in ("old", "new", "free"))
    bench.run(files.create(old, b"old"))
    bench.run(files.create(new, b"new"))
    file = bench.run(files.stat(old)).file
    with pytest.raises(FileFailed) as caught:
        bench.run(files.rename(old, new, replace=False))
    assert (caught.value.errno, caught.value.effect) == (errno.EEXIST, Effect.NONE)
    assert [bench.run(files.read(path)) for path in (old, new)] == [b"old", b"new"]
    bench.run(files.rename(old, free, replace=False))
    assert bench.run(files.stat(free)).file == file
    assert bench.run(files.stat(old)) is None


def test_the_bytes_of_an_image_are_those_of_the_image_that_they_make(bench, files, directory):
    layer = bench.image("a.qcow2")
    bench.write(layer, 65536, 4096)
    copy = Layer(f"{directory}/copy.qcow2", Format.QCOW2)
    data = bench.run(files.read(layer.path))
    assert data[:4] == b"QFI\xfb"
    bench.run(files.create(copy.path, data[:1000]))
    bench.run(files.append(copy.path, data[1000:]))
    assert bench.content(copy) == bench.content(layer)
    assert bench.run(bench.host.images.check(copy)).clean


def test_what_is_there_can_be_made_durable(bench, files, directory):
    path = f"{directory}/file"
    bench.run(files.create(path, b"x"))
    bench.run(files.sync(path))
    bench.run(files.sync_dir(directory))
    with pytest.raises(FileFailed):
        bench.run(files.sync_dir(f"{directory}/nowhere"))


def test_directories_are_made_with_all_above_them_and_one_that_exists_is_fine(bench, files, directory):
    path = f"{directory}/a/b/c"
    for _ in range(2):
        bench.run(files.mkdir(path))
    for part in (f"{directory}/a", f"{directory}/a/b", path):
        found = bench.run(files.stat(part))
        assert (found.is_dir, found.is_regular, found.mode) == (True, False, 0o700)


def test_a_file_is_not_turned_into_a_directory(bench, files, directory):
    path = f"{directory}/file"
    bench.run(files.create(path, b"x"))
    for wanted in (path, f"{path}/below"):
        with pytest.raises(FileFailed) as caught:
            bench.run(files.mkdir(wanted))
        assert caught.value.effect is Effect.NONE
    assert bench.run(files.read(path)) == b"x"


def test_a_renamed_file_is_the_same_file(bench, files, directory):
    old, new = f"{directory}/old", f"{directory}/new"
    bench.run(files.create(old, b"old"))
    bench.run(files.create(new, b"new"))
    file = bench.run(files.stat(old)).file
    bench.run(files.rename(old, new))
    assert bench.run(files.stat(new)).file == file
    assert bench.run(files.read(new)) == b"old"
    assert bench.run(files.stat(old)) is None


def test_a_rename_that_fails_changes_nothing(bench, files, directory):
    old = f"{directory}/old"
    bench.run(files.create(old, b"old"))
    for work in (files.rename(old, f"{directory}/nowhere/new"), files.rename(f"{directory}/nothing", old)):
        with pytest.raises((FileFailed, NotFound)) as caught:
            bench.run(work)
        assert caught.value.effect is Effect.NONE
    assert bench.run(files.read(old)) == b"old"


def test_a_removed_file_is_gone(bench, files, directory):
    path = f"{directory}/file"
    bench.run(files.create(path))
    bench.run(files.remove(path))
    assert bench.run(files.stat(path)) is None
    bench.run(files.create(path))


def test_names_are_sorted_and_there_are_none_where_there_is_no_directory(bench, files, directory):
    path = f"{directory}/names"
    assert bench.run(files.names(path)) == ()
    bench.run(files.mkdir(path))
    for name in ("b", "a", "B", ".hidden"):
        bench.run(files.create(f"{path}/{name}"))
    assert bench.run(files.names(path)) == tuple(sorted(["b", "a", "B", ".hidden"]))


def test_space_is_told_for_directories_that_exist(bench, files, directory):
    assert bench.run(files.free_bytes(directory)) > 0
    with pytest.raises(FileFailed):
        bench.run(files.free_bytes(f"{directory}/nowhere"))


def test_an_immutable_file_stays_as_it_is_until_the_flag_is_cleared(bench, files, directory, flags):
    path = f"{directory}/frozen"
    bench.run(files.create(path, b"frozen"))
    try:
        for _ in range(2):
            bench.run(files.set_immutable(path, on=True))
            assert bench.run(files.is_immutable(path))
        attempts = (
            files.append(path, b"!"),
            files.replace(path, b"!"),
            files.remove(path),
            files.rename(path, f"{path}.away"),
        )
        for work in attempts:
            with pytest.raises(FileFailed) as caught:
                bench.run(work)
            assert caught.value.errno == errno.EPERM
        assert bench.run(files.read(path)) == b"frozen"
    finally:
        for _ in range(2):
            bench.run(files.set_immutable(path, on=False))
    assert not bench.run(files.is_immutable(path))
    bench.run(files.append(path, b"!"))
    assert bench.run(files.read(path)) == b"frozen!"


def test_a_lock_is_held_by_one_and_its_note_tells_who(bench, files, directory):
    path = f"{directory}/lock"
    held = bench.run(files.lock(path, note=b"the first one, pid 7"))
    with pytest.raises(Busy, match="the first one, pid 7"):
        bench.run(bench.another_process().lock(path, note=b"the second"))
    bench.run(held.release())
    second = bench.run(bench.another_process().lock(path, note=b"short"))
    with pytest.raises(Busy, match=r"short$"):
        bench.run(files.lock(path, note=b"a third"))
    bench.run(second.release())


def test_who_waits_for_a_lock_gets_it_when_it_is_released(bench, files, directory):
    path = f"{directory}/lock"
    other = bench.another_process()

    async def hold():
        held = await files.lock(path, note=b"first")
        await bench.host.machine.sleep(0.02)
        await held.release()

    async def wait():
        return await other.lock(path, note=b"second", wait_s=30)

    async def both():
        _, lock = await bench.host.gather(hold(), wait())
        await lock.release()

    bench.run(both())


def test_waiting_for_a_lock_ends(bench, files, directory):
    path = f"{directory}/lock"
    held = bench.run(files.lock(path, note=b"first"))
    before = bench.run(bench.host.machine.monotonic_ns())
    with pytest.raises(Busy):
        bench.run(bench.another_process().lock(path, note=b"second", wait_s=0.05))
    assert bench.run(bench.host.machine.monotonic_ns()) - before >= 50_000_000
    bench.run(held.release())


def test_a_lock_file_is_ours_alone(bench, files, directory):
    path = f"{directory}/lock"
    held = bench.run(files.lock(path, note=b"note"))
    assert stat.S_IMODE(bench.run(files.stat(path)).mode) == 0o600
    bench.run(held.release())


def test_a_file_keeps_its_generation_and_who_gets_its_inode_number_has_another(bench, files, directory):
    path = f"{directory}/first"
    assert bench.run(files.generation(path)) == 0
    numbers = set()
    for content in (b"one", b"another"):
        bench.run(files.create(path, content))
        found = bench.run(files.stat(path)), bench.run(files.generation(path))
        bench.run(files.append(path, b"more"))
        assert bench.run(files.generation(path)) == found[1]
        bench.run(files.rename(path, f"{path}.moved"))
        assert bench.run(files.generation(f"{path}.moved")) == found[1]
        numbers.add((found[0].file, found[1]))
        bench.run(files.remove(f"{path}.moved"))
    assert len(numbers) == 2
