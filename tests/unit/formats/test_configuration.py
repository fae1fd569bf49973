"""What becomes of a configuration that comes from elsewhere, or becomes another domain's."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.formats import configuration, domain_toml, libxl_json
from xensnap.model import DomainUuid, Format, Layer

OLD, NEW = (DomainUuid(f"{digit * 8}-0000-4000-8000-000000000000") for digit in "12")
HOSTILE = "/etc/shadow"
CONFIG: dict[str, Any] = {
    "c_info": {"type": "hvm", "name": "guest", "uuid": OLD, "run_hotplug_scripts": "True", "pool_name": HOSTILE},
    "b_info": {
        "max_vcpus": 2,
        "max_memkb": 131072,
        "device_model": HOSTILE,
        "device_model_user": "root",
        "extra": ["-drive", HOSTILE],
        "kernel": HOSTILE,
        "ramdisk": HOSTILE,
        "bootloader": HOSTILE,
        "bootloader_args": [HOSTILE],
        "cmdline": "console=hvc0",
        "type.hvm": {
            "bios": "seabios",
            "acpi": "True",
            "ms_vm_genid": [1] * 16,
            "serial": HOSTILE,
            "system_firmware": HOSTILE,
        },
    },
    "disks": [
        {
            "pdev_path": HOSTILE,
            "vdev": "xvda",
            "format": "raw",
            "readwrite": 1,
            "script": HOSTILE,
            "backend_domname": "x",
        },
        {"pdev_path": HOSTILE, "vdev": "hdc", "format": "raw", "is_cdrom": 1},
    ],
    "nics": [
        {
            "devid": 0,
            "mac": "00:16:3e:aa:bb:cc",
            "bridge": "xenbr0",
            "model": "rtl8139",
            "script": HOSTILE,
            "ifname": "a b",
        },
    ],
    "pcidevs": [{"dev": 1, "bus": 2}],
    "p9": [{"path": HOSTILE, "tag": "x"}],
    "channels": [{"name": "x", "connection.socket": {"path": HOSTILE}}],
    "vfbs": [{"vnc": {"listen": "0.0.0.0"}}],
    "on_reboot": "restart",
    "on_crash": HOSTILE,
}


def test_of_a_configuration_from_elsewhere_only_what_names_nothing_of_a_host_is_taken() -> None:
    found = configuration.portable(json.dumps(CONFIG))
    text = configuration.renewed(
        found.text, uuid=NEW, name="copy", layers={"xvda": Layer("/images/a", Format.QCOW2), "hdc": None}
    )
    assert HOSTILE not in text
    config = json.loads(text)
    assert config["b_info"] == {
        "max_vcpus": 2,
        "max_memkb": 131072,
        "cmdline": "console=hvc0",
        "type.hvm": {"bios": "seabios", "acpi": "True", "ms_vm_genid": [1] * 16},
    }
    assert config["nics"] == [{"devid": 0, "mac": "00:16:3e:aa:bb:cc", "bridge": "xenbr0", "model": "rtl8139"}]
    assert (config["on_reboot"], "on_crash" in config) == ("restart", False)
    assert set(config) == {"c_info", "b_info", "disks", "nics", "on_reboot"}
    assert {disk.vdev: disk.path for disk in libxl_json.disks(config)} == {"xvda": "/images/a", "hdc": ""}
    left_out = " ".join(found.left_out)
    for word in ("device_model", "kernel", "bootloader", "disks[0].script", "nics[0].script", "pcidevs", "p9", "vfbs"):
        assert word in left_out


KEYS = sorted({*CONFIG["b_info"], "type", "mac", "model", "bridge", "x"} - {"cmdline"})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([HOSTILE, "True", "hvm", "a\nb", "'\"", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {"c_info": st.dictionaries(st.sampled_from(["type", "uuid", "x"]), json_values)},
        optional={key: json_values for key in CONFIG if key not in ("c_info", "disks")},
    )
)
def test_whatever_it_says_no_path_and_no_end_of_a_line_is_left(config) -> None:
    text = configuration.portable(json.dumps(config)).text
    assert HOSTILE not in text
    assert "\\n" not in text
    assert '\\"' not in text


def test_what_xl_tells_of_any_guest_keeps_no_archive_from_being_taken_in() -> None:
    """Xen 4.17.7, trace xen/save-and-restore: only what the guest is booted from is left out."""
    traces = Path(__file__).parents[2] / "parity" / "traces" / "xen"
    lines = (traces / "save-and-restore.jsonl").read_text(encoding="utf-8").splitlines()
    (told,) = json.loads(json.loads(lines[1])["out"])
    left_out = configuration.portable(json.dumps(told["config"])).left_out
    assert [each.partition(" ")[0] for each in left_out] == ["b_info.kernel", "b_info.ramdisk"]


def test_a_clone_has_hardware_that_no_other_has_and_always_the_same() -> None:
    def made(uuid: DomainUuid) -> Any:
        layers = {"xvda": Layer("/images/a", Format.QCOW2)}
        text = configuration.renewed(json.dumps(CONFIG), uuid=uuid, name="c", layers=layers, fresh_hardware=True)
        return json.loads(text)

    one, again, other = made(NEW), made(NEW), made(OLD)
    assert one == again
    macs = {config["nics"][0]["mac"] for config in (one, other, CONFIG)}
    assert len(macs) == 3
    assert all(mac.startswith("00:16:3e:") for mac in macs)
    genids = [config["b_info"]["type.hvm"]["ms_vm_genid"] for config in (one, other)]
    assert genids[0] != genids[1]
    assert all(len(genid) == 16 for genid in genids)
    assert one["b_info"]["device_model"] == HOSTILE  # one's own configuration is trusted


TOML = f"""# mine
name = "guest"
uuid = "{OLD}"
memory = "64M"
boot = "installer.img"
[[disk]]
vdev = "xvda"
path = "a.raw"
format = "raw"
[[disk]]
vdev = "xvdb"
path = "b.raw"
format = "raw"
mode = "ro"
[[disk]]
vdev = "hdc"
path = "c.iso"
format = "raw"
cdrom = true
"""


def test_a_toml_description_keeps_the_machine_and_loses_what_is_elsewhere() -> None:
    found = configuration.portable(TOML)
    assert found.left_out == ("boot = installer.img",)
    text = configuration.renewed(
        found.text, uuid=NEW, name="copy", layers={"xvda": Layer("/i/a", Format.QCOW2), "hdc": None}, gone=["xvdb"]
    )
    entry = domain_toml.parse(text, source="x", fresh_uuid="")
    assert (entry.name, entry.uuid, entry.memory_bytes, entry.boot) == ("copy", NEW, 64 << 20, "")
    assert [(disk.vdev, disk.path, disk.format) for disk in entry.disks] == [
        ("xvda", "/i/a", Format.QCOW2),
        ("hdc", "", Format.RAW),
    ]
    assert text.startswith("# mine")


@pytest.mark.parametrize("text", ["{", "{}", "[", "name = 1", '{"c_info": 1}'])
def test_what_is_no_configuration_is_told(text) -> None:
    with pytest.raises(Exception, match="configuration"):
        configuration.portable(text)
