"""The four commands of the 2014 design, word for word, under xl's way of ending with 0 or 1."""

import re

import pytest

from tests.cli.conftest import UUID, Shell


@pytest.fixture
def xl(tmp_path) -> Shell:
    """A running guest of two qcow2 disks and a cdrom."""
    shell = Shell(tmp_path, f"sim:{tmp_path / 'xl'}")
    shell.ok("sim", "init")
    disks = ("--disk", "hda=1M", "--disk", "hdb=1M", "--disk", "hdc=1M,raw,cdrom")
    shell.ok("sim", "domain", "add", "guest1", "--uuid", UUID, *disks)
    shell.ok("domain", "start", "guest1")
    return shell


def names(xl: Shell) -> list[str]:
    return [each["name"] for each in xl.json("snapshot-list", "guest1")["snapshots"]]


def said(xl: Shell, vdev: str) -> object:
    return xl.json("sim", "read", "guest1", vdev)["runs"]


# create --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [["-n", "s"], ["--name", "s"], ["-n", "s", "-D"], ["-n", "s", "--disk-only"]])
def test_create_takes_its_options_before_the_domain_or_after(xl, options) -> None:
    xl.ok("snapshot-create", *options, "guest1")
    xl.ok("snapshot-delete", "-n", "s", "guest1")
    xl.ok("snapshot-create", "guest1", *options)
    (snapshot,) = xl.json("snapshot-list", "guest1")["snapshots"]
    assert (snapshot["memory"] is None) == (len(options) > 2)
    assert snapshot["consistency"] == ("crash" if len(options) > 2 else "checkpoint")


def test_create_with_the_domain_alone_takes_it_for_the_domain(xl) -> None:
    xl.ok("snapshot-create", "guest1")
    assert len(names(xl)) == 1


def test_create_disk_only_is_internal_on_all_disks_but_read_only_ones(xl) -> None:
    xl.ok("snapshot-create", "-D", "guest1")
    (snapshot,) = xl.json("snapshot-list", "guest1")["snapshots"]
    assert [(disk["vdev"], disk["kind"]) for disk in snapshot["disks"]] == [("hda", "internal"), ("hdb", "internal")]
    assert [(each["vdev"], each["reason"]) for each in snapshot["excluded"]] == [("hdc", "cdrom")]


def test_two_in_one_second_have_different_names(xl) -> None:
    for _ in range(3):
        xl.ok("snapshot-create", "-D", "guest1")
    assert len(set(names(xl))) == 3
    assert all(re.fullmatch(r"\d+(-\d+)?", name) for name in names(xl))


def test_a_relative_configuration_file_is_found_where_the_command_is_typed(xl) -> None:
    (xl.directory / "below").mkdir()
    (xl.directory / "below" / "s.cfg").write_text("name = 'from below'\n")
    xl.ok("snapshot-create", "below/s.cfg", "guest1")
    xl.ok("snapshot-delete", "-n", "from below", "guest1")
    xl.ok("snapshot-create", str(xl.directory / "below" / "s.cfg"), "-n", "from below", "guest1")
    assert names(xl) == ["from below"]


@pytest.mark.parametrize("name", ["with spaces", "ünïcödé", "100%", "1", "a.b-c"])
def test_names_are_what_people_type(xl, name) -> None:
    xl.ok("snapshot-create", "-n", name, "guest1")
    assert name in xl.ok("snapshot-list", "-n", name, "-l", "guest1")
    xl.ok("snapshot-revert", "-n", name, "guest1")
    xl.ok("snapshot-delete", "-n", name, "guest1")
    assert names(xl) == []


@pytest.mark.parametrize("name", ["", "../x", ".x", "-x", "a\nb", "n" * 201])
def test_names_that_would_leave_the_store_or_confuse_tools_are_refused(xl, name) -> None:
    error = xl.error("snapshot-create", f"--name={name}", "guest1")
    assert error["id"] == "bad-name"


# list ----------------------------------------------------------------------------------------------------------------


