"""The head of a save file: read, changed, written; and bytes from an enemy."""

import json
import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.errors import Damaged
from xensnap.formats import libxl_json, savefile
from xensnap.formats.savefile import Head
from xensnap.model import DomainUuid, Format, Layer

CONFIG = {
    "c_info": {"type": "pv", "name": "pv1", "uuid": "ec57283b-c3c4-4900-88b1-0d2d2f4c46a0"},
    "disks": [{"pdev_path": "/images/d.qcow2", "vdev": "xvda", "format": "qcow2", "readwrite": 1}],
}


def as_xl_writes(config: bytes, rest: bytes = b"") -> bytes:
    """The head that a real xl wrote (traced: flags 0x3/0x0, the configuration with a zero byte behind its length)."""
    data = struct.pack("<I", len(config) + 1) + config + b"\0" + rest
    return savefile.MAGIC + struct.pack("<4I", 0x01020304, 3, 0, len(data)) + data


HEAD = as_xl_writes(json.dumps(CONFIG, indent=4).encode())


def test_the_head_of_a_real_file_is_read() -> None:
    assert HEAD[:48].hex().startswith("58656e20736176656420646f6d61696e2c20786c20666f726d61740a2000200d040302010300")
    assert savefile.length(HEAD[:48], path="x") == len(HEAD)
    assert savefile.parse(HEAD, path="x") == Head(CONFIG, 3, 0, b"", len(HEAD))


@given(st.text(min_size=1, max_size=300), st.binary(max_size=20))
def test_live_b5_a_changed_head_is_as_long_as_it_must_be(path: str, rest: bytes) -> None:
    """names of any length, and what follows the configuration stays"""
    head = savefile.parse(as_xl_writes(json.dumps(CONFIG).encode(), rest), path="x")
    config = libxl_json.with_layers(head.config, {"xvda": Layer(f"/{path}", Format.QCOW2)})
    config = libxl_json.with_identity(config, uuid=DomainUuid("0" * 36), name=path)
    written = savefile.encode(Head(config, head.mandatory_flags, head.optional_flags, head.rest, head.length_bytes))
    again = savefile.parse(written, path="x")
    assert again == Head(config, 3, 0, rest, len(written))
    assert savefile.length(written[:48], path="x") == len(written)


@pytest.mark.parametrize(
    ("head", "offset"),
    [
        (b"", 0),
        (HEAD[:47], 0),
        (b"x" + HEAD[1:48], 0),
        (HEAD[:32] + struct.pack(">4I", 0x01020304, 3, 0, 100), 32),
        (HEAD[:32] + struct.pack("<4I", 0x01020304, 2, 0, 100), 36),
        (HEAD[:32] + struct.pack("<4I", 0x01020304, 3, 0, 1 << 31), 44),
        (HEAD[:32] + struct.pack("<4I", 0x01020304, 3, 0, 0), 44),
        (HEAD[:-1], len(HEAD) - 1),
        (HEAD[:48] + struct.pack("<I", 1 << 31) + HEAD[52:], 48),
    ],
)
def test_what_is_no_head_is_refused_with_its_offset(head: bytes, offset: int) -> None:
    with pytest.raises(Damaged) as caught:
        savefile.parse(head, path="/m.save")
    assert caught.value.cause.startswith("/m.save: ")
    assert caught.value.cause.endswith(f"at offset {offset}")


@given(st.binary(max_size=80), st.integers(0, len(HEAD)))
def test_damaged_bytes_are_refused_or_read(junk: bytes, at: int) -> None:
    data = HEAD[:at] + junk + HEAD[at + len(junk) :]
    with suppress(Damaged):
        assert savefile.parse(data, path="x").length_bytes == len(data)
