"""What new domains on real hosts have in common: a description that is there whole or not at all, over no other."""

import os
from collections.abc import Iterable
from contextlib import suppress
from errno import EEXIST

from xensnap.errors import ExitCode, FileFailed, NotFound, Reason, Refused
from xensnap.hypervisor import Files
from xensnap.model import Domain


async def install(files: Files, path: str, data: bytes) -> None:
    """Make a new file, whose name is there only once all of it is durable; one that holds just this is fine.

    `FileFailed` with EEXIST: none, another file has the name.
    """
    directory, name = os.path.split(path)
    half = os.path.join(directory, f".{name}.new")  # noqa: PTH118 -- paths are text in the model
    with suppress(NotFound):
        await files.remove(half)  # left by one that died
    if not await require_free(files, path, data):
        await files.create(half, data)
        await files.sync(half)
        await files.rename(half, path, replace=False)
    await files.sync_dir(directory)


async def require_free(files: Files, path: str, data: bytes) -> bool:
    """Whether the file is there already, with just this in it. `FileFailed` with EEXIST where it is another one."""
    if await files.stat(path) is None:
        return False
    if await files.read(path) != data:
        raise FileFailed(f"{path} exists already, and is another file", path=path, errno=EEXIST)
    return True


def require_unknown(domain: Domain, known: Iterable[Domain]) -> None:
    """`Refused` with id `domain-exists` where one of these has the name or the UUID of the new domain."""
    if any(other.uuid == domain.uuid or other.name == domain.name for other in known):
        cause = f"there is a domain {domain.name!r} already, or one with its UUID"
        raise Refused([Reason("domain-exists", cause, "Choose another name, or give it a new UUID.", ExitCode.BUSY)])
