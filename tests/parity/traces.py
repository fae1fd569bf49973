"""Traces: what real tools said, one JSON object a line, and how they are made and read.

The first line tells the story and the versions; each other line has a command and its filtered answer.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.parity import command_lines, introspections, messages
from tests.parity.monitors import IMAGES as PLACE
from tests.parity.monitors import File, RealQemu, SimulatedQemu, create_args, normal, ordered
from tests.parity.scenarios import IMAGES, MONITORS, WIRES, ImageStory, MonitorStory, WireStory
from tests.parity.shells import Shells
from tests.parity.shells import normal as normal_text
from tests.parity.tools import run

TRACES = Path(__file__).parent / "traces"
Story = ImageStory | MonitorStory | WireStory
_ALL: tuple[Story, ...] = (*IMAGES, *command_lines.IMAGES, *MONITORS, *messages.MONITORS, *WIRES)
STORIES = {story.name: story for story in _ALL}
NEGOTIATE = b'{"execute":"qmp_capabilities"}'


def path_of(name: str) -> Path:
    return TRACES / f"{name}.jsonl"


def read(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path_of(name).read_text(encoding="utf-8").splitlines()]


def written(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def message(step: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    name, arguments = step
    return {"execute": name, "arguments": arguments} if arguments else {"execute": name}


# --- the real tools --------------------------------------------------------------------------------------------------


def version() -> str:
    """What qemu-img calls itself, as packagers call it."""
    told = run(["qemu-img", "--version"], Path.cwd()).stdout.decode().splitlines()[0]
    return told.removeprefix("qemu-img version ")


def recorded(story: Story) -> list[dict[str, Any]]:
    """The trace of a story, from the real tools."""
    head = {"trace": story.name, "story": story.story, "versions": {"qemu": version()}}
    with tempfile.TemporaryDirectory(prefix="record") as scratch:
        match story:
            case ImageStory():
                return [head, *_real_images(story, Path(scratch))]
            case MonitorStory():
                return [head, *_real_monitor(story, Path(scratch))]
            case WireStory():
                return [head, *_real_wire(story, Path(scratch))]


def _real_images(story: ImageStory, directory: Path) -> Iterator[dict[str, Any]]:
    shells = Shells(directory)
    for argv in story.steps:
        if argv[0] == "write":
            # Offsets only; the bytes are a pure function of the number of the write.
            shells.write(argv[1], int(argv[2]), int(argv[3]))
            yield {"write": argv[1:]}
            continue
        shells.fs = shells.simulated(argv).fs
        code, out, err = shells.real(argv)
        yield {"argv": ["qemu-img", *argv], "rc": code, "out": out, "err": err}


def _real_monitor(story: MonitorStory, directory: Path) -> Iterator[dict[str, Any]]:
    made(story.files, directory)
    real = RealQemu(directory, list(story.files))
    try:
        real.answers(NEGOTIATE)
        for step in story.steps:
            asked = message(step)
            data = json.dumps(asked).replace(PLACE, str(directory)).encode()
            yield {"qmp": asked, "replies": ordered(normal(real.answers(data), str(directory)))}
    finally:
        real.close()


def _real_wire(story: WireStory, directory: Path) -> Iterator[dict[str, Any]]:
    real = RealQemu(directory, [])
    try:
        for piece in story.pieces:
            yield {"sent": piece, "said": _timeless(real.bytes_said(piece.encode()))}
    finally:
        real.close()


def _timeless(said: bytes) -> str:
    return re.sub(r'"timestamp": \{[^}]*\}', '"timestamp": {}', said.decode())


def made(files: tuple[File, ...], directory: Path) -> None:
    """Fresh images, once as a template."""
    for file in files:
        done = run(["qemu-img", *create_args(file)], directory)
        assert done.returncode == 0, done


# --- the simulation --------------------------------------------------------------------------------------------------


def replayed(lines: list[dict[str, Any]], story: Story) -> Iterator[dict[str, Any]]:
    """The same steps on the simulator, told in the same form."""
    if isinstance(story, MonitorStory):
        simulated = SimulatedQemu(list(story.files))
        simulated.answers(NEGOTIATE)
        for line in lines:
            replies = normal(simulated.answers(json.dumps(line["qmp"]).encode()))
            yield {"qmp": line["qmp"], "replies": ordered(replies)}
        return
    if isinstance(story, WireStory):
        plain = SimulatedQemu([])
        for line in lines:
            yield {"sent": line["sent"], "said": _timeless(plain.bytes_said(line["sent"].encode()))}
        return
    shells = Shells.alone()
    for line in lines:
        if "write" in line:
            name, offset, length = line["write"]
            shells.write(name, int(offset), int(length))
            yield line
            continue
        argv = line["argv"][1:]
        done = shells.simulated(argv)
        shells.fs = done.fs
        yield {
            "argv": line["argv"],
            "rc": done.returncode,
            "out": normal_text(done.stdout),
            "err": normal_text(done.stderr),
        }


def main() -> None:
    """Record every story anew, and what QEMU says of itself; `git diff` then shows what has drifted."""
    TRACES.mkdir(exist_ok=True)
    introspections.record()
    for story in STORIES.values():
        path_of(story.name).write_text(written(recorded(story)), encoding="utf-8")


if __name__ == "__main__":
    main()
