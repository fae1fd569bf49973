"""What real tools once said, replayed on the simulator: no tool is needed, and the answers must be equal."""

import pytest

from tests.parity import traces


@pytest.mark.parametrize("name", sorted(traces.STORIES))
def test_the_simulator_answers_as_the_tool_did(name: str):
    head, *lines = traces.read(name)
    assert head["trace"] == name
    for ours, theirs in zip(traces.replayed(lines, traces.STORIES[name]), lines, strict=True):
        assert ours == theirs


def test_every_trace_has_its_story_and_every_story_its_trace():
    assert sorted(path.stem for path in traces.TRACES.glob("*.jsonl")) == sorted(traces.STORIES)


@pytest.mark.real
@pytest.mark.usefixtures("qemu_img", "qemu_io", "qemu_system")
@pytest.mark.parametrize("name", sorted(traces.STORIES))
def test_the_tool_still_says_what_was_recorded(name: str):
    head, *lines = traces.read(name)
    if head["versions"]["qemu"] != traces.version():
        pytest.skip(f"recorded from QEMU {head['versions']['qemu']}, and this is {traces.version()}")
    assert traces.recorded(traces.STORIES[name])[1:] == lines
