"""Coverage-guided fuzzing of everything that reads text or bytes of others: `nox -s fuzz`.

The first byte chooses the parser. Only our own errors may come out; anything else, and what takes longer than a second,
is a finding, and becomes an example in a property test.
"""

import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["xensnap", "simulator"]):
    from tests.fuzz.readers import READERS
    from xensnap.errors import XensnapError

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
    atheris.Setup(sys.argv, read)
    atheris.Fuzz()
