"""Between libvirt and us: snapshots out as XML, and in again from the images, in any order."""

import json
import shutil
import subprocess

import pytest

from tests.cli.conftest import UUID, Shell
from xensnap.formats import libvirt_xml
from xensnap.formats.libvirt_xml import XmlDisk
from xensnap.model import Kind


def forget(shell: Shell) -> None:
    """All that is known of snapshots is lost; the images are not."""
    (record, *_) = (shell.directory / "images").rglob("snapshotdata-*")
    shutil.rmtree(record.parent)


def xml_files(shell: Shell, *names: str) -> list[str]:
    for name in names:
        (shell.directory / f"{name}.xml").write_text(shell.ok("dumpxml", "guest1", name), encoding="utf-8")
    return [f"{name}.xml" for name in names]


def content(shell: Shell, name: str) -> bytes:
    """What the guest would read on a disk."""
    path = shell.json("info", "guest1")["disks"][name == "xvdb"]["path"]
    copy = shell.directory / "copy"
    subprocess.run(["qemu-img", "convert", "-O", "raw", path, copy], check=True)
    return copy.read_bytes()


def write(shell: Shell, qemu_io, pattern: int) -> None:
    for disk in shell.json("info", "guest1")["disks"][:2]:
        command = f"write -P {pattern} 0 64k"
        subprocess.run([qemu_io, "-f", disk["format"], "-c", command, disk["path"]], check=True, capture_output=True)


def test_a_snapshot_is_told_in_libvirts_words(both) -> None:
    both.ok("create", "guest1", "-n", "s", "--description", "what for")
    told = libvirt_xml.parse(both.ok("dumpxml", "guest1", "s").encode(), source="stdout")
    assert (told.name, told.description, told.domain_uuid) == ("s", "what for", UUID)
    first, second, cdrom = told.disks
    assert first == XmlDisk("xvda", Kind.INTERNAL, tag="s")
    assert (second.name, second.kind, second.format) == ("xvdb", Kind.EXTERNAL, "qcow2")
    assert cdrom == XmlDisk("hdc", None)
    assert both.json("dumpxml", "guest1", "-n", "s")["xml"] == both.ok("dumpxml", "guest1", "s")


def test_lost_records_come_back_in_any_order_and_hold_what_they_held(qemu, qemu_io) -> None:
    for pattern, name in enumerate(("first", "second"), start=1):
        write(qemu, qemu_io, pattern)
        qemu.ok("create", "guest1", "-n", name, "--description", name)
    write(qemu, qemu_io, 3)
    before = qemu.json("list", "guest1")["snapshots"]
    first, second = xml_files(qemu, "first", "second")
    forget(qemu)
    assert qemu.json("list", "guest1")["snapshots"] == []
    qemu.ok("import-xml", "guest1", second, first)
    after = qemu.json("list", "guest1")["snapshots"]
    assert [_without_current(each) for each in after] == [_without_current(each) for each in before]
    for pattern, name in ((2, "second"), (1, "first")):
        qemu.ok("revert", "guest1", name)
        assert {content(qemu, vdev)[:65536] for vdev in ("xvda", "xvdb")} == {bytes([pattern]) * 65536}
    qemu.ok("delete", "guest1", "--all")


def _without_current(snapshot: dict) -> dict:
    return {key: value for key, value in snapshot.items() if key not in {"current", "excluded"}}


def test_a_tag_that_another_tool_made_becomes_a_snapshot(qemu, qemu_img, qemu_io) -> None:
    write(qemu, qemu_io, 7)
    image = qemu.json("info", "guest1")["disks"][0]["path"]
    subprocess.run([qemu_img, "snapshot", "-c", "theirs", image], check=True)
    write(qemu, qemu_io, 8)
    (qemu.directory / "theirs.xml").write_text(
        "<domainsnapshot><name>theirs</name><state>running</state><parent><name>gone</name></parent>"
        "<memory snapshot='internal'/><disks><disk name='xvda' snapshot='internal'/></disks></domainsnapshot>"
    )
    result = qemu.run("import-xml", "guest1", "theirs.xml")
    assert result.exit_code == 0
    assert "the memory of 'theirs' is not taken over" in result.stderr
    assert "'gone', the parent of 'theirs', is not known" in result.stderr
    (snapshot,) = qemu.json("list", "guest1")["snapshots"]
    assert (snapshot["consistency"], snapshot["memory"]) == ("crash", None)
    qemu.ok("revert", "guest1", "theirs", "--then", "stopped")
    assert content(qemu, "xvda")[:65536] == b"\7" * 65536


def test_a_record_of_2014_is_taken_in_once_its_tags_are_found(qemu, qemu_img) -> None:
    disk = qemu.json("info", "guest1")["disks"][0]
    subprocess.run([qemu_img, "snapshot", "-c", "internal snapshot 20140710", disk["path"]], check=True)
    record = {
        "name": "internal snapshot 20140710",
        "description": "for a test",
        "creation_time": 1404986400,
        "memory": "/var/lib/xen/snapshots/x/internal snapshot 20140710.save",
        "type": "internal",
        "blocked": True,
        "disks": [{"device": disk["vdev"], "name": "internal snapshot 20140710", "file": "", "path": ""}],
    }
    (qemu.directory / "old.libxl-json").write_text(json.dumps(record))
    result = qemu.run("import-xml", "guest1", "old.libxl-json")
    assert result.exit_code == 0, result.output
    assert "is not taken over" in result.stderr
    (snapshot,) = qemu.json("list", "guest1")["snapshots"]
    assert (snapshot["name"], snapshot["creation_time_s"], snapshot["description"]) == (
        "internal snapshot 20140710", 1404986400, "for a test"
    )  # fmt: skip


