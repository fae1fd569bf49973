"""Programs that know nothing of xensnap, on a simulated host: shell scripts of operators, and QMP clients of others."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.serve.tool_server import NOT_MODELLED

XENSNAP = [sys.executable, "-m", "xensnap.cli"]
LIMIT_S = 120


class Host:
    """A simulated host in a directory, with one domain that is off."""

    def __init__(self, directory: Path) -> None:
        self.environment = {**os.environ, "XENSNAP_HOST": f"sim:{directory}", "LC_ALL": "C"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"

    def __call__(self, *words: str, code: int = 0) -> str:
        argv = [*XENSNAP, *words]
        done = subprocess.run(argv, env=self.environment, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert done.returncode == code, (words, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def script(self, text: str, *, code: int = 0) -> str:
        """A shell script, to which this is the host."""
        return self("sim", "run", "--", "sh", "-euc", text, code=code)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path / "host")
    made("sim", "init")
    made("sim", "domain", "add", "pv1", "--disk", "xvda=1M")
    return made


IMAGE = "/images/pv1-xvda.qcow2"
BEGIN = """
xl create -q /etc/xen/pv1.cfg
xensnap sim write pv1 xvda 0 64k
xl save -p pv1 /images/pv1.save 2>&1
"""


def test_a_script_that_does_things_in_order_brings_the_guest_back(host: Host):
    host.script(
        f"""{BEGIN}
        xl destroy pv1
        qemu-img snapshot -c point {IMAGE}
        xl restore /images/pv1.save
        xensnap sim write pv1 xvda 0 64k
        xl destroy pv1
        qemu-img snapshot -a point {IMAGE}
        xl restore /images/pv1.save
        """
    )
    assert json.loads(host("sim", "read", "--json", "pv1", "xvda"))["runs"][0]["write"] == 1


def test_a_script_that_snapshots_a_disk_in_use_loses_the_snapshot_and_is_told_nothing(host: Host):
    told = host.script(
        f"""{BEGIN}
        qemu-img snapshot -c point {IMAGE}      # the paused guest's QEMU still has it open, and takes no lock
        xl unpause pv1
        xensnap sim write pv1 xvda 64k 64k
        xl destroy pv1
        qemu-img snapshot -l {IMAGE}
        qemu-img check {IMAGE} || echo "check says $?"
        """
    )
    assert "point" not in told
    assert "check says 3" in told
    assert "leaked clusters were found on the image" in told


def test_a_script_that_reverts_under_a_running_guest_damages_the_image(host: Host):
    told = host.script(
        f"""
        qemu-img snapshot -c point {IMAGE}
        xl create -q /etc/xen/pv1.cfg
        xensnap sim write pv1 xvda 0 64k
        qemu-img snapshot -a point {IMAGE}
        xensnap sim write pv1 xvda 0 64k
        xl destroy pv1
        qemu-img check {IMAGE} || echo "check says $?"
        """
    )
    assert "check says 2" in told


def test_what_is_not_modelled_is_loud(host: Host):
    assert "not modelled: xl dmesg" in host.script("xl dmesg", code=NOT_MODELLED)
    assert "not modelled: qemu-img bench" in host.script(f"qemu-img bench {IMAGE}", code=NOT_MODELLED)


def test_the_exit_code_is_the_programs_own(host: Host):
    host.script("exit 7", code=7)
    host("sim", "run", "--", "no-such-program-at-all", code=3)


def test_the_monitors_of_running_domains_listen_and_go_with_them(host: Host):
    told = host.script(
        """
        ls $XENSNAP_QMP_DIR
        xl create -q /etc/xen/pv1.cfg
        until test -S $XENSNAP_QMP_DIR/qmp-libxl-1 -a -S $XENSNAP_QMP_DIR/qmp-libxenstat-1; do sleep 0.2; done
        ls $XENSNAP_QMP_DIR
        """
    )
    assert told.split() == ["qmp-libxenstat-1", "qmp-libxl-1"]


SNAPSHOT = "blockdev-snapshot-internal-sync device=xvda-qcow2 name=point"


def running(host: Host, then: str) -> str:
    return host.script(
        f"""
        xl create -q /etc/xen/pv1.cfg
        until test -S $XENSNAP_QMP_DIR/qmp-libxenstat-1; do sleep 0.1; done
        {then}
        """
    )


def test_qmp_shell_of_the_qemu_project_works_on_it(host: Host):
    told = running(host, f"printf '{SNAPSHOT}\\nquery-status\\n' | qmp-shell $XENSNAP_QMP_DIR/qmp-libxenstat-1")
    assert "Connected to QEMU 7.2.22" in told
    assert '{"return": {}}' in told
    assert "point" in host.script(f"qemu-img snapshot -l {IMAGE}")


@pytest.mark.real
def test_socat_works_on_it(host: Host):
    if shutil.which("socat") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("capability missing: no socat on PATH")
        pytest.skip("capability missing: no socat on PATH")
    asked = '{"execute":"qmp_capabilities"}{"execute":"query-name"}{"execute":"nope","id":7}'
    told = running(host, f"echo '{asked}' | socat -t {LIMIT_S} - UNIX-CONNECT:$XENSNAP_QMP_DIR/qmp-libxenstat-1")
    greeting, *replies = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert greeting["QMP"]["capabilities"] == ["oob"]
    assert replies[0] == {"return": {}}
    assert replies[2] == {
        "id": 7,
        "error": {"class": "CommandNotFound", "desc": "The command nope has not been found"},
    }


@pytest.mark.real
@pytest.mark.usefixtures("qemu_img")
def test_an_image_leaves_the_simulation_as_a_file_and_comes_back(host: Host, tmp_path: Path):
    host("sim", "write", "pv1", "xvda", "0", "64k")
    host.script(f"qemu-img snapshot -c point {IMAGE}")
    file = tmp_path / "out.qcow2"
    host("sim", "image", "export", IMAGE, str(file))
    listed = subprocess.run(["qemu-img", "snapshot", "-l", str(file)], capture_output=True, text=True, check=True)
    assert "point" in listed.stdout
    host("sim", "image", "import", str(file), "/images/back.qcow2")
    assert "identical" in host.script(f"qemu-img compare {IMAGE} /images/back.qcow2")
    host("sim", "image", "export", IMAGE, str(file), code=1)
    host("sim", "image", "import", str(file), IMAGE, code=1)
