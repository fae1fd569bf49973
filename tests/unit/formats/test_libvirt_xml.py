"""libvirt's XML: what we write is valid by its schema and read back; what real virsh writes is read."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from tests.conftest import require_tool
from xensnap.errors import Usage
from xensnap.formats import libvirt_xml
from xensnap.formats.libvirt_xml import XmlDisk
from xensnap.model import Consistency, DiskSnapshot, DomainUuid, Excluded, Format, Kind, Layer, RunState, Snapshot

SCHEMA = Path("/usr/share/libvirt/schemas/domainsnapshot.rng")
TEST_DOMAIN = DomainUuid("6695eb01-f6a4-8304-79aa-97f2502e193f")
"""The domain that libvirt's own test driver always has, with one disk, `vda`."""

NAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\ufffe\uffff"), min_size=1, max_size=12
)
PATHS = NAMES.map(lambda name: f"/images/{name}")
# The schema knows file names of letters, digits and a few signs; what libvirt itself accepts is more.
SIMPLE_PATHS = st.text(st.sampled_from("abcXYZ019_.+-"), min_size=1, max_size=8).map(lambda name: f"/images/{name}")


def disks(paths: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[DiskSnapshot, ...]]:
    internal = st.builds(
        lambda vdev, tag: DiskSnapshot(vdev, Kind.INTERNAL, Layer("/i", Format.QCOW2), 1, tag), VDEVS, NAMES
    )
    external = st.builds(
        lambda vdev, path: DiskSnapshot(
            vdev, Kind.EXTERNAL, Layer("/b", Format.RAW), 1, overlay=Layer(path, Format.QCOW2)
        ),
        VDEVS,
        paths,
    )
    return st.lists(internal | external, max_size=3, unique_by=lambda disk: disk.vdev).map(tuple)


VDEVS = st.sampled_from(["hda", "xvda", "xvdb", "sdc"])


def snapshots(paths: st.SearchStrategy[str]) -> st.SearchStrategy[Snapshot]:
    return st.builds(
        Snapshot,
        name=NAMES,
        domain_uuid=st.just(TEST_DOMAIN),
        domain_name=st.just("guest"),
        creation_time_s=st.integers(0, 2**40),
        state=st.sampled_from(RunState),
        consistency=st.sampled_from(Consistency),
        disks=disks(paths),
        parent=st.none() | NAMES,
        description=st.text(
            st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20
        ),
        memory=st.just("") | paths,
        excluded=st.just(()) | st.just((Excluded("hdc", "cdrom"),)),
    )


@given(snapshots(PATHS))
def test_what_is_written_is_read_back(snapshot: Snapshot) -> None:
    read = libvirt_xml.parse(libvirt_xml.dump(snapshot).encode(), source="f")
    assert (read.name, read.description, read.parent) == (snapshot.name, snapshot.description, snapshot.parent)
    assert read.creation_time_s == snapshot.creation_time_s
    assert read.memory == (snapshot.memory or "no")
    assert read.domain_uuid == snapshot.domain_uuid
    assert read.disks == (
        *(
            XmlDisk(disk.vdev, disk.kind, disk.overlay.path, disk.overlay.format)
            if disk.overlay
            else XmlDisk(disk.vdev, disk.kind, tag=disk.tag)
            for disk in snapshot.disks
        ),
        *(XmlDisk(left.vdev, None) for left in snapshot.excluded),
    )


@pytest.fixture(scope="module")
def schema() -> etree.RelaxNG:
    """libvirt's own schema."""
    if not SCHEMA.exists():
        require_tool("virsh")  # skips, or fails in CI, with the package that has both
    return etree.RelaxNG(etree.parse(SCHEMA))


@pytest.mark.real
@given(snapshot=snapshots(SIMPLE_PATHS))
def test_what_is_written_is_valid_by_libvirts_own_schema(schema, snapshot) -> None:
    schema.assertValid(etree.fromstring(libvirt_xml.dump(snapshot)))


def virsh(*commands: str) -> str:
    """What virsh prints on its test driver, which needs no daemon and forgets everything with the process."""
    line = "; ".join(commands)
    argv = [str(require_tool("virsh")), "-q", "-c", "test:///default", line]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.real
def test_what_virsh_writes_is_read() -> None:
    told = virsh(
        "snapshot-create-as test first 'the <first> & best'",
        "snapshot-create-as test second",
        "snapshot-dumpxml test first",
        "snapshot-dumpxml test second",
    )
    texts = [f"{part}</domainsnapshot>" for part in told.split("</domainsnapshot>")[:-1]]
    first, second = (
        libvirt_xml.parse(text[text.index("<domainsnapshot>") :].encode(), source="virsh") for text in texts
    )
    assert (first.name, first.description, first.state) == ("first", "the <first> & best", RunState.RUNNING)
    assert (first.memory, first.disks) == ("internal", (XmlDisk("vda", Kind.INTERNAL, tag="first"),))
    assert (second.name, second.parent, second.description) == ("second", "first", "")
    assert first.domain_uuid == second.domain_uuid == TEST_DOMAIN
    assert first.creation_time_s
    assert second.creation_time_s


