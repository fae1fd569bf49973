"""Records: what is written is read back, what is not known survives, what is wrong is told with its place."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from xensnap.errors import Damaged
from xensnap.formats import snapshot_record
from xensnap.model import (
    Consistency,
    DiskSnapshot,
    DomainUuid,
    Excluded,
    Fingerprint,
    Format,
    Kind,
    Layer,
    Pin,
    RunState,
    Snapshot,
)

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(0, 2**63 - 1)
LAYERS = st.builds(Layer, TEXT, st.sampled_from(Format))
FINGERPRINTS = st.builds(Fingerprint, TEXT, NUMBER, NUMBER, NUMBER, NUMBER, TEXT)
DISKS = st.builds(DiskSnapshot, TEXT, st.sampled_from(Kind), LAYERS, NUMBER, TEXT, st.none() | LAYERS, FINGERPRINTS)
SNAPSHOTS = st.builds(
    Snapshot,
    name=TEXT,
    domain_uuid=TEXT.map(DomainUuid),
    domain_name=TEXT,
    creation_time_s=NUMBER,
    state=st.sampled_from(RunState),
    consistency=st.sampled_from(Consistency),
    disks=st.lists(DISKS, max_size=3, unique_by=lambda disk: disk.vdev).map(tuple),
    parent=st.none() | TEXT,
    description=TEXT,
    memory=TEXT,
    live=st.booleans(),
    excluded=st.lists(st.builds(Excluded, TEXT, TEXT), max_size=2).map(tuple),
    domain_config=TEXT,
    pin=st.none() | st.builds(Pin, TEXT, NUMBER, NUMBER, TEXT),
    extra_json=st.just(""),
)
EXAMPLE = Snapshot(
    name="s",
    domain_uuid=DomainUuid("5c84adcc-bd59-488a-96d2-195f9b599cfe"),
    domain_name="guest",
    creation_time_s=1700000000,
    state=RunState.OFF,
    consistency=Consistency.CLEAN,
    disks=(DiskSnapshot("xvda", Kind.INTERNAL, Layer("/a.qcow2", Format.QCOW2), 1 << 20, "s"),),
)


@given(SNAPSHOTS)
def test_what_is_written_is_read_back(snapshot: Snapshot) -> None:
    assert snapshot_record.decode(snapshot_record.encode(snapshot), path="r") == snapshot


@given(SNAPSHOTS)
def test_one_text_of_one_file_is_decoded_once(snapshot: Snapshot) -> None:
    text = snapshot_record.encode(snapshot)
    first = snapshot_record.decode(text, path="r")
    assert snapshot_record.decode(bytes(bytearray(text)), path="r") is first


def test_keys_that_are_not_known_survive_a_rewrite() -> None:
    record = json.loads(snapshot_record.encode(EXAMPLE))
    record["later"] = {"a": [1]}
    record["disks"][0]["cache"] = "none"
    record["disks"][0]["before"]["discard_enable"] = "True"
    read = snapshot_record.decode(json.dumps(record).encode(), path="r")
    assert read.name == "s"
    assert json.loads(snapshot_record.encode(read)) == record


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("name",), 1, "$.name"),
        (("creation_time",), "now", "$.creation_time"),
        (("disks",), {}, "$.disks"),
        (("disks", 0, "size"), "1M", "$.disks[0].size"),
        (("disks", 0, "before", "format"), "qcow3", "$.disks[0].before.format"),
        (("state",), "asleep", "$.state"),
        (("schema",), 2, "$.schema"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_with_its_json_path(place: tuple[Any, ...], value: Any, told: str) -> None:
    record = json.loads(snapshot_record.encode(EXAMPLE))
    inner = record
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(Damaged) as caught:
        snapshot_record.decode(json.dumps(record).encode(), path="/store/r")
    assert told in caught.value.cause
    assert "/store/r" in caught.value.cause
    assert caught.value.remedy


@given(st.binary(max_size=200))
def test_only_our_own_error_comes_out_of_anything(data: bytes) -> None:
    with pytest.raises(Damaged):
        snapshot_record.decode(data, path="r")


def test_the_domains_configuration_is_part_of_the_record_where_it_is_json() -> None:
    config = {"c_info": {"type": "pv", "name": "gäst"}, "b_info": {"type.pv": {}}, "disks": []}
    text = json.dumps(config, indent=4, ensure_ascii=False)
    record = snapshot_record.encode(replace(EXAMPLE, domain_config=text))
    assert json.loads(record)["domain_config"] == config
    assert snapshot_record.decode(record, path="r").domain_config == text


@pytest.mark.parametrize(
    "text", ['name = "guest"\n', '{"a": 1}', '{"a":', "{", '{\n    "a": 1e999\n}', "[]", '{\n    "a": NaN\n}']
)
def test_a_configuration_in_another_form_is_kept_to_the_letter(text: str) -> None:
    record = snapshot_record.encode(replace(EXAMPLE, domain_config=text))
    assert snapshot_record.decode(record, path="r").domain_config == text


def test_a_record_tells_all_that_attaching_its_disks_takes() -> None:
    before = json.loads(snapshot_record.encode(EXAMPLE))["disks"][0]["before"]
    assert before == {
        "pdev_path": "/a.qcow2", "vdev": "xvda", "format": "qcow2", "backend": "qdisk", "readwrite": 1
    }  # fmt: skip


@pytest.mark.parametrize("odd", [b'"\xe3x"', b"[" * 5000 + b"]" * 5000])
def test_what_stands_under_unknown_keys_may_be_anything_but_not_no_json(odd: bytes) -> None:
    text = snapshot_record.encode(EXAMPLE).rstrip().removesuffix(b"}") + b', "unknown": ' + odd + b"}"
    with pytest.raises(Damaged):
        snapshot_record.decode(text, path="r")
