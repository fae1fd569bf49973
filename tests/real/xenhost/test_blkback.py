"""Disks that the kernel serves, of which QEMU knows nothing: a raw image and a disc, as xl attaches them by itself."""

import pytest

from tests.real.xenhost.guests import HVM, IMAGES, PV
from tests.real.xenhost.lab import XenLab
from tests.real.xenhost.ways import DISK_ONLY

RAW, DISC = f"{IMAGES}/attached.raw", f"{IMAGES}/attached.iso"


def attach(lab: XenLab, vdev: str, path: str, *words: str) -> None:
    """Without a word of who serves it, xl gives a raw image to blkback, over a loop device (xen.md 17)."""
    lab.dom0.run("qemu-img", "create", "-q", "-f", "raw", path, "16M")
    lab.xl("block-attach", lab.guest.name, ",".join(("format=raw", f"vdev={vdev}", *words, f"target={path}")))
    lab.face.sees(vdev)
    assert f"/backend/vbd/{lab.domid}/" in lab.xl("block-list", lab.guest.name)


@pytest.mark.parametrize("guest", [pytest.param(each, id=each.type) for each in (PV, HVM)])
def test_a_raw_disk_at_blkback_is_refused_or_left_out_and_never_written_to(lab: XenLab) -> None:
    name, watchers = lab.guest.name, lab.watchers()
    lab.face.mark("one")
    lab.xensnap("create", name, "--name", "before")
    attach(lab, "xvdc", RAW, "access=rw")
    lab.face.mark("two", "xvda", "xvdb", "xvdc")
    for way in ((), ("--disk-only",), ("--disk-only", "--type", "external")):
        document = lab.refused("create", name, "--name", "no", *way)
        assert (document["exit_code"], document["effect"]) == (6, "none"), document
        assert "unsupported-backend" in {each["id"] for each in document["reasons"]}
    lab.xensnap("create", name, "--name", "two", *DISK_ONLY.options, "--exclude", "xvdc")
    lab.face.mark("three", "xvda", "xvdb", "xvdc")
    assert "disk-not-covered" in {each["id"] for each in lab.refused("revert", name, "before")["reasons"]}
    lab.xensnap("revert", name, "two")
    assert lab.running()
    lab.face.holds("", "two")
    assert lab.face.on("xvdc") == "three"
    lab.xl("block-detach", name, "xvdc")
    lab.xensnap("revert", name, "before")
    lab.face.holds("one", "one")
    assert lab.snapshots() == ["before", "two"]
    assert len(lab.watchers()) == len(watchers) == 1
    lab.images_are_whole()


@pytest.mark.parametrize("guest", [pytest.param(PV, id="pv")])
def test_a_disc_at_blkback_keeps_nobody_from_a_checkpoint_and_is_there_after_a_revert(lab: XenLab) -> None:
    name = lab.guest.name
    attach(lab, "xvdd", DISC, "access=ro", "devtype=cdrom")
    lab.dom0.shell(f"printf 'a disc' | dd of={DISC} bs=4096 seek=1 conv=notrunc status=none; sync")
    lab.face.mark("one")
    for way in (("--name", "one"), ("--name", "disks", "--disk-only")):
        lab.xensnap("create", name, *way)
    lab.face.mark("two")
    lab.xensnap("revert", name, "one")
    lab.face.holds("one", "one")
    assert lab.face.on("xvdd") == "a disc"
    assert lab.face.ask("write xvdd 0 no").startswith("error")
    lab.xensnap("revert", name, "disks")
    lab.face.holds("", "one")
    assert lab.face.on("xvdd") == "a disc"
    lab.images_are_whole()
