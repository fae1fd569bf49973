"""`xensnap conformance` as CI and people call it."""

import json

import pytest
from click.testing import CliRunner

from xensnap.cli.main import main

BROKEN = "tests.conformance.broken:applies_nothing"


@pytest.fixture
def run(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # where capsules go, unless told otherwise

    def invoke(*words: object):
        return CliRunner().invoke(main, ["conformance", *map(str, words)])

    return invoke


def test_a_good_host_ends_with_0_and_a_broken_one_with_1(run, tmp_path) -> None:
    good = run("run", "core/disks-come-back", "--host", "sim")
    assert (good.exit_code, good.stdout.splitlines()[0]) == (0, "1 cases on sim, seed 0, shard 1/1")
    bad = run("run", "core/disks-come-back", "--host", BROKEN)
    assert bad.exit_code == 1
    assert "fail  core/disks-come-back: after the revert: 40 blocks differ" in bad.stdout


def test_a_run_is_written_compared_and_reported(run, tmp_path) -> None:
    files = {kind: tmp_path / f"report.{kind}" for kind in ("jsonl", "junit", "tap", "markdown", "html")}
    wanted = [word for kind, path in files.items() for word in (f"--{kind}", path)]
    assert run("run", "--profile", "core", "--host", "sim", *wanted).exit_code == 0
    assert all(path.stat().st_size for path in files.values())
    worse = tmp_path / "worse.jsonl"
    assert run("run", "--profile", "core", "--host", BROKEN, "--jsonl", worse).exit_code == 1
    compared = run("compare", files["jsonl"], worse, "--json")
    assert compared.exit_code == 1
    assert any(row.startswith("core/disks-come-back: pass → fail") for row in json.loads(compared.stdout)["lost"])
    assert run("compare", worse, files["jsonl"]).exit_code == 0
    both = tmp_path / "both.html"
    assert run("report", files["jsonl"], worse, "--html", both).exit_code == 0
    assert "core/disks-come-back" in both.read_text()
    two = run("report", files["jsonl"], worse, "--tap", tmp_path / "two.tap")
    assert (two.exit_code, "tells of one run" in two.stderr) == (2, True)


def test_json_is_the_events(run) -> None:
    lines = run("run", "core/disks-come-back", "--host", "sim", "--json").stdout.splitlines()
    assert [json.loads(line)["event"] for line in lines][:: len(lines) - 1] == ["run-began", "run-ended"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("run", "core/nothing"), 3, "there is no case core/nothing"),
        (("run", "--host", "nowhere"), 2, "cannot be tried"),
        (("run", "--host", "no.such:factory"), 2, "there is no factory"),
        (("run", "--shard", "3/2"), 2, "no such part"),
        (("run", "--known-broken", "missing"), 3, "there is no file missing"),
        (("run", "core/disks-come-back", "--tap", "/"), 1, "cannot write"),
        (("compare", "missing", "missing"), 3, "there is no file missing"),
    ],
)
def test_a_mistake_is_told_in_words(run, words, code, says) -> None:
    result = run(*words)
    assert (result.exit_code, says in result.stderr) == (code, True), result.stderr


def test_a_file_that_is_no_run_is_told_by_line(run, tmp_path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text('{"event": "nonsense"}\n')
    result = run("compare", path, path)
    assert result.exit_code == 1
    assert f"{path}:1: " in result.stderr


def test_known_failures_come_from_a_file(run, tmp_path) -> None:
    known = tmp_path / "known"
    known.write_text("core/disks-come-back  bug 7\n")
    result = run("run", "core/disks-come-back", "--host", BROKEN, "--known-broken", known)
    assert result.exit_code == 0
    assert "known broken  core/disks-come-back: bug 7: " in result.stdout


def test_the_list_tells_each_case(run) -> None:
    told = json.loads(run("list", "--json").stdout)
    assert {"case", "requirements", "story"} == told[0].keys()
    assert f"{told[0]['case']}  [" in run("list").stdout


def test_what_would_be_made_is_told_beforehand_and_is_what_is_made(run, tmp_path) -> None:
    told = [json.loads(line) for line in run("run", "--profile", "core", "--plan", "--json").stdout.splitlines()]
    assert run("run", "--profile", "core", "--jsonl", "run.jsonl").exit_code == 0
    events = [json.loads(line) for line in (tmp_path / "run.jsonl").read_text().splitlines()]
    made = [each for each in events if each["event"] == "did" and ": defined with " in each["deed"]]
    for plan in told:
        names = [line.partition(":")[0] for line in plan["domains"]]
        told_of = [each["deed"].partition(":")[0] for each in made if each["case"] == plan["case"]]
        # Of what is drawn, only the last example is told when it is done.
        assert names == told_of or ("any-course" in plan["case"] and names[-1:] == told_of)
    assert {plan["case"]: plan["not_tried"] for plan in told}["core/internal-snapshots-are-refused"] != ""


def test_nothing_is_made_for_a_plan_and_names_are_used_by_one_run_only(run, tmp_path, qemu_img, qemu_io) -> None:
    place = tmp_path / "below"
    place.mkdir()
    heads = {run("run", "--host", f"qemu:{place}", "--plan", "core/disks-come-back").stdout for _ in range(2)}
    assert len(heads) == 2, "two runs would use the same names"
    assert [*place.iterdir()] == []
    named = run("run", "core/disks-come-back", "--host", f"qemu:{place}", "--prefix", "mine-", "--json").stdout
    assert '"deed":"mine-1: defined with ' in named
