"""Names and paths as they are given on the command line."""

# ruff: noqa: PTH100 -- made absolute, and no link followed: the record keeps the path that its user knows

import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from xensnap.errors import NotFound, Usage
from xensnap.hypervisor import WHOLE_BYTES_MAX

if TYPE_CHECKING:
    from xensnap.engine.engine import Engine


def one_name(option: str | None, positional: str | None, *, needed_by: str = "", current: bool = False) -> str | None:
    """The snapshot's name from `-n` or its place; both are allowed as long as they agree. None with `--current`.

    Raises:
        Usage: they differ, or there is none and a verb needs one, or one beside `--current`.
    """
    if option is not None and positional is not None and option != positional:
        cause = f"two names were given: -n {option!r} and {positional!r}"
        raise Usage(cause, id="two-names", remedy="Give one of them.")
    name = option if option is not None else positional
    if name is not None and current:
        cause = f"--current and the name {name!r} both say which snapshot is meant"
        raise Usage(cause, id="contradiction", remedy="Give one of them.")
    if name is None and needed_by and not current:
        cause = f"{needed_by} needs the name of a snapshot"
        raise Usage(cause, id="name-missing", remedy="`xensnap list DOMAIN` shows the names there are.")
    return name


def current_of(engine: "Engine", domain: str) -> str:
    """The name of the snapshot that a domain is at.

    Raises:
        NotFound: no such domain, or it is at none.
    """
    listing = engine.list(domain)
    if listing.current is None:
        cause = f"{listing.domain.name} is at no snapshot"
        raise NotFound(cause, id="no-current-snapshot", remedy="Name one: `xensnap list` shows which there are.")
    return listing.current


def local_file(path: str) -> bytes:
    """The content of a file on this machine, whatever host is worked on.

    Raises:
        NotFound: there is no such file.
        Usage: it cannot be read, or says more than any text.
    """
    try:
        with Path(path).open("rb") as file:
            return said(file, path)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", id="no-such-file") from error
    except OSError as error:
        raise Usage(f"{path}: {error.strerror}", id="unreadable-file") from error


def said(file: BinaryIO, path: str) -> bytes:
    """All that a file says that somebody has named, or that never ends.

    Raises:
        Usage: it says more than any text.
    """
    data = file.read(WHOLE_BYTES_MAX + 1)
    if len(data) > WHOLE_BYTES_MAX:
        cause = f"{path}: it is larger than {WHOLE_BYTES_MAX >> 20} MiB, which no text is that is read here"
        raise Usage(cause, id="unreadable-file", remedy="Look at what it is.")
    return data


def configuration_file(path: str) -> tuple[str, str]:
    """What a configuration file of this machine says, and where it is, absolute.

    Raises:
        NotFound: there is no such file.
        Usage: it cannot be read, or says nothing.
    """
    try:
        text = local_file(path).decode()
    except UnicodeDecodeError as error:
        cause = f"{path}: no UTF-8 at byte {error.start}"
        raise Usage(cause, id="bad-domain-config", remedy="Correct the file.") from error
    if not text.strip():
        raise Usage(f"{path} is empty", id="bad-domain-config", remedy="Give the configuration of a domain.")
    return text, full_path(path, host="")


def full_path(path: str, *, host: str) -> str:
    """A path that means the same wherever it is used. On a simulated host there is no working directory.

    Raises:
        Usage: it is relative there.
    """
    if path.startswith("/"):
        return os.path.normpath(path)
    if host.startswith("sim"):
        cause = f"{path!r} is relative, and a simulated host has no working directory"
        raise Usage(cause, id="relative-path", remedy=f"Give it from the root on, such as /images/{path}.")
    return os.path.abspath(path)
