"""The clusters that we read natively are those that `qemu-img map` tells, whatever the image is like."""

import json
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.formats.test_qcow2_fuzz import PATH, stepped, suppressed_damage
from xensnap.backends.local.reader import read_extents
from xensnap.formats import qcow2_extents
from xensnap.model import ZEROS, Format, Layer

pytestmark = pytest.mark.real

MIB = 1 << 20


@pytest.fixture
def tool(qemu_img, qemu_io, tmp_path):
    def run(*arguments: str) -> bytes:
        words = {"img": qemu_img, "io": qemu_io}
        command = [words[arguments[0]], *arguments[1:]]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=True).stdout

    return run


def told(tool, name: str, layout: str) -> set[tuple[int, int]]:
    """The stretches that `qemu-img map` finds in the image itself, joined."""
    found: list[tuple[int, int]] = []
    for each in json.loads(tool("img", "map", "--output=json", "-f", layout, name)):
        if each["depth"] == 0 and (each["data"] or (each["zero"] and each.get("present", True))):
            start, end = each["start"], each["start"] + each["length"]
            if found and found[-1][1] == start:
                found[-1] = (found[-1][0], end)
            else:
                found.append((start, end))
    return set(found)


def ours(path, layout: Format) -> set[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, length, _ in read_extents(Layer(str(path), layout))[""]:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], start + length)
        else:
            found.append((start, start + length))
    return set(found)


@pytest.mark.parametrize("options", ["cluster_size=512", "cluster_size=64k", "cluster_size=2M", "compat=0.10",
                                     "extended_l2=on,cluster_size=64k", "preallocation=metadata"])  # fmt: skip
def test_clusters_are_where_qemu_img_says(tool, tmp_path, options) -> None:
    tool("img", "create", "-q", "-f", "qcow2", "-o", options, "a.qcow2", "16M")
    tool("io", "-f", "qcow2", "-c", "write -q 1M 512k", "-c", "write -q 5M 64k", "-c", "write -q 15M 1M", "a.qcow2")
    if "compat" not in options:
        tool("io", "-f", "qcow2", "-c", "write -q -z 8M 2M", "a.qcow2")
    if "extended_l2" in options:  # whose clusters can be there in part
        tool("io", "-f", "qcow2", "-c", "write -q 3M 2k", "-c", "write -q -z 3078k 6k", "a.qcow2")
        tool("io", "-f", "qcow2", "-c", "write -q 10258k 20k", "a.qcow2")
    assert ours(tmp_path / "a.qcow2", Format.QCOW2) == told(tool, "a.qcow2", "qcow2")


def test_compressed_clusters_are_there_and_each_at_its_own_place(tool, tmp_path) -> None:
    tool("img", "create", "-q", "-f", "raw", "a.raw", "4M")
    tool("io", "-f", "raw", "-c", "write -q -P 7 0 2M", "a.raw")
    tool("img", "convert", "-c", "-O", "qcow2", "a.raw", "c.qcow2")
    assert ours(tmp_path / "c.qcow2", Format.QCOW2) == told(tool, "c.qcow2", "qcow2")
    extents = read_extents(Layer(str(tmp_path / "c.qcow2"), Format.QCOW2))[""]
    assert len({extent.place for extent in extents if extent.place != ZEROS}) == len(extents) > 1


def test_of_snapshots_only_what_was_written_in_between_is_another_cluster(tool, tmp_path) -> None:
    tool("img", "create", "-q", "-f", "qcow2", "a.qcow2", "16M")
    for number, tag in enumerate(("one", "two", "x" * 200)):
        tool("io", "-f", "qcow2", "-c", f"write -q {number}M 1M", "a.qcow2")
        tool("img", "snapshot", "-c", tag, "a.qcow2")
    tool("io", "-f", "qcow2", "-c", "write -q 512k 64k", "a.qcow2")
    states = read_extents(Layer(str(tmp_path / "a.qcow2"), Format.QCOW2))
    assert {state: sum(each.length_bytes for each in found) // MIB for state, found in states.items()} == {
        "1": 1,
        "2": 2,
        "3": 3,
        "": 3,
    }
    assert states["1"][0].place == states["2"][0].place == states["3"][0].place
    changed = [each for each in states[""] if each.start_bytes == 512 * 1024]
    assert [each.length_bytes for each in changed] == [65536]


def test_of_a_raw_file_the_holes_are_left_out(tool, tmp_path) -> None:
    tool("img", "create", "-q", "-f", "raw", "a.raw", "16M")
    tool("io", "-f", "raw", "-c", "write -q 4M 1M", "a.raw")
    # QEMU 7.2.22 writes zeros into the first block of a raw file that it makes.
    assert ours(tmp_path / "a.raw", Format.RAW) - {(0, 4096)} == {(4 * MIB, 5 * MIB)}


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 0x60000), st.binary(min_size=1, max_size=8)), max_size=8))
def test_whatever_the_bytes_say_only_damage_comes_of_it(sound, changes) -> None:
    data = bytearray(sound)
    for at, value in changes:
        data[at : at + len(value)] = value
    with suppressed_damage():
        stepped(qcow2_extents.extents(PATH), bytes(data))


@pytest.fixture(scope="module")
def sound(qemu_img, qemu_io, tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("sound") / "a.qcow2"
    subprocess.run([qemu_img, "create", "-q", "-f", "qcow2", path, "4M"], check=True)
    subprocess.run([qemu_io, "-f", "qcow2", "-c", "write -q 0 64k", path], check=True)
    subprocess.run([qemu_img, "snapshot", "-c", "one", path], check=True)
    subprocess.run([qemu_io, "-f", "qcow2", "-c", "write -q 0 128k", path], check=True)
    return path.read_bytes()
