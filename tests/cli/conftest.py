"""The command line on a simulated host and on a directory of real images, behind one workbench.

Transcripts in `golden/` are written anew with XENSNAP_GOLDEN=write; look at the difference before you commit it.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from simulator import SimulatedHost, persist
from simulator.faults.damage import Damage, damaged
from simulator.tools.qemu_img import SnapshotCreate
from xensnap import hosts
from xensnap.cli import configuration
from xensnap.cli.main import main

GOLDEN = Path(__file__).parent / "golden"
UUID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"


@dataclass
class Shell:
    """A place to type commands in: runs them in this process and keeps everything printed as a transcript."""

    directory: Path
    host: str = ""
    environment: dict[str, str | None] = field(default_factory=dict)

    def run(self, *words: str, stdin: str | bytes | None = None) -> Result:
        environment = {"XENSNAP_HOST": self.host or None, "COLUMNS": "100", **self.environment}
        result = CliRunner().invoke(main, [*words], input=stdin, env=environment)
        # Whatever the command came to, nobody gets to see its insides.
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        assert "internal error" not in result.output
        return result

    def ok(self, *words: str, stdin: str | bytes | None = None) -> str:
        result = self.run(*words, stdin=stdin)
        assert result.exit_code == 0, (words, result.output)
        return result.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def error(self, *words: str) -> Any:
        """The error document of a command that fails."""
        result = self.run(*words, "--json")
        document = json.loads(result.stdout)
        assert document["schema"] == "xensnap-error/1"
        assert document["exit_code"] == result.exit_code != 0
        assert result.stderr == ""
        return document

    def transcript(self, *lines: str) -> str:
        """What a person would see on the terminal, for each of these commands."""
        told = []
        for line in lines:
            result = self.run(*line.split())
            told.append(f"$ xensnap {line}\n{result.output}")
            if result.exit_code:
                told.append(f"[exit {result.exit_code}]\n")
        return "".join(told)


@pytest.fixture(autouse=True)
def quiet_place(tmp_path, monkeypatch) -> None:
    """No host of the machine that the tests run on shows through, nor its time zone."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv(hosts.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))
    monkeypatch.setattr(configuration, "SYSTEM", tmp_path / "no-config" / "config.toml")
    monkeypatch.setattr(hosts, "XEN_PLACES", ())
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def shell(tmp_path) -> Shell:
    """No host chosen."""
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Path:
    """A simulated host with one domain of two disks and a cdrom, to be copied."""
    made = Shell(tmp_path_factory.mktemp("template"))
    made.host = f"sim:{made.directory / 'world'}"
    made.ok("sim", "init")
    disks = ("--disk", "xvda=8M", "--disk", "xvdb=4M,raw", "--disk", "hdc=1M,raw,cdrom")
    made.ok("sim", "domain", "add", "guest1", "--uuid", UUID, *disks)
    return made.directory / "world"


@pytest.fixture
def sim(tmp_path, world) -> Shell:
    """That host, for one test."""
    return Shell(tmp_path, f"sim:{shutil.copytree(world, tmp_path / 'world')}")


def tag_by_hand(shell: Shell, tag: str) -> None:
    """Put a tag into the qcow2 image of the simulated `guest1`, as an operator would with qemu-img."""
    path = Path(shell.host.removeprefix("sim:")) / hosts.WORLD_FILE
    host = SimulatedHost(persist.decode(path.read_bytes()))
    layer = next(disk.layer for disk in host.run(host.toolstack.inspect("guest1")).disks if disk.format == "qcow2")
    assert not host.operate(SnapshotCreate(layer, tag))
    path.write_bytes(persist.encode(host.world.ended(host.pid)))


def damage_by_hand(shell: Shell, damage: Damage) -> None:
    """Do to the simulated host what its operator would not want."""
    path = Path(shell.host.removeprefix("sim:")) / hosts.WORLD_FILE
    path.write_bytes(persist.encode(damaged(persist.decode(path.read_bytes()), damage)))


@pytest.fixture
def qemu(tmp_path, qemu_img) -> Shell:
    """The same domain, with real images."""
    place = tmp_path / "images"
    place.mkdir()
    lines = ['name = "guest1"', f'uuid = "{UUID}"']
    for vdev, name, layout, size, more in (
        ("xvda", "a.qcow2", "qcow2", "8M", ""),
        ("xvdb", "b.raw", "raw", "4M", ""),
        ("hdc", "c.raw", "raw", "1M", "cdrom = true"),
    ):
        subprocess.run([qemu_img, "create", "-q", "-f", layout, place / name, size], check=True)
        lines += ["[[disk]]", f'vdev = "{vdev}"', f'path = "{name}"', f'format = "{layout}"', more]
    (place / "guest1.toml").write_text("\n".join(lines) + "\n")
    return Shell(tmp_path, f"qemu:{place}")


@pytest.fixture(params=["sim", "qemu"])
def both(request) -> Shell:
    """Each of the two hosts in turn; the same commands must do the same."""
    made: Shell = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def golden(tmp_path) -> Callable[[str, str], None]:
    """Hold a text to the one that is kept, less what differs from run to run."""

    def hold(name: str, text: str) -> None:
        text = text.replace(str(tmp_path), "DIR")
        text = re.sub(r"\b[0-9a-f]{12}(?=\.qcow2|')", "OPERATION", text)
        text = re.sub(r"died at effect .*", "died at effect …", text)
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("XENSNAP_GOLDEN") == "write":
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8"), "look at it; if it is right: XENSNAP_GOLDEN=write pytest"

    return hold
