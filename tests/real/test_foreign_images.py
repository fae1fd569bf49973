"""Images that qemu-img, QEMU and strangers have made and touched: worked on exactly, or refused untouched.

What a snapshot holds is compared by `qemu-img compare` with copies taken before; what is not ours stays as it is.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import require_tool
from tests.real.lab import Lab, options, tool

CLUSTERS = (512, 1024, 4096, 65536, 1 << 20, 2 << 20)


def goes_round(lab: Lab, kind: str, *, format: str = "qcow2") -> None:
    """Snapshot, more data, revert, delete: at each point the disk shows exactly what it must."""
    first = lab.copy(*lab.active())
    lab.ok("create", "guest", "-n", "one", "--type", kind)
    assert lab.same(lab.active()[0], first, lab.active()[1])
    lab.guest_writes(2, at="32k", length="96k")
    second = lab.copy(*lab.active())
    lab.ok("create", "guest", "-n", "two")
    lab.guest_writes(3, at="1M", length="1M")
    lab.ok("revert", "guest", "one")
    assert lab.same(lab.active()[0], first, lab.active()[1])
    lab.ok("revert", "guest", "two")
    assert lab.same(lab.active()[0], second, lab.active()[1])
    lab.ok("delete", "guest", "one")
    assert lab.same(lab.active()[0], second, lab.active()[1])
    lab.ok("delete", "guest", "two")
    assert lab.same(lab.active()[0], second, lab.active()[1])
    lab.sound()


# --- What works ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["internal", "external"])
@pytest.mark.parametrize("compat", ["0.10", "1.1"])
@pytest.mark.parametrize("cluster", CLUSTERS)
def test_every_version_and_cluster_size_comes_back_exactly(lab, cluster, compat, kind) -> None:
    lab.image("a.qcow2", compat=compat, cluster_size=cluster)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    goes_round(lab, kind)
    assert lab.files() == {"a.qcow2", "guest.toml"}
    assert lab.tags(lab.path("a.qcow2")) == []


@pytest.mark.parametrize(
    "made",
    [
        {"lazy_refcounts": "on"},
        {"extended_l2": "on"},
        {"refcount_bits": 64},
        {"compression_type": "zstd"},
        {"preallocation": "metadata"},
    ],
    ids=str,
)
def test_every_feature_of_qcow2_that_keeps_its_data_comes_back_exactly(lab, made) -> None:
    lab.image("a.qcow2", **made)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    goes_round(lab, "internal")
    goes_round(lab, "external")


def test_a_raw_base_comes_back_exactly_and_is_raw_again_at_the_end(lab) -> None:
    lab.image("a.raw", format="raw")
    lab.describe("guest", ("a.raw", "raw"))
    goes_round(lab, "external")
    assert lab.active() == (lab.path("a.raw"), "raw")
    assert lab.files() == {"a.raw", "guest.toml"}


def test_an_internal_snapshot_of_a_raw_image_is_refused(lab) -> None:
    lab.image("a.raw", format="raw")
    lab.describe("guest", ("a.raw", "raw"))
    told = lab.refused("create", "guest", "-n", "one", "--type", "internal")
    assert (told["id"], told["exit_code"]) == ("not-qcow2", 6)


def test_a_raw_image_that_looks_like_qcow2_stays_raw(lab) -> None:
    # A guest can write a qcow2 header into its raw disk; whoever probes the format then reads what the header names.
    inner = lab.image("inner.qcow2", "1M")
    raw = lab.image("a.raw", format="raw")
    with raw.open("r+b") as file:
        file.write(inner.read_bytes())
    lab.describe("guest", ("a.raw", "raw"))
    goes_round(lab, "external")


@pytest.mark.parametrize("tables_cannot", [False, True])
def test_bitmaps_forbid_what_could_not_be_reverted_to(lab, tables_cannot) -> None:
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    if tables_cannot:
        lab.ok("create", "guest", "-n", "one")
    tool("qemu-img", "bitmap", "--add", str(image), "b0")
    if tables_cannot:
        assert lab.refused("revert", "guest", "one")["id"] == "has-bitmaps"
        tool("qemu-img", "bitmap", "--remove", str(image), "b0")
        lab.ok("revert", "guest", "one")
    else:
        assert lab.refused("create", "guest", "-n", "one", "--type", "internal")["id"] == "has-bitmaps"
        goes_round(lab, "auto")
        assert [each["name"] for each in lab.info(image)["format-specific"]["data"]["bitmaps"]] == ["b0"]


def test_an_image_with_a_data_file_is_frozen_below_an_overlay(lab) -> None:
    lab.image("a.qcow2", data_file=lab.path("a.data"), data_file_raw="on")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    assert lab.refused("create", "guest", "-n", "one", "--type", "internal")["id"] == "has-data-file"
    goes_round(lab, "auto")


@pytest.mark.parametrize("bits", [1, 2])
def test_narrow_refcounts_are_no_place_for_tags(lab, bits) -> None:
    lab.image("a.qcow2", refcount_bits=bits)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    if bits == 1:
        assert lab.refused("create", "guest", "-n", "one", "--type", "internal")["id"] == "refcounts-too-narrow"
    goes_round(lab, "external")


def test_an_encrypted_image_is_refused(lab) -> None:
    secret = ("--object", "secret,id=key,data=secret")
    where = ("-o", "encrypt.format=aes,encrypt.key-secret=key", str(lab.path("a.qcow2")), "1M")
    tool("qemu-img", "create", "-q", *secret, "-f", "qcow2", *where)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    for kind in ("internal", "external"):
        assert lab.refused("create", "guest", "-n", "one", "--type", kind)["id"] == "image-encrypted"


def test_an_image_that_is_marked_corrupt_is_refused(lab) -> None:
    image = lab.image("a.qcow2")
    with image.open("r+b") as file:
        file.seek(79)
        file.write(b"\x02")  # the last byte of the incompatible features: bit 1 is `corrupt`
    lab.describe("guest", ("a.qcow2", "qcow2"))
    for kind in ("internal", "external"):
        told = lab.refused("create", "guest", "-n", "one", "--type", kind)
        assert told["id"] == "image-corrupt"
        assert "qemu-img check" in told["remedy"]


# --- Tags that are not ours ------------------------------------------------------------------------------------------

ODD_TAGS = ["", "dup", "dup", "1", "2", "7", "one", "-x", "a,b=c", "snapshot.id=1", "ü漢", "sp ace", "x" * 300]


def foreign_tags(lab: Lab) -> list[tuple[str, str]]:
    image = lab.path("a.qcow2")
    return [(id, name) for id, name in lab.tags(image) if not name.startswith(("one~", "two"))]


def test_tags_of_strangers_stay_whatever_they_are_called(lab) -> None:
    image = lab.image("a.qcow2", "1M")
    held = {}
    for number, name in enumerate(ODD_TAGS):
        lab.write(image, 10 + number)
        lab.tag(image, name)
        held[lab.tags(image)[-1]] = lab.content(image)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    before = lab.tags(image)
    lab.write(image, 99)
    shown = lab.content(image)
    for name in ("one", "two", "3", "dup", "1"):
        lab.ok("create", "guest", "-n", name)
        lab.guest_writes(100)
    for name in ("dup", "1", "3"):
        lab.ok("revert", "guest", name)
    lab.ok("revert", "guest", "one")
    assert lab.content(image) == shown
    for name in ("1", "dup", "3", "two", "one"):
        lab.ok("delete", "guest", name)
    assert lab.tags(image) == before
    assert lab.content(image) == shown
    assert lab.clean(image)
    for (id, _name), content in held.items():
        tool("qemu-img", "snapshot", "-a", id, str(image))
        assert lab.content(image) == content


def test_a_tag_that_a_stranger_made_anew_is_neither_reverted_to_nor_deleted(lab) -> None:
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one")
    tool("qemu-img", "snapshot", "-d", "one", str(image))
    lab.write(image, 7)
    lab.tag(image, "one")
    dated = lab.info(image)["snapshots"]
    assert [each["id"] for each in dated] == ["1"]  # QEMU gives the same id again: only the date tells them apart
    assert lab.refused("revert", "guest", "one")["id"] == "image-changed"
    assert "left alone" in lab.run("delete", "guest", "one").stderr
    assert lab.snapshots() == []
    assert lab.info(image)["snapshots"] == dated


def test_a_deleted_tag_is_told_and_the_snapshot_can_be_deleted(lab) -> None:
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one")
    lab.ok("create", "guest", "-n", "two")
    tool("qemu-img", "snapshot", "-d", "one", str(image))
    assert lab.refused("revert", "guest", "one")["id"] == "image-changed"
    lab.ok("delete", "guest", "one")
    lab.ok("revert", "guest", "two", "--no-undo")
    assert [name for _, name in lab.tags(image)] == ["two"]


def test_a_stranger_with_our_tag_loses_nothing_when_we_delete_ours(lab) -> None:
    require_tool("qemu-storage-daemon")
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one")
    lab.write(image, 7)
    lab.tag(image, "one")
    lab.ok("revert", "guest", "one")
    lab.ok("delete", "guest", "one")
    assert lab.tags(image) == [("2", "one")]
    assert lab.clean(image)


# --- Chains that are not ours ----------------------------------------------------------------------------------------


def overlay(path: Path, below: Path, format: str = "qcow2") -> Path:
    where = ("-b", os.path.relpath(below, path.parent), "-F", format, str(path))
    tool("qemu-img", "create", "-q", "-f", "qcow2", *where)
    return path


@pytest.mark.parametrize("kind", ["internal", "external"])
def test_a_template_below_two_domains_is_never_touched(lab, kind) -> None:
    template = lab.image("template.qcow2")
    overlay(lab.path("a.qcow2"), template)
    overlay(lab.path("b.qcow2"), template)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.describe("other", ("b.qcow2", "qcow2"))
    lab.guest_writes(5, "other")
    template.chmod(0o444)
    before, neighbour = lab.everything()["template.qcow2"], lab.shown("other")
    goes_round(lab, kind)
    assert lab.everything()["template.qcow2"] == before
    assert lab.shown("other") == neighbour
    assert lab.files() == {"a.qcow2", "b.qcow2", "template.qcow2", "guest.toml", "other.toml"}


def test_a_domain_that_writes_to_the_template_itself_is_refused(lab) -> None:
    template = lab.image("template.qcow2")
    overlay(lab.path("b.qcow2"), template)
    lab.describe("guest", ("template.qcow2", "qcow2"))
    lab.describe("other", ("b.qcow2", "qcow2"))
    for kind in ("internal", "external"):
        assert lab.refused("create", "guest", "-n", "one", "--type", kind)["id"] == "image-shared"


@pytest.mark.parametrize("forget_format", [False, True], ids=["", "made before backing formats were demanded"])
@pytest.mark.parametrize("mode", ["rw", "ro"])
def test_an_overlay_of_ours_that_another_domain_stands_on_is_not_removed(lab, mode, forget_format) -> None:
    lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one", "--type", "external")
    lab.guest_writes(5)
    active, _ = lab.active()
    clone = overlay(lab.path("clone.qcow2"), active)
    written = lab.describe("other", ("clone.qcow2", "qcow2"))
    written.write_text(f'{written.read_text()}mode = "{mode}"\n')
    shown = lab.content(clone)
    if forget_format:
        forget_backing_format(clone)
    assert "left alone, since the domain other needs it" in lab.run("revert", "guest", "one").stderr
    assert active.exists()
    lab.ok("delete", "guest", "one")
    assert lab.content(clone) == shown


def forget_backing_format(image: Path) -> None:
    """What qemu-img before 6.1 made: a header that names a backing file and no format."""
    content = bytearray(image.read_bytes())
    at = content.index(bytes.fromhex("e2792aca"), 72)
    content[at : at + 4] = bytes.fromhex("12345678")  # an extension that nobody knows, and all ignore
    image.write_bytes(content)


@pytest.mark.parametrize("kind", ["internal", "external"])
def test_an_image_that_is_a_link_stays_a_link(lab, kind) -> None:
    elsewhere = lab.directory.parent / "elsewhere"
    elsewhere.mkdir()
    target = lab.image("a.qcow2").rename(elsewhere / "real.qcow2")
    lab.path("a.qcow2").symlink_to(target)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    goes_round(lab, kind)
    assert lab.path("a.qcow2").readlink() == target
    assert lab.active() == (lab.path("a.qcow2"), "qcow2")


def test_a_loop_of_backing_files_is_refused_and_nobody_hangs(lab) -> None:
    one = lab.image("a.qcow2")
    two = overlay(lab.path("b.qcow2"), one)
    tool("qemu-img", "rebase", "-u", "-F", "qcow2", "-b", two.name, str(one))
    lab.describe("guest", ("b.qcow2", "qcow2"))
    for kind in ("internal", "external"):
        told = lab.refused("create", "guest", "-n", "one", "--type", kind)
        assert told["id"] == "image-unreadable"
        assert "loop" in told["cause"]


def test_a_missing_backing_file_is_named(lab) -> None:
    template = lab.image("template.qcow2")
    overlay(lab.path("a.qcow2"), template)
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one")
    template.rename(lab.directory.parent / "away")
    for words in (["create", "guest", "-n", "two"], ["revert", "guest", "one"]):
        told = lab.refused(*words)
        assert told["id"] == "image-missing"
        assert "template.qcow2" in told["cause"]
    (lab.directory.parent / "away").rename(template)
    lab.ok("revert", "guest", "one")


def test_a_backing_file_of_unknown_format_is_refused(lab) -> None:
    forget_backing_format(overlay(lab.path("a.qcow2"), lab.image("template.qcow2")))
    lab.describe("guest", ("a.qcow2", "qcow2"))
    told = lab.refused("create", "guest", "-n", "one")
    assert told["id"] == "image-unreadable"
    assert "qemu-img rebase" in told["remedy"]


# --- Images in use ---------------------------------------------------------------------------------------------------


@contextmanager
def held(*argv: str) -> Iterator[int]:
    """A process that has something open, from its first words to the end."""
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"info\n")
        process.stdin.flush()
        assert process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def holder(name: str, image: Path, tmp_path: Path) -> list[str]:
    if name == "qemu-io":
        return ["qemu-io", "--image-opts", options(image, "qcow2")]
    require_tool("qemu-system-x86_64")
    drive = f"if=none,id=disk,format=qcow2,file={image}"
    return [
        "qemu-system-x86_64",
        "-M",
        "none",
        "-nodefaults",
        "-S",
        "-display",
        "none",
        "-drive",
        drive,
        "-qmp",
        "stdio",
    ]


@pytest.mark.parametrize("kind", ["internal", "external"])
@pytest.mark.parametrize("name", ["qemu-io", "qemu-system-x86_64"])
def test_an_image_that_a_process_has_open_is_busy_and_untouched(lab, tmp_path, name, kind) -> None:
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one", "--type", kind)
    active, _ = lab.active()
    lab.guest_writes(7)
    with held(*holder(name, active, tmp_path)) as pid:
        verbs = [["revert", "guest", "one"]]
        verbs += [["create", "guest", "-n", "two"], ["delete", "guest", "one"]] if kind == "internal" else []
        for words in verbs:
            told = lab.refused(*words)
            assert (told["id"], told["exit_code"]) == ("image-open", 4)
            assert re.search(rf"pid {pid}\b", told["cause"])
    if kind == "internal":
        lab.ok("create", "guest", "-n", "two")
    lab.ok("revert", "guest", "one")
    lab.ok("delete", "guest", "one")
    assert lab.clean(image)


def test_a_merge_waits_for_who_has_the_overlay_open(lab) -> None:
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    lab.ok("create", "guest", "-n", "one", "--type", "external")
    lab.guest_writes(7)
    shown = lab.shown()
    with held("qemu-io", "--image-opts", options(lab.active()[0], "qcow2")):
        result = lab.run("delete", "guest", "one")
        assert result.exit_code == 0
        assert "stays as a hidden base" in result.stderr
    assert lab.shown() == shown
    lab.ok("create", "guest", "-n", "two")
    lab.ok("delete", "guest", "two")
    assert lab.shown() == shown
    assert lab.clean(image)
    assert lab.files() == {"a.qcow2", "guest.toml"}


def test_a_mere_reader_that_stays_is_named(lab) -> None:
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    with image.open("rb"):  # in this very process, so nobody else is to blame
        assert lab.refused("create", "guest", "-n", "one")["id"] == "image-open"
    lab.ok("create", "guest", "-n", "one")
    assert signal.getsignal(signal.SIGURG) == signal.SIG_DFL