def test_a_record_of_2014_in_the_store_is_told_where_it_is_taken_in(qemu) -> None:
    qemu.ok("create", "guest1", "-n", "one")
    (ours,) = qemu.directory.rglob("snapshotdata-d.one.libxl-json")
    theirs = ours.with_name("snapshotdata-d.old.libxl-json")
    theirs.write_text(json.dumps({"name": "old", "creation_time": 1404986400, "disks": [{"device": "xvda"}]}))
    theirs.chmod(0o600)
    assert "it is a record of the implementation of 2014" in qemu.run("list", "guest1").stderr
    assert "`xensnap import-xml guest1 FILE`" in qemu.run("doctor", "guest1").stdout
    theirs.rename(qemu.directory / "old.json")
    assert qemu.ok("doctor", "guest1") == "guest1: all fits together\n"


def test_a_record_under_an_older_name_is_renamed_by_a_repair(qemu) -> None:
    qemu.ok("create", "guest1", "-n", "one")
    (ours,) = qemu.directory.rglob("snapshotdata-d.one.libxl-json")
    text = ours.read_bytes()
    ours.rename(ours.with_name("snapshotdata-one.xl"))
    assert "record-older-name" in qemu.ok("doctor", "guest1")
    qemu.ok("doctor", "guest1", "--repair")
    assert [path.name for path in ours.parent.glob("snapshotdata-*")] == [ours.name]
    assert ours.read_bytes() == text


def test_a_record_of_ours_that_was_lost_is_taken_in_again(qemu) -> None:
    qemu.ok("create", "guest1", "-n", "one", "--description", "for later")
    (ours,) = qemu.directory.rglob("snapshotdata-d.one.libxl-json")
    ours.rename(qemu.directory / "kept.json")
    assert "import-xml DOMAIN kept.json" in qemu.error("create", "kept.json", "guest1")["remedy"]
    qemu.ok("import-xml", "guest1", "kept.json")
    (snapshot,) = qemu.json("list", "guest1")["snapshots"]
    assert (snapshot["name"], snapshot["description"]) == ("one", "for later")


@pytest.mark.parametrize("text", ["{", '{"name": 1}', '{"description": "x"}', '{"name": "x", "disks": {}}'])
def test_other_json_is_refused_with_its_place(sim, text) -> None:
    (sim.directory / "x.json").write_text(text)
    assert sim.error("import-xml", "guest1", "x.json")["id"] == "bad-record"


DISK = "<disks><disk name='xvda' snapshot='internal'/></disks>"


def test_what_one_snapshot_holds_no_other_can(sim) -> None:
    sim.ok("create", "guest1", "-n", "known")
    xml_files(sim, "known")
    (sim.directory / "other.xml").write_text(
        sim.ok("dumpxml", "guest1", "known")
        .replace("<name>known</name>", "<name>other</name>")
        .replace("</disks>", "</disks><cookie><xensnap><tag disk='xvda'>known</tag></xensnap></cookie>")
    )
    reasons = sim.error("import-xml", "guest1", "other.xml")["reasons"]
    assert [reason["id"] for reason in reasons] == ["held-already", "held-already"]


@pytest.mark.parametrize(
    ("text", "id", "exit_code"),
    [
        ("<name>s</name>", "nothing-to-snapshot", 6),
        ("<name>a/b</name>" + DISK, "bad-name", 6),
        ("<name>known</name>" + DISK, "name-taken", 4),
        ("<name>s</name>" + DISK, "no-such-tag", 6),
        ("<name>s</name><disks><disk name='vdz' snapshot='internal'/></disks>", "no-such-disk", 6),
        ("<name>s</name><disks><disk name='xvdb' snapshot='external'><source file='/o'/></disk></disks>",
         "no-such-overlay", 6),
        ("<name>s</name><domain><uuid>another</uuid></domain>" + DISK, "another-domain", 6),
        ("<nothing/>", "bad-snapshot-xml", 2),
    ],
)  # fmt: skip
def test_what_is_not_so_is_refused(sim, text, id, exit_code) -> None:
    sim.ok("create", "guest1", "-n", "known")
    (sim.directory / "s.xml").write_text(f"<domainsnapshot>{text}</domainsnapshot>")
    error = sim.error("import-xml", "guest1", "s.xml")
    assert (error["id"], error["exit_code"]) == (id, exit_code)
    assert sim.error("import-xml", "guest1", "missing.xml")["id"] == "no-such-file"


def test_two_that_contradict_each_other_are_refused(sim) -> None:
    for name, parent in (("a", "b"), ("b", "a")):
        (sim.directory / f"{name}.xml").write_text(
            f"<domainsnapshot><name>{name}</name><parent><name>{parent}</name></parent>{DISK}</domainsnapshot>"
        )
    ids = {reason["id"] for reason in sim.error("import-xml", "guest1", "a.xml", "b.xml", "b.xml")["reasons"]}
    assert ids == {"parent-loop", "told-twice", "no-such-tag"}


def test_the_domains_own_xml_can_be_put_in(sim) -> None:
    sim.ok("create", "guest1", "-n", "s")
    (sim.directory / "d.xml").write_text(f"<domain type='xen'><name>guest1</name><uuid>{UUID}</uuid></domain>")
    assert '<domain type="xen">' in sim.ok("dumpxml", "guest1", "s", "--domain-xml", "d.xml")
    (sim.directory / "d.xml").write_text("<domain><uuid>another</uuid></domain>")
    assert sim.error("dumpxml", "guest1", "s", "--domain-xml", "d.xml")["id"] == "bad-domain-xml"
