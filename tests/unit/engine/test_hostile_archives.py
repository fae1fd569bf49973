"""Whatever is in an archive: it is taken in as it was made, or refused, and nothing else on the host changes."""

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from simulator import SimulatedHost
from simulator.checkers.leaks import files
from simulator.disk.image import Qcow2, fresh_qcow2
from simulator.disk.qcow2_file import encoded
from xensnap.engine import CreateRequest, DeleteRequest, Engine, RevertRequest
from xensnap.engine.archive import Archive, opened
from xensnap.engine.request import ExportRequest, GraftRequest, ImportRequest
from xensnap.errors import Failed, Refused, XensnapError
from xensnap.formats import archive, libxl_json, savefile, snapshot_record
from xensnap.formats.archive import ArchivedDisk, Manifest
from xensnap.model import DescribedBy, Format, GuestKind

PATH = "/images/s.xensnap"
REQUEST = ImportRequest(PATH, "/images")
STORE = "/var/lib/xen/snapshots"


@cache
def source() -> tuple[bytes, Any]:
    """An archive as it should be, and what the guest's disk held."""
    host = SimulatedHost.fresh()
    host.create_image("/images/a.qcow2", size_bytes=1 << 18)
    host.add_domain("guest", "5c84adcc-bd59-488a-96d2-195f9b599cfe", {"xvda": "/images/a.qcow2"})
    host.start("guest")
    host.write("guest", "xvda", 0)
    engine = Engine(host)
    engine.create("guest", CreateRequest("s", description="as it was"))
    host.run(host.toolstack.destroy(host.run(host.toolstack.inspect("guest"))))
    seen = host.visible_snapshot(host.run(host.toolstack.inspect("guest")).disks[0].layer, "1")
    engine.perform("guest", ExportRequest("s", PATH))
    return host.run(host.files.read(PATH)), seen


def target(data: bytes) -> SimulatedHost:
    host = SimulatedHost.fresh(seed=1)
    host.make_directory("/images")
    host.run(host.files.create(PATH, data))
    host.run(host.files.create("/images/secret", b"not for guests"))
    return host


def is_refused(host: SimulatedHost, request: ImportRequest = REQUEST) -> XensnapError:
    """The import is refused, and but for the journal of it nothing has changed."""
    before = {path: host.world.fs.inode(path) for path, _ in files(host.world.fs)}
    with pytest.raises((Failed, Refused)) as caught:
        Engine(host).make(request)
    after = {path: host.world.fs.inode(path) for path, _ in files(host.world.fs)}
    assert {path: inode for path, inode in after.items() if path in before} == before
    assert {path.rpartition("/")[2] for path in after.keys() - before.keys()} <= {"lock", "reserve", "journal"}
    assert all(path.startswith(STORE) for path in after.keys() - before.keys())
    assert Engine(host).domains() == ()
    assert Engine(host).unborn() == ()
    return caught.value


@pytest.mark.one_door("what stands only in a record is in no simulated world before it is started")
def test_an_archive_as_it_was_made_is_taken_in() -> None:
    data, seen = source()
    host = target(data)
    Engine(host).make(REQUEST)
    assert host.visible("guest") == {"xvda": seen}
    Engine(host).revert("guest", RevertRequest("s"))
    assert host.run(host.toolstack.inspect("guest")).domid is not None


@given(st.data())
def test_no_change_of_any_bytes_goes_unnoticed(data: st.DataObject) -> None:
    whole, _ = source()
    kind = data.draw(st.sampled_from(["flip", "cut", "more", "swap"]))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = {
        "flip": lambda: whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :],
        "cut": lambda: whole[:at],
        "more": lambda: whole[:at] + data.draw(st.binary(min_size=1, max_size=600)) + whole[at:],
        "swap": lambda: whole[at:] + whole[:at],
    }[kind]()
    if changed != whole:
        assert is_refused(target(changed)).id == "bad-archive"


# --- archives whose sums are right, by somebody who means no good ----------------------------------------------------


def taken_apart() -> tuple[Archive, dict[str, bytes]]:
    whole, _ = source()
    found = target(whole)
    read = found.run(opened(found, PATH))
    return read, {place.member.name: whole[place.offset :][: place.member.size_bytes] for place in read.places}


