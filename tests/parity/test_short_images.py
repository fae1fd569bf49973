"""A stream over an image that is smaller than those above and below it: what the disk shows afterwards."""

import json
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.parity.monitors import IMAGES, File, RealQemu, SimulatedQemu
from tests.parity.tools import WITH_QEMU
from tests.parity.traces import NEGOTIATE, made

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_system")]

MIB = 1 << 20
LONG, SHORT = 2 * MIB, MIB
FILES = [File("base", size=LONG, device="d0", node="base")]
WRITES = ((MIB // 2, 65536), (MIB + 65536, 65536))
"""Where the base is written to: within what the short image shows, and beyond its end."""


def over(node: str, name: str) -> tuple[str, dict[str, Any]]:
    return "blockdev-snapshot-sync", {
        "node-name": node,
        "snapshot-file": f"{IMAGES}/{name}",
        "snapshot-node-name": name,
    }


@pytest.mark.parametrize("above", [["top"], ["middle", "top"]], ids=["right below", "deeper"])
@pytest.mark.parametrize("base", ["base", ""], ids=["onto the base", "onto nothing"])
def test_what_was_hidden_is_shown_as_by_the_real_one(base: str, above: list[str], tmp_path: Path) -> None:
    made(tuple(FILES), tmp_path)
    real, simulated = RealQemu(tmp_path, FILES), SimulatedQemu(FILES)

    def both(command: str, arguments: dict[str, Any]) -> None:
        line = json.dumps({"execute": command, "arguments": arguments})
        answers = [real.answers(line.replace(IMAGES, str(tmp_path)).encode()), simulated.answers(line.encode())]
        assert not any("error" in each for answer in answers for each in answer), answers
        WITH_QEMU[command] += 1

    try:
        for each in (real, simulated):
            each.answers(NEGOTIATE)
        for offset, length in WRITES:
            real.write("d0", offset, length, simulated.write("d0", offset, length))
        both(*over("base", "short"))
        both("block_resize", {"node-name": "short", "size": SHORT})
        for node, name in pairwise(["short", *above]):
            both(*over(node, name))
            both("block_resize", {"node-name": name, "size": LONG})
        onto = {"base-node": base} if base else {}
        both("block-stream", {"device": "d0", "job-id": "j", "auto-dismiss": False, **onto})
        both("quit", {})
    finally:
        real.close()
    read = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", "top", "read"]
    subprocess.run(read, check=True, cwd=tmp_path)
    assert (tmp_path / "read").read_bytes() == simulated.visible("d0")
