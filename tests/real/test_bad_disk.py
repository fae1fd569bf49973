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
# The first call that writes to the image in question meets a disk whose n-th write fails, and all after that.
import os, shutil, subprocess, sys
words = sys.argv[1:]
n, image, once, place = int(os.environ["FAILS_AT"]), os.environ["FAILING"], os.environ["ONCE"], os.environ["PLACE"]
plain, rules, twin = "file.driver=file,file.filename=", place + "/rules", place + "/twin"


def failing(path):
    if not path.endswith(image) or os.path.exists(once):
        return False
    open(once, "w").close()
    with open(rules, "w") as file:
        for state in range(1, n):
            file.write(f'[set-state]\\nevent = "pwritev"\\nstate = "{{state}}"\\nnew_state = "{{state + 1}}"\\n')
        file.write(f'[inject-error]\\nevent = "pwritev"\\nstate = "{{n}}"\\nerrno = "5"\\n')
    return True


verb = words[0]
if verb == "snapshot" and failing(words[-1]):
    bad = "file.driver=blkdebug,file.config=" + rules + ",file.image.driver=file,file.image.filename="
    words[-1] = words[-1].replace(plain, bad)
elif verb == "rebase" and failing(words[-1]):
    words[-1] = "blkdebug:" + rules + ":" + words[-1]
elif verb == "commit" and failing(words[words.index("-b") + 1]):
    # No option gives the backing file of a header another driver, so a twin of the overlay stands on the bad disk.
    at = words.index("-b") + 1
    words[at] = "blkdebug:" + rules + ":" + words[at]
    shutil.copy(words[-1], twin)
    onto = ["-F", "qcow2", "-b", words[at]]
    subprocess.run(["{real}", "rebase", "-q", "-u", "-f", "qcow2", *onto, twin], check=True)
    words[-1] = twin
os.execv("{real}", ["qemu-img", *words])
"""

WORDS = {"create": ["guest", "-n", "two"], "revert": ["guest", "one"], "delete": ["guest", "one"]}


@pytest.mark.parametrize("image", ["xvda.qcow2", "xvdb.qcow2"])
@pytest.mark.parametrize("verb", WORDS)
def test_a_write_that_fails_is_told_and_put_right(tmp_path: Path, qemu_img: Path, verb: str, image: str) -> None:
    tools = failing_tools(tmp_path, qemu_img)
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
            "PLACE": str(tmp_path),
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


def failing_tools(place: Path, qemu_img: Path) -> Path:
    """A directory with a qemu-img whose disk fails."""
    tools = place / "tools"
    tools.mkdir()
    wrapper = tools / "qemu-img"
    wrapper.write_text(WRAPPER.format(python=sys.executable, real=qemu_img))
    wrapper.chmod(0o755)
    return tools


def done_all_the_same(lab: Lab, verb: str, image: str) -> None:
    """A write that fails when the image is closed is told by nobody: the end is right, and a cluster may be leaked."""
    assert (lab.snapshots(), shows(lab)) == ENDS[verb][1]
    words = ["qemu-img", "check", "-q", "-f", "qcow2", str(lab.path(image))]
    assert subprocess.run(words, check=False, capture_output=True).returncode in {0, LEAKS_ONLY}


MERGES = {"one": "commit", "two": "rebase"}
"""What a deletion makes qemu-img do with the image that it no longer needs.

What stands on the operator's own image is written down into that; what an overlay of ours holds is copied up.
"""

UNTOLD = 3
"""After so many failures in a row that qemu-img told nobody of, or has not come to, there are no more writes."""


@pytest.mark.parametrize("name", MERGES)
def test_a_merge_that_fails_loses_nothing(tmp_path: Path, qemu_img: Path, name: str) -> None:
    tools = failing_tools(tmp_path, qemu_img)
    told: list[bool] = []
    while any(told[-UNTOLD:]) or len(told) < UNTOLD:
        number = len(told) + 1
        place = tmp_path / str(number) / "images"
        place.mkdir(parents=True)
        lab = Lab(place)
        held = layered(lab)
        shown = lab.shown()
        written = lab.path("xvda.qcow2") if MERGES[name] == "commit" else lab.active()[0]
        lab.environment = {
            "PATH": f"{tools}:{os.environ['PATH']}",
            "FAILS_AT": str(number),
            "FAILING": written.name,
            "ONCE": str(tmp_path / f"met-{number}"),
            "PLACE": str(tmp_path),
        }
        told.append("Input/output error" in lab.run("delete", "guest", name).stderr)
        assert Path(lab.environment["ONCE"]).exists(), "no write was ever let fail"
        assert written.name in lab.files()
        lab.ok("recover", "guest")
        assert lab.shown() == shown
        lab.ok("doctor", "guest", "--check", "--repair")  # clusters may be leaked, and no more than that
        lab.sound()
        (other,) = lab.snapshots()
        lab.ok("revert", "guest", other)
        assert lab.shown() == {"xvda": held[other]}
        lab.ok("delete", "guest", other)
        assert lab.shown() == {"xvda": held[other]}
        assert lab.files() == {"guest.toml", "xvda.qcow2"}
    assert sum(told) >= UNTOLD


def layered(lab: Lab) -> dict[str, str]:
    """Two external snapshots, each layer with something of its own; what each holds."""
    lab.image("xvda.qcow2", "1M")
    lab.describe("guest", ("xvda.qcow2", "qcow2"))
    held = {}
    for number, name in enumerate(("one", "two"), 2):
        held[name] = lab.shown()["xvda"]
        lab.ok("create", "guest", "-n", name, "--type", "external")
        lab.guest_writes(number, at=f"{number * 64}k", length="192k")
    return held