def put_together(manifest: Manifest, contents: dict[str, bytes], names: dict[str, str] | None = None) -> bytes:
    """An archive with right sums; `names` are told by tar instead of those in the manifest."""
    members = tuple(
        replace(
            member, size_bytes=len(contents[member.name]), blake2b=archive.new_sum(contents[member.name]).hexdigest()
        )
        for member in manifest.members
    )
    told = archive.sealed(replace(manifest, members=members))
    parts = [archive.beginning(told)]
    for member in members:
        head = archive.head((names or {}).get(member.name, member.name), member.size_bytes)
        parts += [head, contents[member.name], archive.padding(member.size_bytes)]
    return b"".join([*parts, archive.END])


def with_image(image: bytes) -> bytes:
    found, contents = taken_apart()
    return put_together(found.manifest, contents | {"disk-xvda.qcow2": image})


def qcow2(**more: Any) -> bytes:
    return encoded(fresh_qcow2(1 << 18, **more))


IMAGES: dict[str, Callable[[], bytes]] = {
    "on a file of the host": lambda: qcow2(backing_name="/images/secret", backing_format="raw"),
    "on a file of the host, by a relative name": lambda: qcow2(backing_name="secret", backing_format="raw"),
    "on a file whose format is to be guessed": lambda: qcow2(backing_name="/images/secret"),
    "of another size": lambda: encoded(fresh_qcow2(1 << 19)),
    "no image": lambda: b"not an image at all",
    "empty": lambda: b"",
    "half an image": lambda: qcow2()[:1000],
    "an image of another version": lambda: qcow2().replace(b"QFI\xfb\0\0\0\3", b"QFI\xfb\0\0\0\x63", 1),
}


@pytest.mark.parametrize("what", IMAGES)
def test_a_disk_that_is_not_a_standalone_image_is_refused_before_any_domain_has_it(what: str) -> None:
    assert is_refused(target(with_image(IMAGES[what]()))).id == "bad-archive"


def test_a_disk_with_snapshots_of_its_own_is_refused() -> None:
    host = SimulatedHost.fresh()
    layer = host.create_image("/images/a.qcow2", size_bytes=1 << 18)
    host.run(host.images.snapshot_create(layer, tag="s"))
    stored = host.world.fs.inode(layer.path).stored
    assert isinstance(stored, Qcow2)
    assert is_refused(target(with_image(encoded(stored)))).id == "bad-archive"


NAMES = {
    "up": "../../etc/passwd",
    "absolute": "/etc/passwd",
    "hidden": ".ssh",
    "an option": "-rf",
    "quoted": 'x", kernel = "/etc/shadow',
    "a line more": "x\nkernel = '/etc/shadow'",
    "empty": "",
    "long": "x" * 300,
}


@pytest.mark.parametrize("what", NAMES)
def test_names_in_an_archive_lead_nowhere(what: str) -> None:
    found, contents = taken_apart()
    manifest = replace(found.manifest, domain=replace(found.manifest.domain, name=NAMES[what]))
    assert is_refused(target(put_together(manifest, contents))).id in ("bad-domain-name", "bad-archive")
    record = snapshot_record.decode(contents[archive.RECORD], path="x")
    evil = snapshot_record.encode(replace(record, name=NAMES[what]))
    manifest = replace(found.manifest, snapshot=NAMES[what])
    if what != "quoted":  # a snapshot may be called like this: it goes into no file for xl
        assert is_refused(target(put_together(manifest, contents | {archive.RECORD: evil}))).id in (
            "bad-name",
            "bad-archive",
        )
    told = {"memory": NAMES[what][:99]}
    assert is_refused(target(put_together(found.manifest, contents, told))).id == "bad-archive"


def test_paths_in_a_record_are_not_used() -> None:
    found, contents = taken_apart()
    record = snapshot_record.decode(contents[archive.RECORD], path="x")
    secret = replace(record.disks[0].image, path="/images/secret", format=Format.RAW)
    evil = replace(record, memory="/images/secret", disks=(replace(record.disks[0], image=secret, overlay=secret),))
    host = target(put_together(found.manifest, contents | {archive.RECORD: snapshot_record.encode(evil)}))
    Engine(host).make(REQUEST)
    Engine(host).revert("guest", RevertRequest("s"))
    (snapshot,) = Engine(host).list("guest").contents.snapshots.values()
    assert "secret" not in snapshot_record.encode(snapshot).decode()
    assert host.run(host.files.read("/images/secret")) == b"not for guests"


