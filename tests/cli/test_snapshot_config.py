"""Snapshots as a configuration file wants them: the examples of the design, and where file and options disagree."""

from pathlib import Path

import pytest

from tests.cli.conftest import UUID, Shell

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture
def write(tmp_path):
    """Puts a configuration file where the commands are typed."""

    def file(text: str, name: str = "snap.cfg") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return file


@pytest.fixture
def two(tmp_path, monkeypatch) -> Shell:
    """A simulated host with a running guest of two qcow2 disks, named as in the examples."""
    shell = Shell(tmp_path, f"sim:{tmp_path / 'two'}")
    shell.ok("sim", "init")
    shell.ok("sim", "domain", "add", "guest1", "--uuid", UUID, "--disk", "hda=4M", "--disk", "hdc=4M")
    shell.ok("domain", "start", "guest1")
    return shell


def root(shell: Shell) -> str:
    """Where the host keeps the files of the domain."""
    memory = "x.save"
    shell.ok("create", "guest1", "-n", memory[:-5])
    where: str = shell.json("list", "guest1")["snapshots"][0]["memory"]
    shell.ok("delete", "guest1", "x")
    return where.removesuffix(f"/{memory}")


def only(shell: Shell) -> dict:
    (snapshot,) = shell.json("list", "guest1")["snapshots"]
    return snapshot


@pytest.mark.parametrize("example", ["internal", "external"])
def test_the_examples_of_the_design_work_as_they_stand(two, example) -> None:
    two.ok("create", str(EXAMPLES / f"xlsnapshot.{example}"), "guest1")
    snapshot = only(two)
    assert (snapshot["kind"], snapshot["consistency"]) == (example, "checkpoint")
    assert snapshot["memory"] == f"/var/lib/xen/snapshots/{UUID}/1397207577.save"
    two.ok("revert", "guest1", snapshot["name"])
    two.ok("delete", "guest1", "-n", snapshot["name"])
    assert two.json("list", "guest1")["snapshots"] == []


def test_a_file_without_memory_asks_for_the_disks_alone(two, write) -> None:
    two.ok("create", write("name='disks'"), "guest1")
    snapshot = only(two)
    assert (snapshot["consistency"], snapshot["memory"], len(snapshot["disks"])) == ("crash", None, 2)


def test_a_disk_that_the_file_does_not_name_is_left_out(two, write) -> None:
    two.ok("create", write("disk=['hda']"), "guest1")
    snapshot = only(two)
    assert [disk["vdev"] for disk in snapshot["disks"]] == ["hda"]
    assert [each["vdev"] for each in snapshot["excluded"]] == ["hdc"]


def test_memory_covers_every_writable_disk_or_none(two, write) -> None:
    error = two.error("create", write("memory='yes'\ndisk=['hda']"), "guest1")
    assert error["id"] == "skips-writable-disk"


def test_the_disk_is_known_by_any_of_its_names(two, write) -> None:
    two.ok("create", write("disk=['768','5632']"), "guest1")
    assert [disk["vdev"] for disk in only(two)["disks"]] == ["hda", "hdc"]


def test_one_snapshot_can_be_inside_one_disk_and_below_another(two, write) -> None:
    two.ok("create", write("memory='yes'\ndisk=['hda','/images/c2.qcow2,qcow2,hdc']"), "guest1")
    snapshot = only(two)
    assert snapshot["kind"] == "mixed"
    assert [disk["overlay"] for disk in snapshot["disks"]] == [None, "/images/c2.qcow2"]


def test_a_disk_that_shall_go_on_in_its_own_image_is_internal(two, write) -> None:
    path = two.json("info", "guest1")["disks"][0]["path"]
    two.ok("create", write(f"disk=['hda={path},type=qcow2','hdc']"), "guest1")
    assert only(two)["kind"] == "internal"


@pytest.mark.parametrize("value", ["/images/m.save", "/images/", "/images"])
def test_the_memory_goes_where_the_file_says_and_is_deleted_from_there(two, write, value) -> None:
    two.ok("create", write(f"name='x'\nmemory='{value}'"), "guest1")
    expected = value if value.endswith("save") else "/images/x.save"
    assert only(two)["memory"] == expected
    error = two.error("create", write(f"name='y'\nmemory='{expected}'"), "guest1")
    assert error["id"] == "memory-exists"
    two.ok("revert", "guest1", "x")
    two.ok("delete", "guest1", "x")
    two.ok("create", write(f"name='y'\nmemory='{expected}'"), "guest1")


def test_the_memory_needs_a_directory_and_a_guest_that_has_one(two, write) -> None:
    assert two.error("create", write("memory='/nowhere/m.save'"), "guest1")["id"] == "no-such-directory"
    two.ok("domain", "stop", "guest1")
    assert two.error("create", write("memory='yes'"), "guest1")["id"] == "domain-is-off"
    assert two.error("create", "--memory", "yes", "guest1")["id"] == "domain-is-off"
    two.ok("create", write("memory='no'"), "guest1")
    assert only(two)["consistency"] == "clean"


# Words ---------------------------------------------------------------------------------------------------------------


