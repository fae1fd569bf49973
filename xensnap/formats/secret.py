"""What must be in no message, plan summary or log: passwords in configurations. Pure.

libxl calls them `passwd` (of VNC and SPICE), xl.cfg `vncpasswd` and `spicepasswd`, alone or in the text of a `vfb`. In
what is passed on to QEMU there may be `-object secret,…` or `password=…` (xl.cfg(5) of Xen 4.17, qemu(1) of 7.2).
"""

import re

_SECRET = re.compile(r"passw|secret|credential", re.IGNORECASE)
_NOTHING = frozenset({"", '""', "null", "None", "unset"})

_KEY = re.compile(r"[-+ ]?\s*(\"[^\"]*\"\s*:\s*|[\w.]+\s*=\s*)?")

HIDDEN = "(not shown)"


def shown(key: str, value: str, *, length_max: int = 0) -> str:
    """A setting's value as it may be told to anybody: without what looks like a password, and not longer than this.

    Args:
        key: its name, or its path in a whole.
        value: as text.
        length_max: characters; 0 for all of them.
    """
    if value not in _NOTHING and (_SECRET.search(key) or _SECRET.search(value)):
        return HIDDEN
    return value if not length_max or len(value) <= length_max else f"{value[:length_max]}…"


def is_in(text: str) -> bool:
    """Whether there is anything in a text that looks like a password."""
    return bool(_SECRET.search(text))


def line_shown(line: str) -> str:
    """The same of one line of a configuration, or of a comparison of two: of a secret one only how it begins."""
    key = _KEY.match(line)
    return f"{key[0] if key else ''}{HIDDEN}" if _SECRET.search(line) else line