def test_memory_without_a_disk_of_its_moment_is_refused() -> None:
    found, contents = taken_apart()
    disks = (*found.manifest.domain.disks, ArchivedDisk("xvdb"))
    manifest = replace(found.manifest, domain=replace(found.manifest.domain, disks=disks))
    assert is_refused(target(put_together(manifest, contents))).id == "disk-not-covered"


def test_what_a_description_names_of_its_host_is_refused_or_left_out_on_request() -> None:
    found, contents = taken_apart()
    record = snapshot_record.decode(contents[archive.RECORD], path="x")
    config = record.domain_config.replace('"disks"', '"b_info": {"device_model": "/tmp/evil"},\n    "disks"')
    evil = snapshot_record.encode(replace(record, domain_config=config))
    data = put_together(found.manifest, contents | {archive.RECORD: evil})
    refusal = is_refused(target(data))
    assert (refusal.id, "/tmp/evil" in refusal.cause) == ("not-portable", True)
    host = target(data)
    Engine(host).make(replace(REQUEST, accept=("not-portable",)))
    domain = host.run(host.toolstack.inspect("guest"))
    assert "evil" not in host.run(host.toolstack.configuration(domain.uuid))
    assert domain.kind is GuestKind.PV


@given(st.integers(-(1 << 70), 1 << 70))
def test_no_time_is_too_odd(when: int) -> None:
    found, contents = taken_apart()
    record = contents[archive.RECORD].replace(b'"creation_time": 1700000000', f'"creation_time": {when}'.encode())
    host = target(put_together(found.manifest, contents | {archive.RECORD: record}))
    if 0 <= when < 253_402_300_800:
        Engine(host).make(REQUEST)
    else:
        assert is_refused(host).id == "bad-archive"


def test_the_configuration_in_a_save_file_of_xl_is_ours_and_the_rest_of_it_is_as_it_was() -> None:
    """xl obeys it: a program that it names as the device model would be run as root."""
    found, contents = taken_apart()
    info = {"type": "hvm", "name": "guest", "uuid": found.manifest.domain.uuid}
    disk = {"vdev": "xvda", "pdev_path": "/etc/shadow", "format": "raw", "script": "/tmp/evil"}
    config = {"c_info": info, "b_info": {"device_model": "/tmp/evil"}, "disks": [disk]}
    stream = b"LibxlFmt" + bytes(range(256)) * 300 + savefile.END
    evil = savefile.encode(savefile.Head(config, 3, 0, b"", 0)) + stream
    host = target(put_together(found.manifest, contents | {archive.MEMORY: evil}))
    Engine(host).make(REQUEST)
    (snapshot,) = Engine(host).list("guest").contents.snapshots.values()
    memory = host.run(host.files.read(snapshot.memory))
    head = savefile.parse(memory[: savefile.length(memory, path="x")], path="x")
    assert memory[head.length_bytes :] == stream
    assert b"evil" not in memory[: head.length_bytes]
    assert b"shadow" not in memory[: head.length_bytes]
    assert [(disk.vdev, disk.layer) for disk in libxl_json.disks(head.config)] == [
        (disk.vdev, disk.image) for disk in snapshot.disks
    ]
    assert (libxl_json.uuid(head.config), libxl_json.name(head.config)) == (snapshot.domain_uuid, "guest")


@pytest.mark.parametrize("memory", [savefile.MAGIC, savefile.MAGIC + bytes(16), savefile.MAGIC + b"\4\3\2\1" * 4])
def test_a_save_file_that_ends_in_its_head_is_refused(memory: bytes) -> None:
    found, contents = taken_apart()
    assert is_refused(target(put_together(found.manifest, contents | {archive.MEMORY: memory}))).id == "bad-archive"


# --- into a domain that is there -------------------------------------------------------------------------------------


def contents_of(host: SimulatedHost) -> dict[str, object]:
    """Every file but what the store notes of operations that came to nothing."""
    there = {path: host.world.fs.inode(path) for path, _ in files(host.world.fs)}
    return {
        path: inode for path, inode in there.items() if path.rpartition("/")[2] not in ("journal", "reserve", "lock")
    }


