"""A disk that answers a write with EIO, in the middle of what the real qemu-img does to a real image.

QEMU's own blkdebug lets the n-th write to one image fail, and all after it, until that qemu-img has ended: once for
each write that there is. The error must tell the truth, and the domain is as before or, after `recover`, as after.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import dying
from tests.real.lab import Lab, command, honest
from tests.real.test_killed import ENDS, judge, shows
from xensnap.model import Kind

DEEP = bool(os.environ.get("XENSNAP_DEEP_S"))
STEP = 1 if DEEP else 3
LEAKS_ONLY = 3
"""What `qemu-img check` ends with then."""

WRITES_MAX = 60
"""More than any of these operations makes."""

WRAPPER = """#!{python}
# The first call that works on the image in question meets a disk whose n-th write fails, and all after that.
import os, sys
words = sys.argv[1:]
n, image, once = int(os.environ["FAILS_AT"]), os.environ["FAILING"], os.environ["ONCE"]
plain = "file.driver=file,file.filename="
hit = [word for word in words if plain in word and word.endswith(image)]
if words[:1] == ["snapshot"] and hit and not os.path.exists(once):
    open(once, "w").close()
    rules = "file.driver=blkdebug"
    for state in range(1, n):
        rules += f",file.set-state.{{state - 1}}.event=pwritev,file.set-state.{{state - 1}}.state={{state}}"
        rules += f",file.set-state.{{state - 1}}.new_state={{state + 1}}"
    rules += f",file.inject-error.0.event=pwritev,file.inject-error.0.state={{n}},file.inject-error.0.errno=5"
    words = [word.replace(plain, rules + ",file.image.driver=file,file.image.filename=") for word in words]
os.execv("{real}", ["qemu-img", *words])
"""

WORDS = {"create": ["guest", "-n", "two"], "revert": ["guest", "one"], "delete": ["guest", "one"]}


@pytest.mark.parametrize("image", ["xvda.qcow2", "xvdb.qcow2"])
@pytest.mark.parametrize("verb", WORDS)
def test_a_write_that_fails_is_told_and_put_right(tmp_path: Path, qemu_img: Path, verb: str, image: str) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    wrapper = tools / "qemu-img"
    wrapper.write_text(WRAPPER.format(python=sys.executable, real=qemu_img))
    wrapper.chmod(0o755)
    failed = 0
    for number in range(1, WRITES_MAX, STEP):
        place = tmp_path / str(number)
        place.mkdir()
        dying.prepare(place, verb, Kind.INTERNAL)
        environment = {
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "XENSNAP_HOST": f"qemu:{place}",
            "FAILS_AT": str(number),
            "FAILING": image,
            "ONCE": str(tmp_path / f"met-{number}"),
        }
        done = subprocess.run(command(verb, *WORDS[verb]), env=environment, capture_output=True, text=True, check=False)
        honest(verb, done.returncode, done.stdout + done.stderr)
        assert Path(environment["ONCE"]).exists(), "no write was ever let fail"
        if not done.returncode:
            done_all_the_same(Lab(place), verb, image)
            break
        failed += 1
        assert "Input/output error" in done.stderr, done.stderr
        judge(Lab(place), verb, whole=number % 2 == 1)
    assert failed


def done_all_the_same(lab: Lab, verb: str, image: str) -> None:
    """A write that fails when the image is closed is told by nobody: the end is right, and a cluster may be leaked."""
    assert (lab.snapshots(), shows(lab)) == ENDS[verb][1]
    words = ["qemu-img", "check", "-q", "-f", "qcow2", str(lab.path(image))]
    assert subprocess.run(words, check=False, capture_output=True).returncode in {0, LEAKS_ONLY}
