"""Names of snapshots, and the file names made from them. Pure."""

import re
from itertools import count

from xensnap.errors import ExitCode, Reason

NAME_BYTES_MAX = 200
"""So that the longest record name stays below the 255 bytes of a file name, with room for our prefix and suffix."""

_OVERLAY = re.compile(r"\.[^.]+\.[0-9a-f]{12}\.qcow2\Z")
_TRASHED = "trashed-d."
_SIDECAR = ".xensnap.json"
_RECORD = re.compile(r"snapshotdata-(?:d\.)?(?P<name>.+?)\.(?:libxl-json|xl)\Z", re.DOTALL)


NEW_FILE = ".new"
"""How what `Files.replace` is writing ends."""

SAFETY = "xensnap-safety-"
"""What the tag of a revert's safety point begins with; the operation's id follows."""


def problem(name: str) -> Reason | None:
    """Why this cannot be the name of a snapshot, or None.

    A name becomes part of file names and a tag in qcow2 images, so it must not lead out of a directory, look like an
    option, or be longer than what all of them can hold.
    """
    if not name:
        return _bad(name, "it is empty")
    if name[0] in ".-":
        return _bad(name, f"it begins with {name[0]!r}")
    if "/" in name:
        return _bad(name, "it contains '/'")
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in name):
        return _bad(name, "it contains a control character")
    try:
        encoded = encode(name).encode()
    except UnicodeEncodeError:
        return _bad(name, "it is not valid text")
    if len(encoded) > NAME_BYTES_MAX:
        return _bad(name, f"it needs {len(encoded)} bytes and {NAME_BYTES_MAX} are allowed")
    return None


def _bad(name: str, why: str) -> Reason:
    shown = name if len(name) <= 40 else name[:40] + "…"
    return Reason(
        "bad-name",
        f"{shown!r} cannot name a snapshot: {why}",
        f"Use 1 to {NAME_BYTES_MAX} bytes of text without '/', control characters or a leading '.' or '-'.",
    )


def encode(name: str) -> str:
    """The name as part of a file name; only `%` has to give way, everything else unsafe is refused."""
    return name.replace("%", "%25")


def record_file(name: str) -> str:
    """File name of the record of a snapshot."""
    return f"snapshotdata-d.{encode(name)}.libxl-json"


def older_record_files(name: str) -> tuple[str, ...]:
    """The other two file names that the 2014 documents give to the record of a snapshot."""
    return f"snapshotdata-{encode(name)}.libxl-json", f"snapshotdata-{encode(name)}.xl"


def is_record(file_name: str) -> bool:
    """Whether a file in the store is a record, in any of the three forms that the 2014 documents use.

    `snapshotdata-n.…` is a record that was being written.
    """
    return bool(_RECORD.match(file_name)) and not file_name.startswith("snapshotdata-n.")


def trashed_file(name: str) -> str:
    """File name of the record of a snapshot in the trash."""
    return f"{_TRASHED}{encode(name)}.libxl-json"


def is_trashed(file_name: str) -> bool:
    """Whether a file in the store is a record in the trash."""
    return file_name.startswith(_TRASHED) and file_name.endswith(".libxl-json")


def sidecar_file(image_path: str, *, directory: str) -> str:
    """Path of the copy of a record that is kept beside the overlay of a frozen image."""
    return f"{directory}/{image_path.rpartition('/')[2]}{_SIDECAR}"


def is_sidecar(path: str) -> bool:
    """Whether this is what a copy of a record beside an image is called."""
    return path.endswith(_SIDECAR)


def is_overlay(path: str) -> bool:
    """Whether this is what we call overlays, so that most likely nobody else has made it."""
    return bool(_OVERLAY.search(path))


def made_by(path: str) -> str:
    """The end of the id of the operation that an overlay bears in its name."""
    return path.rpartition(".")[0].rpartition(".")[2]


def half_written(path: str) -> str:
    """What `Files.replace` calls this file while it writes it; a crash can leave one."""
    place, _, name = path.rpartition("/")
    return f"{place}/.{name}{NEW_FILE}"


def is_half_written(path: str) -> bool:
    """Whether this is what a copy of a record is called while it is written."""
    return path.rpartition("/")[2].startswith(".") and path.endswith(f"{_SIDECAR}{NEW_FILE}")


def overlay_file(base_path: str, *, vdev: str, operation: str, directory: str) -> str:
    """A name for an overlay that nobody has used or will use: it carries the id of the operation that makes it.

    An overlay of an overlay is named after the same base, so that names do not grow with the chain.
    """
    name = base_path.rpartition("/")[2]
    stem = _OVERLAY.sub("", name) if _OVERLAY.search(name) else name.rpartition(".")[0] or name
    stem = stem.encode()[:100].decode(errors="ignore")
    return f"{directory}/{stem}.{vdev}.{operation[-12:]}.qcow2"


def disk_file(domain: str, *, vdev: str, operation: str, directory: str) -> str:
    """A name for a disk of a new domain that nobody has used or will use, as those of overlays."""
    stem = domain.replace("/", "_").encode()[:100].decode(errors="ignore")
    return f"{directory}/{stem}-{vdev}-{operation[-12:]}.qcow2"


def domain_problem(name: str) -> Reason | None:
    """Why no new domain of ours can be called this: the name goes into file names, and into files for xl.

    A string in a file for xl cannot hold both kinds of quotes, and knows no escapes.
    """
    bad = problem(name)
    if bad is None and not any(char in name for char in "'\"\\") and name.isprintable():
        return None
    remedy = "Use printable text without '/', quotes, or a leading '.' or '-'."
    return Reason("bad-domain-name", f"no domain can be called {name!r} here", remedy, ExitCode.USAGE)


def free_tag(name: str, taken: frozenset[str]) -> str:
    """The tag for a snapshot: its name, or with the first suffix that is free in the image."""
    return next(tag for number in count(1) if (tag := f"{name}{_suffix(number)}") not in taken)


def free_memory(stem: str, taken: frozenset[str]) -> str:
    """The memory file of a snapshot: its own name, or with the first suffix that no other snapshot has."""
    return next(path for number in count(1) if (path := f"{stem}{_suffix(number)}.save") not in taken)


def _suffix(number: int) -> str:
    return "" if number == 1 else f"~{number}"


def default_name(now_s: int, taken: frozenset[str]) -> str:
    """The epoch second, as the 2014 design has it; a second one within the same second gets `-1`, and so on."""
    name = str(now_s)
    number = 0
    while name in taken:
        number += 1
        name = f"{now_s}-{number}"
    return name
