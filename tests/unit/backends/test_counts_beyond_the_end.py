"""What a qemu-img that was killed has counted and never written is given back, even where its check overlooks it."""

import subprocess
from pathlib import Path

import pytest

from tests.real.lab import tool as done
from xensnap.backends.local.machine import LocalMachine
from xensnap.backends.local.qemu_img import QemuImg
from xensnap.backends.local.reader import read_end_of_counts
from xensnap.backends.local.runner import LocalRunner
from xensnap.backends.local.waiting import run
from xensnap.hypervisor import CheckResult
from xensnap.model import Format, Layer

TABLE_AT = 48
"""Where a header says where the refcount table is."""


@pytest.fixture
def tool(qemu_img) -> QemuImg:
    return QemuImg(LocalRunner(), LocalMachine(), program=str(qemu_img))


def made(place: Path) -> Layer:
    path = place / "a.qcow2"
    done("qemu-img", "create", "-q", "-f", "qcow2", str(path), "4M")
    done("qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 64k", str(path))
    done("qemu-img", "snapshot", "-c", "one", str(path))
    done("qemu-io", "-f", "qcow2", "-c", "write -q -P 2 0 64k", str(path))
    return Layer(str(path), Format.QCOW2)


def checked(layer: Layer) -> int:
    return subprocess.run(["qemu-img", "check", "-q", layer.path], check=False, capture_output=True).returncode


def count_beyond(layer: Layer, ahead: int, *, cluster_bytes: int, bits: int) -> int:
    """Count one cluster so many behind the last one of the file, as a tool does right before it dies; where it ends."""
    path = Path(layer.path)
    content = bytearray(path.read_bytes())

    def number(at: int) -> int:
        return int.from_bytes(content[at : at + 8], "big")

    cluster = -(-len(content) // cluster_bytes) + ahead
    block, index = divmod(cluster, cluster_bytes * 8 // bits)
    assert block == 0
    position = number(number(TABLE_AT)) * 8 + index * bits
    if bits < 8:
        content[position // 8] |= 1 << position % 8
    else:
        content[(position + bits) // 8 - 1] = 1
    path.write_bytes(content)
    return (cluster + 1) * cluster_bytes


@pytest.mark.parametrize("ahead", [0, 1, 5])
@pytest.mark.parametrize(
    ("cluster_bytes", "bits"), [(65536, 16), (65536, 1), (65536, 2), (4096, 8), (4096, 64), (1 << 21, 16), (1024, 4)]
)
def test_what_is_counted_beyond_the_end_is_given_back(tool, tmp_path, cluster_bytes, bits, ahead) -> None:
    options = f"cluster_size={cluster_bytes},refcount_bits={bits}"
    path = tmp_path / "a.qcow2"
    done("qemu-img", "create", "-q", "-f", "qcow2", "-o", options, str(path), "32M")
    done("qemu-io", "-f", "qcow2", "-c", "write -q -P 1 0 64k", str(path))
    layer = Layer(str(path), Format.QCOW2)
    assert read_end_of_counts(layer) == 0
    end = count_beyond(layer, ahead, cluster_bytes=cluster_bytes, bits=bits)
    assert read_end_of_counts(layer) == end
    assert checked(layer) == 0, "qemu-img sees it by now"
    assert run(tool.check(layer)) == CheckResult()
    assert path.stat().st_size < end, "a check that repairs nothing has changed the file"
    assert run(tool.check(layer, repair_leaks=True)) == CheckResult()
    assert read_end_of_counts(layer) == 0
    done("qemu-io", "-f", "qcow2", "-c", f"write -q -P 3 1M {8 * cluster_bytes}", str(path))
    assert checked(layer) == 0


def test_left_alone_it_is_a_leak_once_the_file_has_grown(tmp_path) -> None:
    layer = made(tmp_path)
    count_beyond(layer, 1, cluster_bytes=65536, bits=16)
    assert checked(layer) == 0
    done("qemu-io", "-f", "qcow2", "-c", "write -q -P 3 1M 128k", layer.path)
    assert checked(layer) == 3


def test_a_file_that_nobody_may_make_longer_keeps_it(tool, tmp_path, monkeypatch) -> None:
    layer = made(tmp_path)
    count_beyond(layer, 0, cluster_bytes=65536, bits=16)
    before = Path(layer.path).read_bytes()

    def full(*_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full)
    assert run(tool.check(layer, repair_leaks=True)) == CheckResult()
    assert Path(layer.path).read_bytes() == before