@pytest.mark.real
@pytest.mark.parametrize("kind", Kind)
def test_virsh_takes_over_what_is_written(tmp_path, kind) -> None:
    overlay = Layer("/images/over.qcow2", Format.QCOW2) if kind is Kind.EXTERNAL else None
    snapshot = Snapshot(
        "ours & <theirs>", TEST_DOMAIN, "test", 1403522755, RunState.OFF, Consistency.CLEAN,
        (DiskSnapshot("vda", kind, Layer("/guest/diskimage1", Format.QCOW2), 1, "ours & <theirs>", overlay),),
        description="what for",
    )  # fmt: skip
    file = tmp_path / "ours.xml"
    domain = virsh("dumpxml test").encode()
    file.write_text(libvirt_xml.dump(snapshot, domain=domain), encoding="utf-8")
    told = virsh(f"snapshot-create test {file} --redefine", "snapshot-dumpxml test 'ours & <theirs>'")
    again = libvirt_xml.parse(told[told.index("<domainsnapshot>") :].encode(), source="virsh")
    assert (again.name, again.description, again.creation_time_s) == (snapshot.name, "what for", 1403522755)
    assert (again.state, again.disks[0].kind) == (RunState.OFF, kind)
    if overlay:
        assert again.disks == (XmlDisk("vda", kind, overlay.path, "qcow2"),)


def test_only_the_domains_own_description_is_put_into_its_snapshots() -> None:
    snapshot = Snapshot("s", TEST_DOMAIN, "test", 0, RunState.OFF, Consistency.CLEAN, ())
    for domain, told in (
        (b"<domain><uuid>other</uuid></domain>", "it is about the domain 'other'"),
        (b"<network/>", "the root is <network>, and not <domain>"),
        (b"<domain>", "no XML"),
    ):
        with pytest.raises(Usage, match=told):
            libvirt_xml.dump(snapshot, domain=domain)


BOMB = b"""<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><domainsnapshot><name>&b;</name></domainsnapshot>"""


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no XML"),
        (b"<domainsnapshot>", "no XML"),
        (b"<?xml version='1.0' encoding='klingon'?><domainsnapshot/>", "no XML"),
        (BOMB, "entities are not read"),
        (b"<!DOCTYPE domainsnapshot SYSTEM 'file:///etc/passwd'><domainsnapshot/>", "entities are not read"),
        (b"<domain/>", "the root is <domain>"),
        (b"<domainsnapshot/>", "no <name>"),
        (b"<domainsnapshot><name>x</name><state>asleep</state></domainsnapshot>", "unknown <state> 'asleep'"),
        (b"<domainsnapshot><name>x</name><creationTime>now</creationTime></domainsnapshot>", "no epoch second"),
        (b"<domainsnapshot><name>x</name><disks><disk/></disks></domainsnapshot>", "a <disk> has no name"),
        (b"<domainsnapshot><name>x</name><disks><disk name='a' snapshot='external'/></disks></domainsnapshot>",
         "no <source file"),
        (b"<domainsnapshot><name>x</name><disks><disk name='a' snapshot='odd'/></disks></domainsnapshot>", "'odd'"),
        (b" " * (5 << 20), "bytes are no <domainsnapshot>"),
    ],
)  # fmt: skip
def test_what_is_no_snapshot_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(Usage, match=told) as caught:
        libvirt_xml.parse(data, source="f")
    assert caught.value.id == "bad-snapshot-xml"


@given(
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                "<domainsnapshot>",
                "</domainsnapshot>",
                "<name>x</name>",
                "<disks>",
                "</disks>",
                "<disk name='a'/>",
                "<a>",
                "<memory/>",
                "<disk name='a' snapshot='internal'/>",
                "<?x?>",
                "&lt;",
                "&x;",
                "<creationTime>1</creationTime>",
            ]
        ),
        max_size=8,
    ).map(lambda parts: "".join(parts).encode())
)
def test_only_our_own_error_comes_out_of_anything(data: bytes) -> None:
    try:
        libvirt_xml.parse(data, source="f")
    except Usage as error:
        assert error.cause.startswith("f: ")  # noqa: PT017 -- reading it is as good an outcome


def test_deeply_nested_elements_do_no_harm() -> None:
    data = b"<domainsnapshot><name>x</name>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</domainsnapshot>"
    assert libvirt_xml.parse(data, source="f").name == "x"
