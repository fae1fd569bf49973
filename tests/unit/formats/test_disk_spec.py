"""xl's disk specifications: the vectors that were taken from the real parser, and what we do differently on purpose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.errors import Usage
from xensnap.formats import disk_spec
from xensnap.formats.device_disk import DeviceDisk, device_number, same_device

GUEST = DeviceDisk(pdev_path="/dev/vg/g", format="raw", vdev="hda", readwrite=1)
ISO = DeviceDisk(pdev_path="/i.iso", format="raw", vdev="hdc", removable=1, is_cdrom=1)
QCOW2 = DeviceDisk(pdev_path="/t/h.qcow2", format="qcow2", vdev="hda", readwrite=1)
EMPTY = DeviceDisk(format="empty", vdev="hdc", removable=1, is_cdrom=1)


@pytest.mark.parametrize(
    ("spec", "disk"),
    [
        ("/dev/vg/g,,hda", GUEST),
        ("/dev/vg/g,raw,hda,rw", GUEST),
        ("format=raw, vdev=hda, access=rw, target=/dev/vg/g", GUEST),
        ("raw:/dev/vg/g,hda,w", GUEST),
        ("/i.iso,,hdc,cdrom", ISO),
        ("/i.iso,,hdc,,cdrom", ISO),
        ("raw:/i.iso,hdc:cdrom,ro", ISO),
        (",hdc:cdrom,r", DeviceDisk(pdev_path="", format="empty", vdev="hdc", removable=1, is_cdrom=1)),
        ("cdrom,vdev=hdc", EMPTY),
        (",,hda", DeviceDisk(pdev_path="", format="raw", vdev="hda", readwrite=1)),
        ("vdev=hda,target=", DeviceDisk(pdev_path="", format="raw", vdev="hda", readwrite=1)),
        ("vdev=hda, target=null", DeviceDisk(pdev_path="null", format="raw", vdev="hda", readwrite=1)),
        ("/t/h.qcow2,qcow2,hda", QCOW2),
        ("format=qcow2,vdev=hda,target=/t/h.qcow2", QCOW2),
        ("tap:qcow2:/t/h.qcow2,hda,w", QCOW2),
        ("nbd:foo,xvda,w", DeviceDisk(pdev_path="foo", format="raw", vdev="xvda", script="block-nbd", readwrite=1)),
        ("/a:b,raw,xvda", DeviceDisk(pdev_path="/a:b", format="raw", vdev="xvda", readwrite=1)),
        ("/p,raw,hda,,", DeviceDisk(pdev_path="/p", format="raw", vdev="hda", readwrite=1)),
        ("foo:bar,raw,hda", DeviceDisk(pdev_path="foo:bar", format="raw", vdev="hda", readwrite=1)),
        ("vdev=hda,target=/a,b: c,", DeviceDisk(pdev_path="/a,b: c", format="raw", vdev="hda", readwrite=1)),
        ("/p,raw,hda,discard,no-discard", DeviceDisk(
            pdev_path="/p", format="raw", vdev="hda", readwrite=1, discard_enable="False")),
        ("/p,raw,hda,trusted,grant_usage=1,colo-port=12x", DeviceDisk(
            pdev_path="/p", format="raw", vdev="hda", readwrite=1, trusted="True", grant_usage="True", colo_port=12)),
    ],
)  # fmt: skip
def test_a_specification_is_read_as_libxlutil_reads_it(spec: str, disk: DeviceDisk) -> None:
    assert disk_spec.parse(spec, source="f") == disk


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("hda=/v/d.qcow2,type=qcow2", ["unknown parameter: near `hda=/'", "unknown parameter: near `type=q'"]),
        ("vdev=hda", ["no target specified (and device not removable)"]),
        ("hda", ["no vdev specified"]),
        ("", ["no vdev specified"]),
        ("/p,qcow3,hda", ["unknown value for format: near `qcow3'"]),
        ("/p,raw,hda,rx", ["unknown value for access: near `rx'"]),
        ("/p,raw,hda,rw,extra", ["too many positional parameters: near `extra'"]),
        ("/p,raw,hda,rw,format=qcow2", ["format respecified: near `qcow2'"]),
        ("foo:/p,hda", ["unknown deprecated disk prefix: near `foo:'"]),
        ("FORMAT=raw,vdev=hda,target=/p", ["bad disk syntax: near `=raw,vdev=hda,target=/p'"]),
        ("devtype=floppy,target=/p", ["unknown value for type: near `devtype=floppy,'"]),
        ("/p,raw,hda,bogus=1", ["unknown parameter: near `bogus=1'"]),
        ("target=/p,vdev=hda", ["no vdev specified"]),
        ("vdev=,target=/p", ["no vdev specified"]),
        ("/p,raw,hda,rw,=", ["bad disk syntax: near `='"]),
        ("/p,raw,hda\0", ["bad disk syntax: near `/p,raw,hda\0'"]),
    ],
)
def test_a_mistake_is_told_in_the_words_of_libxlutil(spec: str, told: list[str]) -> None:
    with pytest.raises(Usage) as caught:
        disk_spec.parse(spec, source="f")
    begin = "f: config parsing error in disk specification: "
    # The first word that is wrong may leave the next one unread, so the words before it are all that is compared.
    assert caught.value.cause.splitlines() == [f"{begin}{each} in `{spec}'" for each in told]
    assert caught.value.id == "bad-disk-spec"
    assert caught.value.remedy


@pytest.mark.parametrize("spec", [",,hda", "vdev=hda", "vdev=hda,target="])
def test_a_disk_without_a_target_may_be_asked_for(spec: str) -> None:
    assert not disk_spec.parse(spec, source="f", needs_target=False).pdev_path


@given(st.text(st.sampled_from("a=:,/\n\t \0é-_0") | st.characters(), max_size=60))
def test_only_our_own_error_comes_out_of_anything(spec: str) -> None:
    try:
        disk = disk_spec.parse(spec, source="f")
    except Usage as error:
        assert error.cause.startswith("f: config parsing error")  # noqa: PT017 -- reading it is as good an outcome
    else:
        assert disk.vdev


@pytest.mark.parametrize(
    ("vdev", "number"),
    [
        ("xvda", 51712), ("d0p0", 51712), ("51712", 51712), ("0xca00", 51712), ("0145000", 51712), ("xvda1", 51713),
        ("xvdp15", 51967), ("xvdq", 268439552), ("xvdaa", 268442112), ("d1p16", 268435728), ("hda", 768), ("hdb3", 835),
        ("hdc", 5632), ("hdd", 5696), ("sda", 2048), ("sdp15", 2303), ("hde", None), ("sdq", None), ("xvda01", None),
        ("xvda256", None), ("vda", None), ("", None), ("2147483648", None), ("xvd", None), ("d0p256", None),
    ],
)  # fmt: skip
def test_a_device_has_one_number_by_all_its_names(vdev: str, number: int | None) -> None:
    assert device_number(vdev) == number


def test_names_that_are_no_devices_are_only_equal_to_themselves() -> None:
    assert same_device("xvda", "d0p0")
    assert same_device("vda", "vda")
    assert not same_device("vda", "vdb")
