"""Results and errors as they are shown: text for people, one JSON document for programs."""

import errno
import time
import unicodedata
from typing import TYPE_CHECKING

import click
import msgspec

from xensnap.cli.documents.parts import ErrorDocument, ReasonDocument
from xensnap.errors import ExitCode, FileFailed, Reason, Refused, XensnapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xensnap.cli.documents.every import Document


def to_json(document: "Document") -> str:
    """The document as text, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def utc(time_s: int) -> str:
    """A moment for programs: ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time_s))


def local(time_s: int) -> str:
    """A moment for people, where they are."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_s))


def size(number_bytes: int) -> str:
    """Bytes in the largest unit that fits."""
    value, unit = float(number_bytes), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{number_bytes} B" if unit == "B" else f"{value:.1f} {unit}".replace(".0 ", " ")


def table(header: "Sequence[str]", rows: "Iterable[Sequence[str]]") -> str:
    """Columns, each as wide as its widest cell."""
    lines = [header, *rows]
    widths = [max(columns(line[at]) for line in lines) for at in range(len(header))]
    return "\n".join(
        "  ".join(cell + " " * (width - columns(cell)) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def csv(header: "Sequence[str]", rows: "Iterable[Sequence[str]]") -> str:
    """Comma-separated values, quoted where they have to be."""
    import csv as written
    import io

    text = io.StringIO()
    writer = written.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def columns(text: str) -> int:
    """How wide a terminal shows it: East Asian characters take two columns, combining ones none."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


# --- Errors ----------------------------------------------------------------------------------------------------------


BY_SYSTEM = {
    errno.EACCES: "Work as a user who may do that, on most hosts root.",
    errno.EPERM: "Work as a user who may do that, on most hosts root.",
    errno.ENOSPC: "Make room there.",
    errno.EDQUOT: "Make room there.",
    errno.EROFS: "It is mounted read-only: mount it for writing, or name another place.",
}
"""What to do about a file operation that failed, where the reason of the system alone says it."""


def remedy_of(error: XensnapError | Reason) -> str:
    """What to do: as whoever met the error says it, else as `explain` says it of all of its kind.

    Nothing more is said to whoever has pressed Ctrl-C: the cause tells how it ended.
    """
    if error.remedy or error.exit_code is ExitCode.INTERRUPTED:
        return error.remedy
    if isinstance(error, FileFailed) and error.errno in BY_SYSTEM:
        return BY_SYSTEM[error.errno]
    from xensnap.cli.explanations import EXPLANATIONS

    return EXPLANATIONS.get(error.id, ("", ""))[1]


def error_document(error: XensnapError, *, host: str, exit_code: int) -> ErrorDocument:
    """What is known of an error, for programs."""
    reasons = error.reasons if isinstance(error, Refused) else ()
    return ErrorDocument(
        id=error.id,
        cause=clean(error.cause),
        remedy=clean(remedy_of(error)),
        reasons=tuple(ReasonDocument(each.id, clean(each.cause), clean(remedy_of(each))) for each in reasons),
        effect=error.effect.value,
        exit_code=exit_code,
        host=clean(host),
    )


def error_text(error: XensnapError) -> str:
    """What was wrong and where, and what to do about it; every reason of a refusal, by id where there are several."""
    reasons = error.reasons if isinstance(error, Refused) else ()
    if len(reasons) < 2:
        return f"xensnap: {clean(error.cause)}{_remedy(error.cause, remedy_of(error))}"
    lines = [f"xensnap: refused for {len(reasons)} reasons; nothing was touched"]
    lines += [f"  {each.id}: {clean(each.cause)}{_remedy(each.cause, remedy_of(each), indent=4)}" for each in reasons]
    return "\n".join(lines)


def _remedy(cause: str, remedy: str, *, indent: int = 2) -> str:
    """The remedy on a line of its own, unless the cause says it already."""
    return f"\n{' ' * indent}→ {clean(remedy)}" if remedy and remedy not in cause else ""


def clean(text: str) -> str:
    """The text with what a terminal or JSON cannot take written out: control characters, and bytes that are no text."""
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def tell(error: XensnapError, *, host: str, exit_code: int, as_json: bool) -> None:
    """Show an error where it belongs: a document on stdout, or words on stderr."""
    if as_json:
        click.echo(to_json(error_document(error, host=host, exit_code=exit_code)), nl=False)
    else:
        click.echo(error_text(error), err=True)
