"""A file of the operator's that is made whole or not at all, and never over another one."""

import os
from contextlib import suppress

from xensnap.errors import ExitCode, NotFound, Reason, Refused
from xensnap.hypervisor import Files


async def install(files: Files, path: str, data: bytes) -> None:
    """Make a new file, whose name is there only once all of it is durable. `FileFailed` with EEXIST: none."""
    half = _half(path)
    with suppress(NotFound):
        await files.remove(half)  # left by one that died
    await files.create(half, data)
    await files.sync(half)
    await files.rename(half, path, replace=False)
    await files.sync_dir(os.path.dirname(path))  # noqa: PTH120 -- paths are text in the model


async def uninstall(files: Files, path: str, data: bytes) -> None:
    """Remove that file, if it is what was installed, and what a death on the way has left. None is fine."""
    for name in (path, _half(path)):
        with suppress(NotFound):
            if name != path or await files.read(name) == data:
                await files.remove(name)
    await files.sync_dir(os.path.dirname(path))  # noqa: PTH120 -- as above


def domain_exists(name: str) -> Refused:
    """The refusal of a domain whose name or UUID is not free."""
    cause = f"there is a domain {name!r} already, or one with its UUID"
    return Refused([Reason("domain-exists", cause, "Choose another name, or give it a new UUID.", ExitCode.BUSY)])


def _half(path: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.new")  # noqa: PTH118 -- as above
