"""What QEMU is told about a machine: all from its description, nothing from the day or the host."""

import json
from itertools import pairwise

import pytest

from xensnap.backends.local.graph import path_of
from xensnap.backends.qemu.machine_args import Boot, command_line, node_name
from xensnap.conformance.places import boot_guest as guest
from xensnap.errors import Usage
from xensnap.formats import domain_toml
from xensnap.model import Format, Layer

DESCRIPTION = """
name = "a, b"
uuid = "0f1e2d3c-0f1e-4d3c-8f1e-2d3c0f1e2d3c"
memory = "2G"
boot = "guest.img"
[[disk]]
vdev = "xvda"
path = "a.qcow2"
format = "qcow2"
[[disk]]
vdev = "xvdb"
path = "b.vhd"
format = "vhd"
mode = "ro"
[[disk]]
vdev = "hdc"
cdrom = true
"""
LAYERS = {"xvda": Layer("/d/a,1.qcow2", Format.QCOW2), "xvdb": Layer("/d/b.vhd", Format.VHD)}


def parsed(text=DESCRIPTION):
    return domain_toml.parse(text, source="guest.toml", fresh_uuid="")


def after(argv, option):
    return [value for word, value in pairwise(argv) if word == option]


def test_a_description_names_memory_and_boot_medium():
    assert (parsed().memory_bytes, parsed().boot) == (2 << 30, "guest.img")
    bare = parsed(DESCRIPTION.replace('memory = "2G"\nboot = "guest.img"\n', ""))
    assert (bare.memory_bytes, bare.boot) == (128 << 20, "")


@pytest.mark.parametrize("wrong", ['"64"', '"0M"', '"64m"', '"64 M"', "64", '"1T"'])
def test_a_wrong_size_of_memory_is_told(wrong):
    with pytest.raises(Usage, match=r"guest\.toml: memory"):
        parsed(DESCRIPTION.replace('"2G"', wrong))


def test_the_machine_is_what_the_description_says():
    argv = command_line(parsed(), LAYERS, serial="/run/s,1", boot=Boot("/d/guest.img", floppy=True))
    assert after(argv, "-m") == ["2048M"]
    assert after(argv, "-name") == ["guest=a,, b"]
    assert argv[-1] == "-S"
    assert "-incoming" not in argv
    nodes = {node["node-name"]: node for node in map(json.loads, after(argv, "-blockdev"))}
    assert nodes["xvda-qcow2"]["file"] == {"driver": "file", "filename": "/d/a,1.qcow2"}
    assert (nodes["xvdb-vpc"]["driver"], nodes["xvdb-vpc"]["read-only"]) == ("vpc", True)
    assert nodes["boot-raw"]["read-only"]
    assert "file,id=serial,path=/run/s,,1" in argv
    # A slot by place, whatever stands in the others: memory fits only the machine that it comes from.
    assert "virtio-blk-pci,addr=0x5,id=xvdb,drive=xvdb-vpc,bootindex=2" in argv
    assert "ide-cd,id=hdc" in argv


def test_a_machine_that_waits_for_memory_is_else_the_same():
    argv = command_line(parsed(), LAYERS, serial="/s")
    incoming = command_line(parsed(), LAYERS, serial="/s", incoming=True)
    assert [word for word in incoming if word not in ("-incoming", "defer")] == argv


def test_node_names_are_those_of_xen_and_never_too_long():
    assert node_name("xvda", Format.QCOW2) == "xvda-qcow2"
    assert len(node_name("x" * 32, Format.QCOW2)) == 31


@pytest.mark.parametrize(
    "told",
    [
        "/d/o.qcow2",
        'json:{"driver":"qcow2","file":{"driver":"file","filename":"/d/o.qcow2"}}',
        'json:{"backing":{"file":{"filename":"/d/a"}},"file":{"file":{"filename":"/d/o.qcow2"}}}',
    ],
)
def test_the_path_of_an_image_is_found_in_what_qemu_calls_it(told):
    assert path_of(told) == "/d/o.qcow2"


def test_the_guest_is_a_boot_sector_and_its_reports_are_read():
    assert len(guest.boot_sector()) == 512
    assert guest.reports("n=00000010 bad=00000000\r\nn=00000020 bad=0000000f\r\nn=00") == [(16, 0), (32, 15)]
