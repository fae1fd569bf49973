"""Real deaths on real files: killed before every write, or while a qemu-img is at work, and then `recover`.

Whatever was killed, the domain is afterwards as before the operation or as after it, on both disks; images are whole;
nothing of ours is left over.
"""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.lab import Lab, command, tool
from tests.real.power_cuts import differing

DRIVER = Path(__file__).with_name("dying.py")
ENDS = {
    # verb: (snapshots, what the disks show), before and after
    "create": ((["one"], 2), (["one", "two"], 2)),
    "revert": ((["one", "two"], 3), (["one", "two"], 1)),
    "delete": ((["one", "two"], 3), (["two"], 3)),
}
KEPT = {"one": 1, "two": 2}
USED_UP = 7
"""After every so many deaths all snapshots are reverted to and deleted, which takes longer than dying."""


def shows(lab: Lab) -> int:
    """The pattern that both disks show, and nothing else."""
    found = set()
    for vdev in ("xvda", "xvdb"):
        path, format = lab.active(vdev=vdev)
        content = lab.copy(path, format).read_bytes()
        assert len(content) == 1 << 20
        assert differing(content, content[:1] * (128 << 10) + bytes((1 << 20) - (128 << 10))) == []
        found.add(content[0])
    (number,) = found
    return number


def no_orphans(lab: Lab) -> None:
    """All files beside the store are disks, what they stand on, or what a record or the ledger tells of."""
    known = {"guest.toml"}
    for path in [lab.active(vdev=vdev)[0] for vdev in ("xvda", "xvdb")]:
        chain = [path, *below(lab, path)]
        known |= {each.name for each in chain} | {f"{each.name}.xensnap.json" for each in chain[1:]}
    for snapshot in lab.json("list", "guest")["snapshots"]:
        for disk in snapshot["disks"]:
            image = Path(disk["image"])
            known |= {image.name} | {each.name for each in below(lab, image)}
            known |= {f"{image.name}.xensnap.json"} if disk["overlay"] else set()
    for record in lab.directory.rglob("trashed-d.*"):
        known |= {name for name in lab.files() if f'/{name}"' in record.read_text()}
    assert lab.files() - known == set()
    assert not [path for path in lab.directory.rglob("*") if path.name.endswith(".new")]


def below(lab: Lab, path: Path) -> list[Path]:
    found = []
    while name := lab.info(path).get("backing-filename"):
        path = path.parent / name
        found.append(path)
    return found


def judge(lab: Lab, verb: str, *, whole: bool = True) -> int:
    """Recover, and say on which side it came out: 0 as before, 1 as after; `whole`: and use all snapshots up."""
    lab.ok("recover", "guest")
    assert lab.json("list", "guest")["pending"] is None
    names, number = lab.snapshots(), shows(lab)
    sides = [side for side, end in enumerate(ENDS[verb]) if end == (names, number)]
    assert len(sides) == 1, (names, number)
    lab.sound()
    no_orphans(lab)
    for name in names if whole else ():
        lab.ok("revert", "guest", name)
        assert shows(lab) == KEPT[name]
    for name in names if whole else ():
        lab.ok("delete", "guest", name)
    assert not whole or lab.files() == {"guest.toml", "xvda.qcow2", "xvdb.qcow2"}
    assert not whole or lab.tags(lab.path("xvda.qcow2")) == []
    return sides[0]


@pytest.mark.parametrize("kind", ["internal", "external"])
@pytest.mark.parametrize("verb", ["create", "revert", "delete"])
def test_killed_before_any_write_it_is_as_before_or_as_after(lab, tmp_path, verb, kind) -> None:
    place = tmp_path / "deaths"
    place.mkdir()
    root = str(DRIVER.parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    count = int(tool(sys.executable, str(DRIVER), str(place), verb, kind, env=environment).stdout)
    assert count > 10
    sides = []
    for number in range(1, count + 1):
        at = Lab(place / str(number))
        sides.append(judge(at, verb, whole=number % USED_UP == 0))
    # Once it has been decided, it stays decided: the later the death, the later the side.
    assert sides == sorted(sides)
    assert (sides[0], sides[-1]) == (0, 1)


WRAPPER = """#!/bin/sh
# Counts its calls; at the one that was asked for, kills who called it: first, last, or instead of doing anything.
count=1 # calls run side by side, and making a directory is what only one of them can do
until mkdir "$PLACE/call-$count" 2>/dev/null; do count=$((count + 1)); done
[ $count -ne $AT ] && exec "$REAL" "$@"
case $MODE in
first) kill -9 $PPID; exec "$REAL" "$@" ;;
instead) kill -9 $PPID; exit 1 ;;
last) "$REAL" "$@"; kill -9 $PPID ;;
esac
"""


@pytest.mark.parametrize("mode", ["first", "instead", "last"])
@pytest.mark.parametrize(("verb", "kind"), [("create", "internal"), ("revert", "internal"), ("delete", "external")])
def test_a_tool_that_outlives_us_ends_before_recovery_begins(lab, qemu_img, monkeypatch, verb, kind, mode) -> None:
    tools = lab.directory.parent / "tools"
    tools.mkdir()
    wrapper = tools / "qemu-img"
    wrapper.write_text(WRAPPER)
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    words = {"create": ["-n", "two", "--type", kind], "revert": ["one"], "delete": ["one"]}[verb]
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "REAL": str(qemu_img), "MODE": mode}
    for at in (1, 2):
        place = lab.directory.parent / f"call-{at}"
        place.mkdir()
        root = str(DRIVER.parents[2])
        prepare = "import sys, pathlib; from tests.real import dying; from xensnap.model import Kind; "
        prepare += "dying.prepare(pathlib.Path(sys.argv[1]), sys.argv[2], Kind(sys.argv[3]))"
        images = place / "images"
        images.mkdir()
        tool(sys.executable, "-c", prepare, str(images), verb, kind, env={**os.environ, "PYTHONPATH": root})
        at_once = {**environment, "AT": str(at), "PLACE": str(place), "XENSNAP_HOST": f"qemu:{images}"}
        done = subprocess.run(command(verb, "guest", *words), env=at_once, capture_output=True, check=False)
        assert done.returncode == -signal.SIGKILL, done
        judge(Lab(images), verb)
