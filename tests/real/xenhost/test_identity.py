"""Who a guest is, and what it starts from, where its operator's file leaves something open or changes."""

from dataclasses import replace

from tests.real.xenhost.lab import XenLab

OTHER = "/etc/xen/other.cfg"


def test_a_guest_whose_file_gives_no_uuid_keeps_its_snapshots(lab: XenLab) -> None:
    lab.dom0.run("sed", "-i", "/^uuid/d", lab.guest.file)
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    lab.xl("destroy", lab.guest.name)
    lab.xl("create", lab.guest.file)
    lab.face.holds("", "one")
    lab.face.mark("two")
    assert lab.snapshots() == ["one"]
    told = lab.json("create", lab.guest.name, "--name", "two")
    assert [each for each in told["warnings"] if "uuid-not-pinned" in each]
    lab.xensnap("revert", lab.guest.name, "one")
    lab.face.holds("one", "one")
    assert lab.snapshots() == ["one", "two"]
    lab.images_are_whole()


MORE = "format=qcow2,vdev=xvdc,access=rw,backendtype=qdisk,target=/var/tmp/more.qcow2"


def one_disk_more(lab: XenLab) -> None:
    """In the operator's file."""
    made = "qemu-img create -q -f qcow2 /var/tmp/more.qcow2 8M"
    lab.dom0.shell(f"{made}; sed -i 's|^disk = \\[|&\\n  \"{MORE}\",|' {lab.guest.file}")


def test_what_the_operator_changes_while_the_guest_is_off_counts(lab: XenLab) -> None:
    """Here one disk more. The others go on from where the snapshot has left them."""
    name, file = lab.guest.name, lab.guest.file
    lab.xensnap("--domain-config", file, "create", name, "--name", "one", "--type", "external")
    lab.face.mark("two")
    lab.face.ask("poweroff")
    lab.wait_until_off()
    one_disk_more(lab)
    lab.xensnap("domain", "start", name)
    lab.face.holds("", "two")
    assert lab.face.ask("write xvdc 0 more") == "done"
    lab.images_are_whole()


def test_a_guest_that_is_reverted_with_another_configuration_does_as_that_one_says(lab: XenLab) -> None:
    """Its memory is that of the snapshot; what becomes of it at its next reboot is not."""
    lab.face.mark("one")
    lab.xensnap("create", lab.guest.name, "--name", "one")
    lab.face.mark("two")
    lab.dom0.put(OTHER, replace(lab.guest, more=('on_reboot = "destroy"',)).config().encode())
    lab.xensnap("revert", lab.guest.name, "one", "--use-config", OTHER)
    lab.face.holds("one", "one")
    lab.face.ask("reboot")
    lab.wait_until_off()
    assert lab.watchers() == []
    lab.images_are_whole()


def test_a_guest_that_was_made_anew_under_another_uuid_is_let_have_its_snapshots(lab: XenLab) -> None:
    """With a disk more, so that it is not taken for the same one by itself."""
    name, file = lab.guest.name, lab.guest.file
    lab.face.mark("one")
    lab.xensnap("create", name, "--name", "one")
    lab.face.mark("two")
    lab.xl("destroy", name)
    one_disk_more(lab)
    lab.dom0.run("sed", "-i", "/^uuid/d", file)
    lab.xl("create", file)
    lab.face.holds("", "two")
    assert lab.snapshots() == []
    assert lab.refused("create", name, "--name", "two")["id"] == "uuid-changed"
    (seen,) = lab.json("doctor", name, "--repair")["domains"]
    assert "uuid-changed" in {each["id"] for each in seen["repaired"]}
    assert lab.snapshots() == ["one"]
    assert lab.refused("revert", name, "one")["id"] == "disk-not-covered"
    lab.xl("block-detach", name, "xvdc")
    lab.xensnap("revert", name, "one")
    lab.face.holds("one", "one")
    assert len(lab.watchers()) == 1
    lab.images_are_whole()
