# ruff: noqa: PTH100, PTH115 -- names as they are, links not followed
"""The command line on a directory of real images, and what an operator knows of them from the tools alone."""

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from xensnap.cli.main import main

UUIDS = {
    "guest": "0f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0",
    "other": "1f1e2d3c-4b5a-4978-8796-a5b4c3d2e1f0",
}
MIB = 1 << 20

HONEST = {0, 1, 2, 3, 4, 5, 6, 7}
"""All exit codes that a command may end with when nobody interrupts it."""


@dataclass
class Lab:
    """A directory of real images, the command line on it, and an operator's own tools."""

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    scratch: Path | None = None
    """Where copies go: beside the directory, unless that is small."""

    # The command line --------------------------------------------------------------------------------------------

    @property
    def host(self) -> str:
        return f"qemu:{self.directory}"

    def run(self, *words: str) -> Result:
        """Run a command in this process. It may fail, but with words of its own and a code that means something."""
        environment = {"XENSNAP_HOST": self.host, "COLUMNS": "100", **self.environment}
        result = CliRunner().invoke(main, [*words], env=environment)
        assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
        honest(words, result.exit_code, result.output)
        return result

    def ok(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 0, (words, result.output)
        return result.stdout

    def json(self, *words: str) -> Any:
        return json.loads(self.ok(*words, "--json"))

    def error(self, *words: str) -> Any:
        """The error document of a command that fails; it has a cause, and a refusal says what to do instead."""
        result = self.run(*words, "--json")
        assert result.exit_code != 0, (words, result.output)
        document = json.loads(result.stdout)
        assert document["exit_code"] == result.exit_code
        assert document["id"], document
        assert document["cause"], document
        return document

    def refused(self, *words: str, changing: bool = False) -> Any:
        """The error document of a command that changes nothing, whatever it is about."""
        before = self.everything()
        document = self.error(*words)
        assert document["effect"] == "none", document
        assert document["exit_code"] in {1, 2, 3, 4, 6}, document
        assert document["remedy"], document
        assert self.everything() == before
        return document

    def snapshots(self, domain: str = "guest") -> list[str]:
        return [each["name"] for each in self.json("list", domain)["snapshots"]]

    # The operator ------------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        return self.directory / name

    def image(self, name: str, size: str = "4M", format: str = "qcow2", **options: object) -> Path:
        """A new image with something in it."""
        path = self.path(name)
        given = ",".join(f"{key}={value}" for key, value in options.items())
        tool("qemu-img", "create", "-q", "-f", format, *(["-o", given] if given else []), str(path), size)
        if not options.keys() & {"backing_file"}:
            self.write(path, 1, format=format)
        return path

    def describe(self, domain: str = "guest", *disks: tuple[str, str], **more: str) -> Path:
        """A domain file, with disks xvda, xvdb … at these paths and of these formats."""
        lines = [f"name = {json.dumps(domain)}", f'uuid = "{UUIDS.get(domain, UUIDS["guest"])}"']
        for number, (path, format) in enumerate(disks):
            vdev = f"xvd{'abcdefgh'[number]}"
            lines += ["[[disk]]", f'vdev = "{vdev}"', f"path = {json.dumps(path)}", f'format = "{format}"']
        written = self.path(f"{more.get('file', domain)}.toml")
        written.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return written

    def write(self, path: Path, number: int, *, format: str = "qcow2", at: str = "0", length: str = "64k") -> None:
        """What a guest would write."""
        tool("qemu-io", "--image-opts", "-c", f"write -q -P {number} {at} {length}", options(path, format))

    def tag(self, path: Path, name: str) -> None:
        tool("qemu-img", "snapshot", "--image-opts", "-c", name, options(path, "qcow2"))

    def tags(self, path: Path) -> list[tuple[str, str]]:
        return [(each["id"], each["name"]) for each in self.info(path).get("snapshots", [])]

    def info(self, path: Path) -> Any:
        return json.loads(tool("qemu-img", "info", "--output=json", str(path)).stdout)

    def active(self, domain: str = "guest", vdev: str = "xvda") -> tuple[Path, str]:
        """Path and format of what the domain starts from, by its file."""
        (disk,) = [disk for disk in self.disks(domain) if disk["vdev"] == vdev]
        return self.directory / disk["path"], disk["format"]

    def disks(self, domain: str = "guest") -> Any:
        """The disks of the domain's file; files may have been renamed."""
        read = [tomllib.loads(path.read_text(encoding="utf-8")) for path in self.directory.glob("*.toml")]
        (described,) = [each for each in read if each["name"] == domain]
        return described["disk"]

    def guest_writes(self, number: int, domain: str = "guest", vdev: str = "xvda", **where: str) -> None:
        path, format = self.active(domain, vdev)
        self.write(path, number, format=format, **where)

    def content(self, path: Path, format: str = "qcow2") -> str:
        """A hash of everything that an image shows."""
        target = (self.scratch or self.directory.parent) / "content.tmp"
        tool("qemu-img", "convert", "--image-opts", "-O", "raw", options(path, format), str(target))
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        target.unlink()
        return digest

    def held(self, path: Path, tag: str) -> str:
        """A hash of everything that an internal snapshot holds."""
        target = (self.scratch or self.directory.parent) / "held.tmp"
        tool("qemu-img", "convert", "-l", tag, "-f", "qcow2", "-O", "raw", str(path), str(target))
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        target.unlink()
        return digest

    def shown(self, domain: str = "guest") -> dict[str, str]:
        """What the domain's disks show."""
        return {
            disk["vdev"]: self.content(self.directory / disk["path"], disk["format"]) for disk in self.disks(domain)
        }

    def copy(self, path: Path, format: str = "qcow2") -> Path:
        """A raw copy of what an image shows, to compare with later."""
        place = self.scratch or self.directory.parent
        target = place / f"copy-{len(list(place.glob('copy-*')))}"
        tool("qemu-img", "convert", "--image-opts", "-O", "raw", options(path, format), str(target))
        return target

    def same(self, path: Path, copy: Path, format: str = "qcow2") -> bool:
        """Whether an image shows what it showed when the copy was taken."""
        words = ["qemu-img", "compare", "-f", format, "-F", "raw", os.path.abspath(path), str(copy)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.stdout == "Images are identical.\n"  # there is a warning before it where the sizes differ

    def clean(self, path: Path) -> bool:
        """Whether qemu-img finds no leak and no error in an image."""
        done = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(path)], check=False, capture_output=True)
        return done.returncode == 0

    def everything(self) -> Mapping[str, tuple[object, ...]]:
        """Every file by name, mode, inode and content, but for the locks: taking one is no change."""
        return {
            str(path.relative_to(self.directory)): fingerprint(path)
            for path in sorted(self.directory.rglob("*"))
            if (path.is_file() or path.is_symlink()) and path.name != "lock"
        }

    def files(self) -> set[str]:
        """Names of the files beside the store."""
        return {path.name for path in self.directory.iterdir() if not path.is_dir()}

    def sound(self) -> None:
        """All qcow2 images that were not left behind by a stranger are whole."""
        for path in self.directory.iterdir():
            if path.suffix == ".qcow2":
                assert self.clean(path), path


def fingerprint(path: Path) -> tuple[object, ...]:
    found = path.lstat()
    inside = os.readlink(path) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
    return (found.st_ino, found.st_mode, inside)


def honest(words: object, code: int, output: str) -> None:
    """However a command ends: in words, never in a traceback, and with a code that has a meaning."""
    assert code in HONEST, (words, code, output)
    assert "Traceback" not in output, (words, output)
    assert "internal error" not in output, (words, output)


def options(path: Path, format: str) -> str:
    """An image as the tools take it whatever it is called."""
    name = os.path.abspath(path).replace(",", ",,")
    return f"driver={format},file.driver=file,file.filename={name}"


def tool(*words: str, **how: Any) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False, **how)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done


def command(*words: str) -> list[str]:
    """The command line as a process of its own."""
    return [sys.executable, "-m", "xensnap.cli", *words]