def is_not_grafted(data: bytes, described_by: DescribedBy = DescribedBy.US) -> XensnapError:
    """The snapshot is refused, and the domain, its snapshots and all files but its journal are as before."""
    host = target(data)
    host.create_image("/images/mine.raw", "raw", size_bytes=1 << 18)
    host.add_domain("mine", disks={"xvda": "/images/mine.raw"}, described_by=described_by)
    engine = Engine(host)
    engine.create("mine", CreateRequest("own"))
    before = engine.list("mine"), contents_of(host)
    with pytest.raises((Failed, Refused)) as caught:
        engine.perform("mine", GraftRequest(PATH, "/images"))
    assert (engine.list("mine"), contents_of(host)) == before
    return caught.value


def without_memory(contents: dict[str, bytes], manifest: Manifest) -> tuple[Manifest, dict[str, bytes]]:
    """The same without its memory, so that what is wrong with the rest is what is told."""
    record = snapshot_record.decode(contents[archive.RECORD], path="x")
    plain = snapshot_record.encode(replace(record, memory=""))
    members = tuple(member for member in manifest.members if member.name != archive.MEMORY)
    return replace(manifest, members=members), contents | {archive.RECORD: plain}


@pytest.mark.parametrize("described_by", DescribedBy)
@pytest.mark.parametrize("what", IMAGES)
def test_no_snapshot_is_added_whose_disk_is_not_a_standalone_image(what: str, described_by: DescribedBy) -> None:
    """Where an operator's file describes the domain, frozen images are flagged, and there is none to be flagged yet."""
    found, contents = taken_apart()
    manifest, contents = without_memory(contents | {"disk-xvda.qcow2": IMAGES[what]()}, found.manifest)
    assert is_not_grafted(put_together(manifest, contents), described_by).id == "bad-archive"


def test_memory_of_another_machine_is_not_added() -> None:
    found, contents = taken_apart()
    record = snapshot_record.decode(contents[archive.RECORD], path="x")
    config = record.domain_config.replace('"disks"', '"b_info": {"device_model": "/tmp/evil"},\n    "disks"')
    other = snapshot_record.encode(replace(record, domain_config=config))
    refusal = is_not_grafted(put_together(found.manifest, contents | {archive.RECORD: other}))
    assert (refusal.id, "/tmp/evil" in refusal.cause) == ("configuration-differs", True)


@pytest.mark.parametrize("what", ["up", "absolute", "hidden", "empty", "long"])
def test_no_snapshot_is_added_under_a_name_that_leads_elsewhere(what: str) -> None:
    found, contents = taken_apart()
    record = snapshot_record.decode(contents[archive.RECORD], path="x")
    evil = snapshot_record.encode(replace(record, name=NAMES[what]))
    data = put_together(replace(found.manifest, snapshot=NAMES[what]), contents | {archive.RECORD: evil})
    assert is_not_grafted(data).id in ("bad-name", "bad-archive")


def test_what_was_added_holds_nothing_that_the_archive_named() -> None:
    found, contents = taken_apart()
    record = snapshot_record.decode(contents[archive.RECORD], path="x")
    secret = replace(record.disks[0].image, path="/images/secret", format=Format.RAW)
    evil = replace(record, memory="/images/secret", disks=(replace(record.disks[0], image=secret, overlay=secret),))
    host = target(put_together(found.manifest, contents | {archive.RECORD: snapshot_record.encode(evil)}))
    host.create_image("/images/mine.raw", "raw", size_bytes=1 << 18)
    host.add_domain("mine", disks={"xvda": "/images/mine.raw"})
    engine = Engine(host)
    engine.perform("mine", GraftRequest(PATH, "/images"))
    (snapshot,) = engine.list("mine").contents.snapshots.values()
    assert "secret" not in snapshot_record.encode(snapshot).decode()
    engine.revert("mine", RevertRequest("s"))
    assert host.run(host.toolstack.inspect("mine")).domid is not None
    engine.stop("mine")
    engine.delete("mine", DeleteRequest("s"))
    assert host.run(host.files.read("/images/secret")) == b"not for guests"
