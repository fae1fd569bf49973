"""A snapshot in the trash, as text: since when it is there, and its record as it was."""

import msgspec

from xensnap.errors import Damaged
from xensnap.formats import snapshot_record
from xensnap.model import Snapshot


class Trashed(msgspec.Struct, frozen=True):
    """A snapshot that was thrown away, and when: seconds since the epoch.

    `given_up_for` is set where nobody has thrown it away: a revert to the snapshot of that name gave it up.
    """

    since_s: int
    snapshot: Snapshot
    given_up_for: str = ""


class _Text(msgspec.Struct, frozen=True, omit_defaults=True):
    since: int
    record: msgspec.Raw
    given_up_for: str = ""


_DECODER = msgspec.json.Decoder(_Text)


def encode(trashed: Trashed) -> bytes:
    """The file's text."""
    text = _Text(trashed.since_s, msgspec.Raw(snapshot_record.encode(trashed.snapshot)), trashed.given_up_for)
    return msgspec.json.format(msgspec.json.encode(text), indent=4) + b"\n"


def decode(text: bytes, *, path: str) -> Trashed:
    """Read it. `Damaged` names the JSON path of what is wrong."""
    try:
        read = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"{path}: {error}", path=path, remedy="Put it back from a backup.") from error
    return Trashed(read.since, snapshot_record.decode(bytes(read.record), path=path), read.given_up_for)
