"""What takes long to make is made once, outside the project, and kept under a name that tells what it was made of."""

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

UNUSED_S_MAX = 14 * 86400.0


class CannotMake(Exception):
    """It cannot be made on this machine: a tool is missing, or the network."""


def place() -> Path:
    """The directory: `XENSNAP_XEN_CACHE`, else `xensnap/xenhost` in the user's cache. Several gigabytes."""
    if chosen := os.environ.get("XENSNAP_XEN_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xensnap" / "xenhost"


def fingerprint(*parts: str | bytes | Path) -> str:
    """What these texts and files are, as sixteen hexadecimal digits. Of a directory, all files below count."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            files = sorted(path for path in part.rglob("*") if path.is_file()) if part.is_dir() else [part]
            data = b"".join(path.name.encode() + path.read_bytes() for path in files)
        else:
            data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:16]


def kept(kind: str, key: str, make: Callable[[Path], None], *, unused_s_max: float = UNUSED_S_MAX) -> Path:
    """A directory that `make` has filled completely, once; whoever comes meanwhile waits for it.

    Others of this kind are removed once nobody has asked for them for so long.
    """
    directory = place()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    final, half = directory / f"{kind}-{key}", directory / f"{kind}-{key}.half"
    with locked(directory / f"{kind}.lock"):
        if not final.exists():
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()
            make(half)
            half.rename(final)
        os.utime(final)
        for other in unused(directory, kind, unused_s_max):
            shutil.rmtree(other)
    return final


def unused(directory: Path, kind: str, unused_s_max: float) -> Iterator[Path]:
    """What of this kind nobody has asked for in that time."""
    for path in directory.glob(f"{kind}-*"):
        if path.is_dir() and time.time() - path.stat().st_mtime > unused_s_max:
            yield path


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone, among all processes that ask for this path."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
