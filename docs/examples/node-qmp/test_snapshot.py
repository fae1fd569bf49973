"""The program in Node on the monitor of a simulated guest, and then the image, as qemu-img sees it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("snapshot.mjs")
BIN = Path(sys.executable).parent

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="capability missing: no node on PATH")


@pytest.fixture
def host(tmp_path):
    environment = {**os.environ, "XENSNAP_HOST": f"sim:{tmp_path}/host", "PATH": f"{BIN}:{os.environ['PATH']}"}

    def run(*words, code=0):
        done = subprocess.run(["xensnap", *words], env=environment, capture_output=True, text=True)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    run("sim", "init")
    run("sim", "domain", "add", "web", "--disk", "xvda=1M", "--disk", "xvdb=1M", "--disk", "xvdc=1M,raw")
    run("sim", "run", "--", "xl", "create", "-q", "/etc/xen/web.cfg")
    return run


def snapshot(host, tag, code=0):
    return host("sim", "run", "--", "sh", "-c", f"node {PROGRAM} $XENSNAP_QMP_DIR/qmp-libxenstat-1 {tag}", code=code)


def test_all_disks_get_the_tag_and_keep_what_they_held(host):
    host("sim", "write", "web", "xvda", "0", "64k")
    then = host("sim", "read", "web", "xvda")
    told = json.loads(snapshot(host, "point"))
    assert [disk["tags"] for disk in told] == [["point"], ["point"]]
    host("sim", "write", "web", "xvda", "0", "64k")
    host("sim", "run", "--", "xl", "destroy", "web")
    for vdev in ("xvda", "xvdb"):
        assert "point" in host("sim", "run", "--", "qemu-img", "snapshot", "-l", f"/images/web-{vdev}.qcow2")
    host("sim", "run", "--", "qemu-img", "snapshot", "-a", "point", "/images/web-xvda.qcow2")
    assert host("sim", "read", "web", "xvda") == then


def test_a_tag_that_is_taken_is_refused_for_all(host):
    snapshot(host, "point")
    assert "has a snapshot point already" in snapshot(host, "point", code=1)


def test_a_monitor_that_is_not_there_is_told(host, tmp_path):
    done = subprocess.run(["node", PROGRAM, tmp_path / "nothing", "x"], capture_output=True, text=True)
    assert done.returncode != 0
