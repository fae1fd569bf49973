"""An operator's own `qemu-img snapshot` that was killed before any of its writes: the doctor finds what it has left.

It tells what is amiss, mends it, and nothing that the image or its snapshots hold is changed by that.
"""

import signal
import subprocess

import pytest

from tests.conftest import require_tool
from tests.real.lab import Lab

WRITES_MAX = 30
"""More than any of these makes."""

RUNS_MAX = 10
"""So often nothing to be found is taken for chance, at the most."""

LEAKED, STALE = "leaked-clusters", "flags-stale"


@pytest.mark.parametrize("option", ["-c", "-a", "-d"])
def test_what_a_killed_qemu_img_leaves_is_mended(lab: Lab, option: str) -> None:
    require_tool("strace")
    image = lab.image("a.qcow2")
    lab.describe("guest", ("a.qcow2", "qcow2"))
    for number, name in enumerate(("one", "two", "by-hand"), 2):
        if name == "by-hand":
            lab.tag(image, name)
        else:
            lab.ok("create", "guest", "-n", name)
        lab.write(image, number, at=f"{number * 64}k", length="128k")
    before = image.read_bytes()
    held = {name: lab.held(image, name) for name in ("one", "two")}
    # In which order tables and counts are written differs from run to run, and with it which of both is found, if any.
    found: set[str] = set()
    for _ in range(RUNS_MAX):
        for number in range(1, WRITES_MAX):
            image.write_bytes(before)
            killed = dies(number, option, "new" if option == "-c" else "by-hand", str(image))
            shown = lab.shown()
            (told,) = lab.json("doctor", "guest", "--check", "--repair")["domains"]
            found |= {each["id"] for each in told["repaired"]}
            lab.sound()
            assert lab.shown() == shown
            assert {name: lab.held(image, name) for name in held} == held
            if not killed:
                break
        else:
            pytest.fail("it writes more often than was thought")
        if found:
            break
    assert found
    assert found <= {LEAKED, STALE}


def dies(number: int, *words: str) -> bool:
    """Whether a `qemu-img snapshot` that is killed before this write came to it."""
    fails = f"inject=pwrite64,pwritev:signal=KILL:when={number}"
    tracer = ["strace", "-q", "-f", "-o", "/dev/null", "-e", "trace=pwrite64,pwritev", "-e", fails]
    done = subprocess.run([*tracer, "qemu-img", "snapshot", *words], capture_output=True, check=False)
    assert done.returncode in {0, -signal.SIGKILL}, done
    return done.returncode != 0
