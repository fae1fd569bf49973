"""What is said to be needed at most is enough, for whatever images qemu-img has made (7.2.22)."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xensnap.backends.qemu.host import QemuHost
from xensnap.engine import space
from xensnap.model import Format, Image, Layer

pytestmark = pytest.mark.real

KIB, GIB = 1 << 10, 1 << 30
LAYOUTS = [
    "cluster_size=512",
    "cluster_size=4k",
    "cluster_size=64k",
    "cluster_size=2M",
    "extended_l2=on",
    "extended_l2=on,cluster_size=16k",
    "extended_l2=on,cluster_size=2M",
    "refcount_bits=64,cluster_size=512",
]


def run(place: Path, *words: str, text: str = "") -> None:
    subprocess.run(words, cwd=place, input=text, text=True, check=True, capture_output=True, timeout=60)


def image(place: Path, name: str) -> Image:
    host = QemuHost(place)
    found: Image = host.run(host.images.inspect(Layer(str(place / name), Format.QCOW2)))
    return found


def made(place: Path, name: str, layout: str, *words: str, size: str = "100G") -> None:
    (place / name).unlink(missing_ok=True)
    run(place, "qemu-img", "create", "-q", "-f", "qcow2", "-o", layout, *words, name, size)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(base=st.sampled_from(LAYOUTS), above=st.sampled_from(LAYOUTS), data=st.data())
def test_a_merge_takes_no_more_than_was_said(qemu_img, qemu_io, tmp_path, base: str, above: str, data) -> None:
    count = data.draw(st.integers(1, 300))
    apart = data.draw(st.sampled_from([64 * KIB, 2048 * KIB, GIB // 4, GIB // 3 // 512 * 512]))
    length = data.draw(st.sampled_from([512, 4 * KIB, 64 * KIB]))
    made(tmp_path, "base", base)
    made(tmp_path, "above", above, "-b", "base", "-F", "qcow2")
    lines = "".join(f"write -q -P 1 {number * apart} {length}\n" for number in range(count))
    run(tmp_path, "qemu-io", "-f", "qcow2", "above", text=lines)
    before = image(tmp_path, "base")
    need = space.for_merge(image(tmp_path, "above"), before)
    run(tmp_path, "qemu-img", "commit", "-q", "-d", "-f", "qcow2", "above")
    assert image(tmp_path, "base").allocated_bytes - before.allocated_bytes <= need.bytes


@pytest.mark.parametrize(("base", "apart_kib"), [("extended_l2=on", 256 << 10), ("cluster_size=2M", 512 << 10)])
def test_a_merge_that_takes_more_than_is_held_is_foreseen(qemu_img, qemu_io, tmp_path, base, apart_kib) -> None:
    made(tmp_path, "base", base)
    made(tmp_path, "above", "cluster_size=64k", "-b", "base", "-F", "qcow2")
    lines = "".join(f"write -q -P 1 {number * apart_kib}k 64k\n" for number in range(100 * GIB // (apart_kib * KIB)))
    run(tmp_path, "qemu-io", "-f", "qcow2", "above", text=lines)
    before, above = image(tmp_path, "base"), image(tmp_path, "above")
    run(tmp_path, "qemu-img", "commit", "-q", "-d", "-f", "qcow2", "above")
    grown = image(tmp_path, "base").allocated_bytes - before.allocated_bytes
    assert above.allocated_bytes + space.BYTES_PER_DISK < grown <= space.for_merge(above, before).bytes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_tag_takes_no_more_than_was_said(qemu_img, qemu_io, tmp_path, layout: str) -> None:
    made(tmp_path, "base", layout, size="12G")  # with clusters of 512 bytes qemu-img takes a minute for 100 GiB
    before = image(tmp_path, "base")
    need = space.for_tables("x/base", before.virtual_size_bytes, "xvda", before)
    run(tmp_path, "qemu-img", "snapshot", "-c", "tag", "base")
    assert image(tmp_path, "base").allocated_bytes - before.allocated_bytes <= need.bytes