def test_the_file_stands_before_the_domain_or_after_f_or_as_one_document_has_it_after(two, write) -> None:
    file = write("name='x'\nmemory='yes'")
    for words in ((file, "guest1"), ("-f", file, "guest1"), ("--config", file, file, "guest1"), ("guest1", file)):
        two.ok("create", *words)
        assert only(two)["name"] == "x"
        two.ok("delete", "guest1", "x")


def test_words_that_make_no_sense_together(two, write) -> None:
    file = write("name='x'")
    assert two.error("create", file, file, "guest1")["id"] == "too-many-words"
    assert two.error("create", "-f", "other.cfg", file, "guest1")["id"] == "two-files"
    assert two.error("create", "missing.cfg", "guest1")["id"] == "no-such-file"
    assert two.error("create", ".", "guest1")["id"] == "unreadable-file"
    assert two.error("create", file, "guest9")["id"] == "domain-not-found"


def test_files_that_are_none(two, tmp_path, write) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"#" * 300_000)
    for name, id in (("binary", "bad-text"), ("large", "bad-snapshot-config")):
        assert two.error("create", name, "guest1")["id"] == id
    assert two.error("create", write('{"name": "x"}'), "guest1")["id"] == "config-is-record"
    assert two.error("create", write("name=\n"), "guest1")["id"] == "bad-config"


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("name='x'", ["-n", "y"]),
        ("description='x'", ["--description", "y"]),
        ("type='internal'", ["--type", "external"]),
        ("type='internal'", ["--type", "auto"]),
        ("memory='yes'", ["--memory", "no"]),
        ("memory='/a'", ["--memory", "/b"]),
        ("memory='yes'", ["-D"]),
        ("memory='/a'", ["--disk-only"]),
        ("disk_only=1", ["--memory", "yes"]),
        ("live=0", ["--live"]),
        ("disk=['hda']", ["--only", "hdc"]),
        ("disk=['hda']", ["--disk", "hda=external"]),
        ("disk=['hda']", ["--exclude", "hda", "-D"]),
    ],
)
def test_what_file_and_options_say_differently_ends_the_run_before_anything(two, write, text, options) -> None:
    before = two.ok("sim", "show")
    error = two.error("create", *options, write(text), "guest1")
    assert (error["id"], error["exit_code"]) == ("conflict", 2)
    assert two.ok("sim", "show") == before


def test_all_conflicts_are_told_at_once(two, write) -> None:
    error = two.error("create", "-n", "y", "-D", write("name='x'\nmemory='yes'"), "guest1")
    assert [reason["id"] for reason in error["reasons"]] == ["conflict", "conflict"]


def test_what_both_say_alike_is_no_conflict(two, write) -> None:
    two.ok(
        "create",
        "-n",
        "x",
        "--memory",
        "yes",
        "--type",
        "internal",
        write("name='x'\nmemory='yes'\ntype='internal'"),
        "guest1",
    )
    two.ok("create", "-n", "y", "-D", write("memory='no'\ndescription='d'"), "guest1")
    assert [each["description"] for each in two.json("list", "guest1")["snapshots"]] == ["", "d"]


# By the design's own name --------------------------------------------------------------------------------------------


def test_by_its_old_name_a_snapshot_without_a_file_is_internal_with_memory(two) -> None:
    two.ok("snapshot-create", "-n", "x", "guest1")
    snapshot = only(two)
    assert (snapshot["kind"], snapshot["consistency"]) == ("internal", "checkpoint")


def test_by_its_old_name_disks_that_cannot_be_internal_are_refused_with_the_way_out(sim) -> None:
    error = sim.error("snapshot-create", "guest1")
    assert error["id"] == "not-qcow2"
    assert "--type auto" in error["remedy"]
    sim.ok("snapshot-create", "--type", "auto", "guest1")
    assert only(sim)["kind"] == "mixed"


def test_without_a_name_it_is_called_after_the_second_of_its_creation(two) -> None:
    two.ok("snapshot-create", "guest1")
    two.ok("snapshot-create", "--disk-only", "guest1")
    first, second = two.json("list", "guest1")["snapshots"]
    assert first["name"] == str(first["creation_time_s"])
    assert second["name"].startswith(str(second["creation_time_s"]))


# Showing -------------------------------------------------------------------------------------------------------------


def test_print_config_writes_the_file_in_todays_words_and_changes_nothing(two, write) -> None:
    before = two.ok("sim", "show")
    told = two.ok("create", "--print-config", str(EXAMPLES / "xlsnapshot.external"), "guest1")
    assert "save" not in told.replace(".save", "")
    again = write(told)
    assert two.run("create", "--print-config", again, "guest1").output == told
    assert two.ok("sim", "show") == before
    document = two.json("create", "--print-config", "-n", "x", write("memory='yes'\ndisk=['hda']"), "guest1")
    assert document["disks"] == [{"vdev": "hda", "kind": "internal", "path": None}]
    assert (document["name"], document["memory"], document["type"]) == ("x", True, "internal")


def test_warnings_about_a_file_are_told(two, write) -> None:
    file = write("save='yes'")
    result = two.run("create", "--dry-run", file, "guest1")
    assert result.exit_code == 0
    assert "`save' is out of date" in result.stderr
    assert "`save' is out of date" in two.json("create", file, "guest1")["warnings"][0]
