"""Records as the implementation of July 2014 wrote them: its `libxl_domain_snapshot` as JSON. Pure, and read only.

Unlike ours they do not say of which domain they tell, nor in which image a snapshot is (`path` is blank): they are as
good as a description by somebody else, and are held to the images like one.
"""

import msgspec

from xensnap.errors import Usage

BYTES_MAX = 1 << 20


class RecordDisk(msgspec.Struct, frozen=True):
    """One disk: internal where `file` is empty, else `file` is the overlay."""

    device: str
    name: str = ""
    file: str = ""


class Record(msgspec.Struct, frozen=True):
    """One snapshot. `memory` is empty for one of disks alone."""

    name: str
    description: str = ""
    creation_time: int = 0
    memory: str = ""
    running: bool = False
    blocked: bool = False
    paused: bool = False
    disks: tuple[RecordDisk, ...] = ()


_DECODER = msgspec.json.Decoder(Record)


def parse(data: bytes, *, source: str) -> Record:
    """Read one record.

    Raises:
        Usage: id `bad-record`: no JSON, or not of this kind; the cause has the JSON path.
    """
    if len(data) > BYTES_MAX:
        raise _bad(source, f"{len(data)} bytes are no record")
    try:
        return _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(source, str(error)) from error


def _bad(source: str, what: str) -> Usage:
    remedy = "It is neither libvirt's XML nor a record of 2014."
    return Usage(f"{source}: {what}", id="bad-record", remedy=remedy)
