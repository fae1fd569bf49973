"""A machine without the real tools: the simulator is held to what was recorded, and what is left out says why."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLICE = ["tests/parity/test_traces.py", "tests/parity/test_ledger.py", "tests/parity/test_wire.py"]
LEFT_OUT = re.compile(r"^SKIPPED \[(\d+)\] \S+ (.*)$", re.MULTILINE)


def test_without_the_real_tools_the_traces_are_replayed_and_the_rest_says_why_it_is_left_out(tmp_path: Path) -> None:
    # With CI=true nothing real may be skipped.
    env = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    argv = [sys.executable, "-m", "pytest", *SLICE, "-n0", "-rs", "-q", "-p", "no:cacheprovider", "--no-header"]
    done = subprocess.run(
        [*argv, "--override-ini=addopts="],
        cwd=ROOT,
        env={**env, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert int(passed[1]) > 50, "the recorded traces"
    reasons = LEFT_OUT.findall(done.stdout)
    assert reasons, done.stdout
    assert all(re.match(r"capability missing: no qemu-[a-z0-9_-]+ on PATH$", why) for _, why in reasons), reasons
