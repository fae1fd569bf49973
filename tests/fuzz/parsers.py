"""Coverage-guided fuzzing of everything that reads text or bytes of others: `nox -s fuzz`.

The first byte chooses the parser. Only our own errors may come out; anything else, and what takes too long or too much
memory, is a finding, and becomes an example in a property test.
"""

import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["xensnap", "simulator"]):
    from tests.fuzz.readers import READERS
    from xensnap.errors import XensnapError

LIMITS = ("-timeout=5", "-rss_limit_mb=1024")
"""Seconds for one input, beside other work, and megabytes that the process may grow to; arguments may say other."""

PARSERS = tuple(READERS.values())


def read(data: bytes) -> None:
    """One input."""
    if not data:
        return
    try:
        PARSERS[data[0] % len(PARSERS)](data[1:])
    except XensnapError:
        return


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], read)
    atheris.Fuzz()
