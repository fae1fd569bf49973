"""A domain's configuration as libxl writes it; the texts are those of a real host (Xen 4.17.7)."""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.errors import Damaged
from xensnap.formats import libxl_json
from xensnap.model import Backend, Disk, Format, GuestKind, Layer

CONFIG: dict[str, Any] = {
    "c_info": {
        "type": "pv",
        "name": "pv3",
        "domid": 4294967295,
        "uuid": "f9f83f5f-24ea-424e-9e79-9198b4b537ac",
        "run_hotplug_scripts": "True",
    },
    "b_info": {"max_vcpus": 1, "max_memkb": 163840, "claim_mode": "True", "type.pv": {}, "arch_arm": {}},
    "disks": [
        {"pdev_path": "/images/d.qcow2", "vdev": "xvda", "format": "qcow2", "readwrite": 1},
        {"pdev_path": "/images/r.raw", "vdev": "xvdb", "backend": "qdisk", "format": "raw", "readwrite": 1},
        {"pdev_path": "/dev/vg/lv", "vdev": "xvdc", "format": "raw", "readwrite": 1},
        {"pdev_path": "/images/cd.iso", "vdev": "xvdd", "format": "raw", "removable": 1, "is_cdrom": 1},
        {"vdev": "xvde", "format": "empty", "removable": 1, "is_cdrom": 1},
    ],
    "on_reboot": "restart",
}
LISTED = json.dumps(
    [{"domid": 0, "config": {"c_info": {"type": "pv", "name": "Domain-0"}}}, {"domid": 7, "config": CONFIG}]
)


def test_disks_are_what_libxl_says_and_would_take() -> None:
    assert libxl_json.disks(CONFIG) == (
        Disk("xvda", "/images/d.qcow2", Format.QCOW2),
        Disk("xvdb", "/images/r.raw", Format.RAW),
        Disk("xvdc", "/dev/vg/lv", Format.RAW, backend=Backend.PHY),
        Disk("xvdd", "/images/cd.iso", Format.RAW, readonly=True, cdrom=True),
        Disk("xvde", "", Format.RAW, readonly=True, cdrom=True),
    )
    assert [libxl_json.leaves_backend_open(CONFIG, disk.vdev) for disk in libxl_json.disks(CONFIG)] == [
        False, False, True, True, False,
    ]  # fmt: skip


def test_a_domain_is_told_by_name_uuid_and_kind() -> None:
    assert libxl_json.name(CONFIG) == "pv3"
    assert libxl_json.uuid(CONFIG) == "f9f83f5f-24ea-424e-9e79-9198b4b537ac"
    assert libxl_json.kind(CONFIG) is GuestKind.PV
    assert libxl_json.kind({"c_info": {}}) is None


def test_fact_11_the_domid_beside_the_configuration_counts() -> None:
    """within it stands 4294967295, and dom0 is in the list, without disks"""
    told = libxl_json.parse_list(LISTED.encode(), source="xl")
    assert sorted(told) == [0, 7]
    assert libxl_json.disks(told[0]) == ()
    assert libxl_json.uuid(told[0]) == "00000000-0000-0000-0000-000000000000"
    assert libxl_json.parse_list(b"", source="xl") == {}


def test_other_layers_change_nothing_else() -> None:
    changed = libxl_json.with_layers(CONFIG, {"xvdb": Layer("/images/o.qcow2", Format.QCOW2)})
    assert changed["disks"][1] == {
        "pdev_path": "/images/o.qcow2", "vdev": "xvdb", "backend": "qdisk", "format": "qcow2", "readwrite": 1,
    }  # fmt: skip
    assert {**changed, "disks": CONFIG["disks"]} == CONFIG
    assert [new for old, new in zip(CONFIG["disks"], changed["disks"], strict=True) if old != new] == [
        changed["disks"][1]
    ]


def test_what_libxl_stores_ends_with_a_zero_byte() -> None:
    assert libxl_json.parse(libxl_json.dump(CONFIG) + b"\0", source="x") == CONFIG


def test_paths_that_are_no_utf8_survive() -> None:
    text = libxl_json.dump(CONFIG).replace(b"/images/r.raw", b"/images/\xff.raw")
    assert libxl_json.dump(libxl_json.parse(text, source="x")) == text


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"", "$"),
        (b"[]", "$.c_info"),
        (b'{"c_info": []}', "$.c_info"),
        (b'{"c_info": {}, "disks": {}}', "$.disks"),
        (b'{"c_info": {}, "disks": [1]}', "$.disks[0]"),
        (b'{"c_info": {}, "disks": [{"pdev_path": 1}]}', "$.disks[0].pdev_path"),
        (b'{"c_info": {}, "disks": [{"backend": "nbd"}]}', "$.disks[0].backend"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_place(text: bytes, where: str) -> None:
    with pytest.raises(Damaged, match="at `") as caught:
        libxl_json.parse(text, source="/x")
    assert caught.value.cause.startswith("/x: ")
    assert caught.value.cause.endswith(f"at `{where}`")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["qdisk", "raw", "qcow2"]),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text() | st.sampled_from(["c_info", "disks", "vdev", "pdev_path", "format", "backend", "uuid", "type"]),
            inner,
        )
    ),
)


@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    text = json.dumps(value).encode()
    with suppress(Damaged):
        configs = [libxl_json.parse(text, source="x")]
        look(configs)
    with suppress(Damaged):
        look(libxl_json.parse_list(text, source="x").values())


def look(configs: Iterable[libxl_json.Config]) -> None:
    """Everything that can be asked of configurations that were not refused."""
    for config in configs:
        libxl_json.name(config)
        libxl_json.kind(config)
        changed = libxl_json.with_layers(config, {"xvda": Layer("/o", Format.QCOW2)})
        assert len(libxl_json.disks(changed)) == len(libxl_json.disks(config))
