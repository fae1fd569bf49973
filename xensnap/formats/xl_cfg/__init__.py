r"""The syntax of xl's configuration files, read as libxlutil reads it, down to its error messages. Pure.

    name = "before-update"
    disk = [ '/images/over.qcow2,qcow2,hda',    # comments and line breaks are fine inside a list
             ',,hdb' ]
    disk += [ 'hdc' ]

libxlutil's parser is made by flex and bison. Here lark makes the tokens and the LALR table from the grammar below, and
a few lines drive it the way bison does (default reductions, recovery at the end of the line, one message for each
mistake), because the wording of a message follows from that. Held to the real library by `tests/parity`.

Read, although libxlutil refuses it, each with a warning: a byte order mark, carriage returns at line ends, a comment on
a last line that does not end. Read properly, although libxlutil gets it wrong: the escapes `\xHH` and `\ooo`.
"""

from xensnap.errors import Usage
from xensnap.formats.xl_cfg.config import Config, Setting, Value
from xensnap.formats.xl_cfg.grammar import grammar
from xensnap.formats.xl_cfg.reader import Reader

__all__ = ["Config", "Setting", "Value", "parse"]

_PYTHON = (
    "warning: Config file looks like it contains Python code.",
    "warning:  Arbitrary Python is no longer supported.",
    "warning:  See https://wiki.xen.org/wiki/PythonInXlConfig",
)


def parse(text: str, *, source: str) -> Config:
    """Read a configuration file.

    Args:
        text: its content.
        source: its name, for the messages.

    Raises:
        Usage: id `bad-config`; the cause has all messages, one on each line, in the words of libxlutil.
    """
    text, warnings = _tolerated(text, source)
    reader = Reader(source)
    for token in grammar().lark.lex(text):
        reader.take(token)
    reader.end()
    if reader.messages:
        told = [*reader.messages, *(_PYTHON if reader.likely_python else ())]
        raise Usage("\n".join(told), id="bad-config", remedy="The syntax is that of xl.cfg(5).")
    return Config(source, reader.settings, (*warnings, *reader.warnings))


def _tolerated(text: str, source: str) -> tuple[str, list[str]]:
    """The text as libxlutil would read it, and what it would have stumbled over."""
    warnings: list[str] = []
    if text.startswith("\ufeff"):
        text = text[1:]
        warnings.append(f"{source}:1: xl would stumble over the byte order mark at the beginning")
    if "\r\n" in text:
        line = text[: text.index("\r\n")].count("\n") + 1
        text = text.replace("\r\n", "\n")
        warnings.append(f"{source}:{line}: xl would stumble over the carriage return at the end of the line")
    return text, warnings
