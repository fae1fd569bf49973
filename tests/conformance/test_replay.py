"""A capsule shows a failure again, exactly; and what is no capsule, or another failure, is told in words."""

import json
import re

import pytest
from click.testing import CliRunner

from xensnap.cli.main import main

BROKEN = "tests.conformance.broken:applies_nothing"
TORN = "tests.conformance.broken:snapshots_after_the_guest_went_on"
CAPSULE = "capsules/core-disks-come-back-3.json"


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object, stdin: str | None = None):
        return CliRunner().invoke(main, [*map(str, words)], input=stdin)

    return invoke


@pytest.fixture
def failed(run):
    words = ["conformance", "run", "core/disks-come-back", "--host", BROKEN, "--seed", "3", "--capsules", "capsules"]
    done = run(*words)
    assert (done.exit_code, f"xensnap replay {CAPSULE}" in done.stderr) == (1, True)
    return run


@pytest.mark.parametrize(
    ("host", "case"),
    [
        (BROKEN, "core/other-snapshots-are-left-alone"),
        (TORN, "memory/memory-and-disks-are-of-one-moment"),
        ("tests.conformance.broken:merges_nothing", "external/a-snapshot-can-go-from-anywhere-in-the-chain"),
        ("tests.conformance.broken:declares_what_it_cannot", "crash/a-freezing-that-dies-is-undone-or-done"),
    ],
)
def test_every_failure_comes_back_exactly(run, host, case) -> None:
    assert run("conformance", "run", case, "--host", host, "--capsules", "capsules").exit_code == 1
    again = run("replay", f"capsules/{case.replace('/', '-')}-0.json", "--host", host)
    assert (again.exit_code, again.stdout.splitlines()[-1][:17]) == (0, "The same as then,"), again.stdout


def test_nothing_is_written_where_nothing_fails(run, tmp_path) -> None:
    assert run("conformance", "run", "core/disks-come-back", "--host", "sim").exit_code == 0
    assert [*tmp_path.iterdir()] == []


def test_all_of_it_is_shown_with_who_wrote_what(failed) -> None:
    told = failed("replay", CAPSULE, "--host", BROKEN, "--verbose").stdout
    for words in ("1. xsct3-1: defined with", "journal\n", "end: done, ", "snapshots afterwards\n", "plan\n"):
        assert words in told
    assert "xvda blocks 4 to 8: write 3 (xsct3-1 xvda blocks 4 to 23, after create 's') instead of write 1" in told


def test_step_by_step_it_waits_after_each_deed_and_can_be_ended(failed) -> None:
    whole = failed("replay", CAPSULE, "--host", BROKEN, "--step", stdin="\n" * 20)
    assert whole.exit_code == 0
    assert len(re.findall(r"^ {3}\d\. ", whole.stdout, re.MULTILINE)) == 7
    ended = failed("replay", CAPSULE, "--host", BROKEN, "--step", stdin="\n\nq\n")
    assert (ended.exit_code, "   3. " in ended.stdout, "   4. " in ended.stdout) == (130, True, False)


def test_a_page_of_it_is_written(failed, tmp_path) -> None:
    assert failed("replay", CAPSULE, "--host", BROKEN, "--html", "page.html").exit_code == 0
    page = (tmp_path / "page.html").read_text()
    assert page.count('<details class="case"') == 1
    assert "xvda blocks 4 to 8: write 3" in page


def test_another_host_shows_another_end(failed) -> None:
    mended = failed("replay", CAPSULE, "--host", "sim", "--json")
    told = json.loads(mended.stdout)
    assert (mended.exit_code, told["same"], told["ended"]) == (1, False, "pass")
    assert told["differs"] == ["it ended with fail, and now with pass"]


def changed(tmp_path, **fields) -> str:
    held = json.loads((tmp_path / CAPSULE).read_text()) | fields
    (tmp_path / "changed.json").write_text(json.dumps(held))
    return "changed.json"


def test_another_version_is_told(failed, tmp_path) -> None:
    path = changed(tmp_path, versions={"xensnap": "0.0.1", "Python": "3.11.2"}, host="sim")
    assert "made with xensnap 0.0.1, not " in failed("replay", path).stderr


def test_deeds_that_go_another_way_are_told(failed, tmp_path) -> None:
    held = json.loads((tmp_path / CAPSULE).read_text())
    held["deeds"][3]["told"] = "refused: name-taken"
    path = changed(tmp_path, deeds=held["deeds"])
    assert "deed 4 was xsct3-1: create 's': refused: name-taken; now" in failed("replay", path, "--host", BROKEN).stdout


def test_a_file_does_not_get_to_choose_what_code_is_run(failed, tmp_path) -> None:
    refused = failed("replay", CAPSULE)
    assert (refused.exit_code, f"say --host {BROKEN}" in refused.stderr) == (6, True)
    refused = failed("replay", changed(tmp_path, host="os:abort"), "--json")
    assert json.loads(refused.stdout)["id"] == "foreign-host"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no replay capsule"),
        (b"\xff", "no replay capsule"),
        (b"[" * 100000, "no replay capsule"),
        (b'{"schema": "xensnap-record/1"}', "$.schema"),
        (b'{"schema": "xensnap-capsule/1"}', "missing required field `case`"),
    ],
    ids=["empty", "no text", "deep", "another schema", "cut off"],
)
def test_what_is_no_capsule_is_told(run, tmp_path, content, words) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    told = run("replay", "bad.json")
    assert (told.exit_code, words in told.stderr) == (1, True), told.stderr


def test_a_capsule_of_an_unknown_case_names_the_version_to_take(failed, tmp_path) -> None:
    told = failed("replay", changed(tmp_path, case="core/long-gone"), "--host", "sim")
    assert (told.exit_code, "Replay it with the version that made it: xensnap" in told.stderr) == (3, True)


def test_a_wrong_type_is_told_with_its_place(failed, tmp_path) -> None:
    told = failed("replay", changed(tmp_path, seed="three"), "--host", "sim")
    assert (told.exit_code, "$.seed" in told.stderr) == (1, True)


def test_a_missing_file_and_contradicting_options_are_told(failed) -> None:
    assert failed("replay", "nothing.json").exit_code == 3
    assert failed("replay", CAPSULE, "--step", "--json").exit_code == 2
