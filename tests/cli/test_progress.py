"""What is told while something goes on: lines, JSON objects, a moving line with bytes and rate, or nothing."""

import json

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest

from xensnap.cli import progress
from xensnap.cli.documents.parts import EventDocument
from xensnap.engine.execute import Progress

MIB = 1 << 20


def test_without_a_terminal_nothing_is_told(sim) -> None:
    assert sim.run("create", "guest1", "-n", "a").stderr == ""


def test_each_step_is_one_json_object_on_a_line(sim) -> None:
    sim.ok("domain", "start", "guest1")
    for name in ("a", "b"):
        sim.ok("create", "guest1", "-n", name)
    result = sim.run("delete", "guest1", "b", "--events", "--json")
    events = [json.loads(each) for each in result.stderr.splitlines()]
    schema = msgspec.json.schema(EventDocument)
    for event in events:
        jsonschema.Draft202012Validator(schema).validate(event)
    steps = [event for event in events if event["event"] == "step"]
    assert [event["number"] for event in steps[: steps[0]["total"]]] == list(range(1, steps[0]["total"] + 1))
    assert json.loads(result.stdout)["schema"] == "xensnap-delete/1"


def test_a_merge_in_a_running_qemu_tells_its_bytes(sim) -> None:
    sim.ok("domain", "start", "guest1")
    for name in ("a", "b", "c"):
        sim.ok("create", "guest1", "-n", name)
    events = [json.loads(each) for each in sim.run("delete", "guest1", "b", "--events").stderr.splitlines()]
    grown = [event for event in events if event["event"] == "progress"]
    assert grown
    assert all(event["done_bytes"] <= event["total_bytes"] for event in grown)


def test_a_line_tells_how_far_a_step_is_and_how_fast(golden) -> None:
    times = iter([0.0, 1.0, 2.0, 5.0])
    rate = progress.Rate(lambda: next(times))
    told = [
        Progress(1, 3, "make an overlay"),
        *(Progress(2, 3, "merge", done * MIB, 400 * MIB) for done in (0, 100, 400)),
        Progress(3, 3, "sync", 0, 0),
    ]
    golden("progress", "".join(f"{progress.line(each, rate.of(each))}\n" for each in told))


def test_a_moving_line_is_shown_on_a_terminal_only_and_without_colours_if_asked(monkeypatch, capsys) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with progress.watching(verbose=False) as watch:
        watch(Progress(1, 2, "make [bold]an overlay", 1 * MIB, 2 * MIB))
    assert "\x1b[1m" not in capsys.readouterr().err


def test_a_bar_is_as_long_as_the_step_is_far(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "100")
    with progress.watching(verbose=False) as watch:
        for done in (0, 1, 2):
            watch(Progress(1, 2, "save the memory", done * MIB, 2 * MIB))
    shown = capsys.readouterr().err
    assert "━" in shown
    assert "2 MiB of 2 MiB" in shown


def test_a_checkpoint_tells_how_much_of_the_memory_is_saved(sim) -> None:
    sim.ok("domain", "start", "guest1")
    events = [json.loads(each) for each in sim.run("create", "guest1", "-n", "a", "--events").stderr.splitlines()]
    grown = [event for event in events if event["event"] == "progress"]
    assert [event["text"].startswith("save the memory") for event in grown] == [True]
    assert 0 < grown[0]["done_bytes"] <= grown[0]["total_bytes"]


@pytest.mark.parametrize("words", [["--events"], ["-v"]])
def test_what_only_looks_tells_no_step(sim, words) -> None:
    assert sim.run("list", "guest1", "-v").stderr == ""
    assert sim.run("create", "guest1", *words).exit_code == 0
