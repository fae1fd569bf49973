"""Which effect a file operation is: named by what the file is for, as its name tells (design: formats and places)."""

import posixpath
from functools import lru_cache

from simulator.core.effects import Effect, declare

ROLES = {
    "journal": "the journal of a domain",
    "lock": "a lock file",
    "record": "a snapshot record",
    "domain": "the store's file about a domain",
    "sidecar": "the copy of a record beside its overlay",
    "memory": "a memory file",
    "image": "a disk image",
    "file": "any other file",
    "dir": "a directory",
}

_WRITING = {
    "create": "made anew",
    "replace": "replaced at once",
    "append": "added to",
    "write-part": "written over in part",
    "fsync": "made durable",
    "rename": "given another name",
    "remove": "unlinked",
    "set-flag": "made immutable or changeable",
    "take": "locked",
    "release": "unlocked",
}
_READING = {
    "read": "read",
    "stat": "looked at",
    "flag": "asked for its immutable flag",
    "generation": "asked for its generation",
    "free": "asked for free space",
}

_IMAGE_SUFFIXES = (".qcow2", ".img", ".raw", ".q2", ".disk")


@lru_cache(maxsize=4096)
def role(path: str) -> str:
    """What the file under this name is for."""
    name = posixpath.basename(path)
    # `replace` writes a hidden sibling first; to the effect it is the file that it becomes.
    if name.startswith(".") and name.endswith(".new"):
        name = name[1:-4]
    if name == "journal":
        return "journal"
    if name == "lock":
        return "lock"
    if name.startswith("snapshotdata-"):
        return "record"
    if name == "domain.libxl-json":
        return "domain"
    if name.endswith(".xensnap.json"):
        return "sidecar"
    if name.endswith(".save"):
        return "memory"
    return "image" if name.endswith(_IMAGE_SUFFIXES) else "file"


EFFECTS: dict[tuple[str, str], Effect] = {
    (kind, verb): declare(f"{kind}.{verb}", f"{what} is {done}", writes=writes)
    for kind, what in ROLES.items()
    for verbs, writes in ((_WRITING, True), (_READING, False))
    for verb, done in verbs.items()
    if kind != "dir"
}
DIR_CREATE = declare("dir.create", "a directory is made", writes=True)
DIR_FSYNC = declare("dir.fsync", "the names in a directory are made durable", writes=True)
DIR_READ = declare("dir.read", "the names in a directory are read", writes=False)
DIR_FREE = declare("dir.free", "a file system is asked for free space", writes=False)


def effect(path: str, verb: str) -> Effect:
    """The effect of doing this to the file under this name."""
    return EFFECTS[role(path), verb]
