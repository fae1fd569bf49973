"""The script as an operator runs it, on a simulated host: `xensnap sim run` puts `xl` and `qemu-img` on its PATH."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("checkpoint.sh")
BIN = Path(sys.executable).parent


@pytest.fixture
def host(tmp_path):
    environment = {**os.environ, "XENSNAP_HOST": f"sim:{tmp_path}/host", "PATH": f"{BIN}:{os.environ['PATH']}"}

    def run(*words, code=0):
        done = subprocess.run(["xensnap", *words], env=environment, capture_output=True, text=True)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    run("sim", "init")
    run("sim", "domain", "add", "web", "--disk", "xvda=1M")
    run("sim", "run", "--", "xl", "create", "-q", "/etc/xen/web.cfg")
    return run


def checkpoint(host, *words, code=0):
    return host("sim", "run", "--", "sh", str(SCRIPT), *words, code=code)


def test_memory_and_disk_come_back_together(host):
    host("sim", "write", "web", "xvda", "0", "64k")
    then = host("sim", "read", "web", "xvda")
    checkpoint(host, "take", "web", "clean")
    host("sim", "write", "web", "xvda", "0", "128k")
    assert host("sim", "read", "web", "xvda") != then
    checkpoint(host, "back", "web", "clean")
    assert host("sim", "read", "web", "xvda") == then
    assert "web" in host("sim", "run", "--", "xl", "list")
    host("sim", "run", "--", "xl", "destroy", "web")
    host("sim", "run", "--", "qemu-img", "check", "/images/web-xvda.qcow2")


def test_a_name_that_is_taken_costs_nothing(host):
    checkpoint(host, "take", "web", "clean")
    host("sim", "write", "web", "xvda", "0", "64k")
    then = host("sim", "read", "web", "xvda")
    assert "has a checkpoint clean already" in checkpoint(host, "take", "web", "clean", code=1)
    assert host("sim", "read", "web", "xvda") == then


def test_a_guest_that_is_off_is_left_alone(host):
    host("sim", "run", "--", "xl", "destroy", "web")
    assert checkpoint(host, "take", "web", "clean", code=1)
