"""xl.snapshot.cfg: every form that a version of the design shows, and what is told of those that are out of date."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from xensnap.errors import Usage
from xensnap.formats import snapshot_cfg
from xensnap.formats.snapshot_cfg import ConfigDisk, SnapshotConfig
from xensnap.model import DomainUuid, Kind

UUID = DomainUuid("5c84adcc-bd59-788a-96d2-195f9b599cfe")
STORE = f"/var/lib/xen/snapshots/{UUID}"
EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"


def read(text: str) -> SnapshotConfig:
    return snapshot_cfg.parse(text, source="f", uuid=UUID)


def plain(text: str) -> SnapshotConfig:
    """What is read, where nothing is to be told about it."""
    config = read(text)
    assert config.warnings == ()
    return config


def mistakes(text: str) -> list[str]:
    with pytest.raises(Usage) as caught:
        read(text)
    assert caught.value.remedy
    return caught.value.cause.splitlines()


def test_an_empty_file_says_nothing() -> None:
    assert plain("") == SnapshotConfig("f")


def test_all_keys_are_read() -> None:
    text = """
        name = "before update"; description = 'why'
        memory = "yes"
        type = "external"
        live = 1
        disk = [ 'hda', 'format=qcow2,vdev=hdb,target=/i/b.qcow2' ]
    """
    disks = (ConfigDisk("hda"), ConfigDisk("hdb", "/i/b.qcow2"))
    assert plain(text) == SnapshotConfig("f", "before update", "why", True, "", Kind.EXTERNAL, True, None, disks)
    assert [disk.kind for disk in disks] == [Kind.INTERNAL, Kind.EXTERNAL]


# The two examples of the design, as they stand -----------------------------------------------------------------------


def test_the_internal_example_is_read() -> None:
    config = read((EXAMPLES / "xlsnapshot.internal").read_text(encoding="utf-8"))
    assert (config.name, config.memory, config.memory_path) == ("before-update", True, f"{STORE}/1397207577.save")
    assert config.disks == (ConfigDisk("hda"), ConfigDisk("hdc"))
    assert [warning.partition(": ")[2][:14] for warning in config.warnings] == ["`creationtime'", "`save' is out "]


def test_the_external_example_is_read() -> None:
    config = read((EXAMPLES / "xlsnapshot.external").read_text(encoding="utf-8"))
    assert (config.name, config.memory_path) == ("1397207577", f"{STORE}/1397207577.save")
    assert config.disks == tuple(ConfigDisk(vdev, f"{STORE}/disk_{vdev}.qcow2") for vdev in ("hda", "hdc"))
    assert len(config.warnings) == 4
    assert "write `format=qcow2,vdev=hda,target=" in config.warnings[2]


# Contradictions of the documents, and how they are resolved ----------------------------------------------------------


def test_i1_save_is_the_old_name_of_memory() -> None:
    assert read("save='/s/x.save'").memory_path == "/s/x.save"
    assert read("save='/s/x'; memory='/s/x'").memory_path == "/s/x"
    assert mistakes("save='/s/x'; memory='/s/y'") == ["f:1: `save' and `memory' are two names of one key, and differ"]


@pytest.mark.parametrize(
    ("spec", "warned"),
    [
        ("hda=/o.qcow2,type=qcow2", True),
        ("hda=/o.qcow2", True),
        ("/o.qcow2,qcow2,hda", False),
        ("format=qcow2, vdev=hda, target=/o.qcow2", False),
    ],
)
def test_i3_an_external_disk_is_written_in_these_ways(spec: str, warned: bool) -> None:
    config = read(f"disk=['{spec}']")
    assert config.disks == (ConfigDisk("hda", "/o.qcow2"),)
    assert bool(config.warnings) is warned


@pytest.mark.parametrize("spec", ["hda", "vdev=hda", ",,hda", "vdev=hda,target=", "vdev=hda, target=null"])
def test_i4_an_internal_disk_has_no_target(spec: str) -> None:
    assert plain(f"disk=['{spec}']").disks == (ConfigDisk("hda"),)


@pytest.mark.parametrize("value", ["1403522755", "'1403522755'", "'now'", "[]"])
def test_i5_a_creation_time_is_told_and_ignored(value: str) -> None:
    assert "`creationtime' is ignored" in read(f"creationtime={value}").warnings[0]


def test_i6_a_record_is_no_configuration() -> None:
    for text, id in (
        ('{"name": "x"}', "config-is-record"),
        ('{\n  "schema": "xensnap-info/1"}', "config-is-record"),
        ("<domainsnapshot/>", "config-is-xml"),
    ):
        with pytest.raises(Usage) as caught:
            read(text)
        assert caught.value.id == id
        assert caught.value.remedy


@pytest.mark.parametrize(
    ("value", "memory", "path"),
    [
        *((word, True, "") for word in ("'yes'", "1", "'True'")),
        *((word, False, "") for word in ("'no'", "0", "'false'")),
        ("'/m/x.save'", True, "/m/x.save"),
        ("'/m/dir/'", True, "/m/dir/"),
        ("'/m/UUID/x'", True, f"/m/{UUID}/x"),
        ("'/m/aUUID/<domain_uuid>.save'", True, f"/m/aUUID/{UUID}.save"),
        ("'/m//a/../b'", True, "/m/b"),
        ("'/'", True, "/"),
    ],
)
def test_i10_memory_is_a_truth_or_a_full_path(value: str, memory: bool, path: str) -> None:
    config = plain(f"memory={value}")
    assert (config.memory, config.memory_path) == (memory, path)


def test_i10_a_relative_path_is_refused() -> None:
    assert mistakes("memory='x.save'") == ["f:1: `x.save' is no full path"]
    assert mistakes("disk=['over.qcow2,qcow2,hda']") == ["f:1: `over.qcow2' is no full path"]


def test_i13_an_overlay_is_qcow2() -> None:
    told = mistakes("disk=['/o.img,raw,hda',\n'/o.vhd,vhd,hdb']")
    assert told == [
        f"f:1: {vdev}: an overlay is qcow2, and not {format}: write `format=qcow2'"
        for vdev, format in (("hda", "raw"), ("hdb", "vhd"))
    ]


# The rest ------------------------------------------------------------------------------------------------------------


def test_other_versions_name_the_list_of_disks_and_the_kind_differently() -> None:
    config = read("disks=[',,hda', '/tmp/b.qcow2,qcow2,hdb',]")
    assert config.disks == (ConfigDisk("hda"), ConfigDisk("hdb", "/tmp/b.qcow2"))
    assert config.warnings == ("f:1: `disks' is out of date, write `disk'",)
    assert plain("type='internal'\nmemory='no'\ndisk_only=1").disk_only is True


def test_mistakes_are_told_all_at_once() -> None:
    text = "name=[1]\nmemory='x'\ntype='both'\nlive='x'\ndisk=['/p,qcow3,hda', ['x'], 'hdb', '/x,r', 'd0p0', 'xvda']"
    told = mistakes(text)
    assert [line.partition(": ")[0] for line in told] == ["f:1", "f:2", "f:3", "f:4", *["f:5"] * 4]
    assert "unknown value for format" in told[4]
    assert told[-1] == "f:5: xvda is there twice"


def test_what_contradicts_itself_is_refused() -> None:
    assert mistakes("disk_only=1\nmemory='yes'") == ["f: `disk_only' and `memory' contradict each other"]


def test_a_word_that_is_not_known_is_told_with_the_one_that_may_be_meant() -> None:
    assert read("descripton='x'\nzzz=1").warnings == (
        "f:1: unknown key `descripton'; did you mean `description'?",
        "f:2: unknown key `zzz'",
    )


def test_what_a_snapshot_does_not_ask_of_a_disk_is_told() -> None:
    assert "only vdev, format and target" in read("disk=['/o.qcow2,qcow2,hda,r,script=x']").warnings[0]
    assert mistakes("disk=['/i.iso,,hdc,cdrom']") == ["f:1: hdc is a cdrom, and those have no snapshots"]


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
PATHS = st.text(st.sampled_from("ab ,:'\"\\é"), min_size=1, max_size=8).map(lambda name: f"/{name}x")
CONFIGS = st.builds(
    SnapshotConfig,
    source=st.just("f"),
    name=st.none() | NAMES,
    description=st.none() | NAMES,
    memory=st.none() | st.booleans(),
    kind=st.none() | st.sampled_from(Kind),
    live=st.none() | st.booleans(),
    disk_only=st.none(),
    disks=st.none()
    | st.lists(
        st.builds(ConfigDisk, st.sampled_from(["hda", "hdb", "xvda", "sdc1"]), st.just("") | PATHS),
        max_size=3,
        unique_by=lambda disk: disk.vdev,
    ).map(tuple),
)


@given(CONFIGS, PATHS)
def test_what_is_written_is_read_back(config: SnapshotConfig, path: str) -> None:
    if config.memory:
        config = replace(config, memory_path=path)
    assert plain(snapshot_cfg.dump(config)) == config


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["memory", "disk", "=", "[", "]", "'/x'", "'hda'", "\n", "1", "save", ","])).map(
        " ".join
    )
)
def test_only_our_own_error_comes_out_of_anything(text: str) -> None:
    try:
        read(text)
    except Usage as error:
        assert "f" in error.cause  # noqa: PT017 -- reading it is as good an outcome