def test_list_shows_all_or_one_in_short_or_in_full(xl) -> None:
    xl.ok("snapshot-create", "-n", "first", "--description", "what for", "guest1")
    xl.ok("snapshot-create", "-n", "second", "-D", "guest1")
    short = xl.ok("snapshot-list", "guest1")
    assert short.count("\n") == 3  # one heading
    assert "first" in short
    assert "checkpoint" in short
    assert "crash" in short
    for words in (["-n", "first", "guest1"], ["guest1", "first"], ["-n", "first", "guest1", "first"]):
        told = xl.ok("snapshot-list", *words)
        assert "first" in told
        assert "second" not in told
    for option in ("-l", "--long"):
        full = xl.ok("snapshot-list", option, "-n", "first", "guest1")
        assert "what for" in full
        assert ".save" in full
        assert "hdb" in full
    assert "second" in xl.ok("snapshot-list", "-l", "guest1")


def test_list_of_what_is_not_there_is_an_error(xl) -> None:
    assert xl.run("--xl-exit", "snapshot-list", "-n", "nothing", "guest1").exit_code == 1
    assert xl.run("--xl-exit", "snapshot-list", "nobody").exit_code == 1
    assert xl.run("--xl-exit", "snapshot-list", "guest1").exit_code == 0


# revert --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["-n", "s", "guest1"], ["guest1", "s"], ["guest1", "-n", "s"]])
def test_revert_brings_back_disks_and_memory_and_the_state_they_were_in(xl, words) -> None:
    xl.ok("domain", "stop", "guest1")
    xl.ok("sim", "write", "guest1", "hda", "0", "64k")
    before = said(xl, "hda")
    xl.ok("domain", "start", "guest1")
    xl.ok("snapshot-create", "-n", "s", "guest1")
    xl.ok("domain", "stop", "guest1")
    xl.ok("sim", "write", "guest1", "hda", "0", "64k")
    xl.ok("snapshot-revert", *words)
    assert xl.json("list", "guest1")["domain"]["state"] == "running"
    xl.ok("domain", "stop", "guest1")
    assert said(xl, "hda") == before


def test_revert_needs_a_name_and_looks_before_it_touches(xl) -> None:
    assert xl.error("snapshot-revert", "guest1")["id"] == "name-missing"
    assert xl.error("snapshot-revert", "-n", "nothing", "guest1")["id"] == "no-such-snapshot"
    assert xl.json("list", "guest1")["domain"]["state"] == "running"


# delete --------------------------------------------------------------------------------------------------------------


def test_delete_takes_away_memory_tags_and_record(xl) -> None:
    xl.ok("snapshot-create", "-n", "s", "guest1")
    xl.ok("snapshot-delete", "-n", "s", "guest1")
    assert names(xl) == []
    told = xl.json("info", "guest1")
    assert all(disk["chain"] for disk in told["disks"])
    assert ".save" not in xl.ok("sim", "show")
    xl.ok("snapshot-create", "-n", "s", "guest1")  # whose tag is free again


def test_delete_needs_a_name(xl) -> None:
    assert xl.error("snapshot-delete", "guest1")["id"] == "name-missing"
    assert xl.run("--xl-exit", "snapshot-delete", "-n", "nothing", "guest1").exit_code == 1


# all -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["snapshot-list", "snapshot-revert", "snapshot-delete"])
def test_two_names_that_differ_are_an_error(xl, verb) -> None:
    xl.ok("snapshot-create", "-n", "s", "guest1")
    assert xl.error(verb, "-n", "s", "guest1", "t")["id"] == "two-names"
    assert names(xl) == ["s"]


@pytest.mark.parametrize("kind", ["name", "uuid", "domid"])
def test_a_domain_is_named_as_xl_names_it(xl, kind) -> None:
    ref = {"name": "guest1", "uuid": UUID, "domid": "1"}[kind]
    xl.ok("snapshot-create", "-n", "s", ref)
    for words in (["snapshot-list", ref], ["snapshot-delete", "-n", "s", ref]):
        xl.ok(*words)
    assert names(xl) == []


def test_help_names_the_four_commands(xl) -> None:
    told = xl.ok("--help")
    for verb in ("create", "delete", "list", "revert"):
        assert f"snapshot-{verb}" in told
        assert "Usage: xensnap snapshot-" in xl.ok(f"snapshot-{verb}", "--help")
