"""The second disk: the wheel of this very tree in an environment of its own, and dom0's agent. One for each code."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

from tests.real.xenhost.cache import CannotMake, fingerprint, kept

HERE = Path(__file__).parent
PROJECT = HERE.parents[2]
AGENT = HERE / "recipe" / "agent.py"
WAITING = HERE / "recipe" / "waiting.py"
PYTHON = (3, 11)
"""Debian 12's."""
SIZE_MIB = 128
UNUSED_S_MAX = 3600.0
"""How long what depends on one code is kept: the next change makes another."""


def code_disk(scratch: Path) -> Path:
    """The disk image with the code as it is now, made once for each code."""
    with zipfile.ZipFile(wheel(scratch)) as archive:
        contents = sorted(f"{each.filename} {each.CRC}" for each in archive.infolist())
        key = fingerprint(dependencies().name, AGENT, WAITING, *contents)
        return kept("code", key, lambda directory: write(archive, directory), unused_s_max=UNUSED_S_MAX) / "code.img"


def write(archive: zipfile.ZipFile, directory: Path) -> None:
    """A new disk image in `directory` with this wheel."""
    tree = directory / "code"
    site = tree / "venv" / "lib" / f"python{PYTHON[0]}.{PYTHON[1]}" / "site-packages"
    shutil.copytree(dependencies(), site)
    archive.extractall(site)
    compile_below(site)
    (tree / "venv" / "bin").mkdir()
    (tree / "venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    (tree / "venv" / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    for program in (AGENT, WAITING):
        shutil.copy(program, tree)
    disk_of(tree, directory / "code.img")


def agent_disk(directory: Path) -> Path:
    """The same without the code: what a state is frozen with."""
    tree = directory / "agent"
    tree.mkdir()
    shutil.copy(AGENT, tree)
    return disk_of(tree, directory / "agent.img")


def disk_of(tree: Path, image: Path) -> Path:
    """All images have one size: a thawed machine finds the disk that it was frozen with, but for what is on it."""
    image.unlink(missing_ok=True)
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", tree, image, f"{SIZE_MIB}M")
    shutil.rmtree(tree)
    return image


def wheel(directory: Path) -> Path:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, PROJECT)
    (path,) = directory.glob("*.whl")
    return path


def dependencies() -> Path:
    """What the project needs at run time, for dom0's Python, downloaded once for each list of dependencies.

    And Hypothesis, from which some conformance cases draw.
    """
    with (PROJECT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    more = [each for each in project["optional-dependencies"]["testing"] if each.startswith("hypothesis")]
    wanted: list[str] = [*project["dependencies"], *more]

    def download(site: Path) -> None:
        platform = ["--python-version", f"{PYTHON[0]}.{PYTHON[1]}", "--platform", "manylinux2014_x86_64"]
        words = ["--only-binary", ":all:", *platform, *wanted]
        try:
            run(sys.executable, "-m", "pip", "install", "--target", site, *words)
        except RuntimeError as error:
            raise CannotMake(f"what xensnap needs cannot be downloaded: {error}") from error
        compile_below(site)

    return kept("dependencies", fingerprint("\n".join(wanted)), download)


def compile_below(directory: Path) -> None:
    """Byte code for dom0, which compiles slowly; only where we have the same Python, since only its own will do."""
    ours = sys.executable if sys.version_info[:2] == PYTHON else shutil.which(f"python{PYTHON[0]}.{PYTHON[1]}")
    if ours:
        run(ours, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", directory)


def run(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
