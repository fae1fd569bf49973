"""Block jobs whose target is full: a simulated QEMU and a real one, where no more can be written, tell the same.

The real one's target fails by QEMU's own `blkdebug`, the simulated one's since the file system has no room left.
"""

import errno
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulator import NotModelled
from tests.parity.monitors import IMAGES, RealQemu, SimulatedQemu, normal, ordered
from tests.parity.shells import Shells

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io", "qemu_system")]

NAMES = ("base", "mid", "top")
"""Each stands on the one before it."""
JOBS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "a stream": ("block-stream", "base", "top", {}),
    "a stream that stops above an image": ("block-stream", "mid", "top", {"base-node": "base"}),
    "a commit of the root": ("block-commit", "top", "base", {}),
    "a commit below it": ("block-commit", "mid", "base", {"top-node": "mid"}),
}
"""The command, the image that holds something, the one that is to be written, and what else is asked for."""


def said(qemu: RealQemu | SimulatedQemu, name: str, arguments: dict[str, Any]) -> list[Any]:
    return qemu.answers(json.dumps({"execute": name, "arguments": arguments}).encode())


def with_full(tmp_path: Path, holds: str, full: str) -> tuple[RealQemu, SimulatedQemu]:
    """Both, with the three images open, of which one cannot grow."""
    shells = Shells(tmp_path)
    for name in NAMES:
        shells.both(["create", "-q", "-f", "qcow2", name, "1M"])
    shells.write(holds, 0, 1 << 18)
    real, simulated = RealQemu(tmp_path, []), SimulatedQemu([])
    fs = msgspec.structs.replace(shells.fs, capacity_bytes=shells.fs.used_bytes)
    simulated.board = msgspec.structs.replace(simulated.board, fs=fs)
    for qemu, place in ((real, str(tmp_path)), (simulated, IMAGES)):
        said(qemu, "qmp_capabilities", {})
        for name, below in zip(NAMES, (None, *NAMES), strict=False):
            file: dict[str, Any] = {"driver": "file", "filename": f"{place}/{name}"}
            if name == full and qemu is real:
                fails = {"event": "write_aio", "errno": errno.ENOSPC, "once": False}
                file = {"driver": "blkdebug", "image": file, "inject-error": [fails]}
            options = {"driver": "qcow2", "node-name": name, "file": file, "backing": below}
            (told,) = said(qemu, "blockdev-add", options | {"read-only": name != "top"})
            assert told == {"return": {}}
    return real, simulated


@pytest.mark.parametrize(("command", "holds", "full", "more"), JOBS.values(), ids=JOBS)
def test_both_tell_the_same_of_a_job_that_cannot_write(
    command: str, holds: str, full: str, more: dict[str, Any], tmp_path: Path
) -> None:
    real, simulated = with_full(tmp_path, holds, full)
    try:
        asked = {"device": "top", "job-id": "j", **more}
        answers = [ordered(normal(said(qemu, command, asked))) for qemu in (real, simulated)]
        assert answers[1] == answers[0]
        assert sum(message.get("event") == "BLOCK_JOB_ERROR" for message in answers[0]) == 1
    finally:
        real.close()


@pytest.mark.parametrize("on_error", ["ignore", "stop", "enospc", "auto"])
def test_what_a_job_does_after_an_error_is_not_modelled(on_error: str, tmp_path: Path) -> None:
    real, simulated = with_full(tmp_path, "base", "top")
    real.close()
    with pytest.raises(NotModelled, match=f"on-error {on_error}"):
        said(simulated, "block-stream", {"device": "top", "job-id": "j", "on-error": on_error})
