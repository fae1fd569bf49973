"""Coverage-guided fuzzing of everything that reads text or bytes of others: `nox -s fuzz`.

The first byte chooses the parser. Only our own errors may come out; anything else, and what takes longer than a second,
is a finding, and becomes an example in a property test.
"""

import sys

import atheris  # type: ignore[import-untyped]

with atheris.instrument_imports(include=["xensnap", "simulator"]):
    from xensnap.engine import journal, plan, state
    from xensnap.errors import XensnapError
    from xensnap.formats import domain_toml, libxl_json, qcow2, savefile, snapshot_record, trashed

PARSERS = (
    lambda data: state.decode(data, path="x"),
    lambda data: snapshot_record.decode(data, path="x"),
    lambda data: trashed.decode(data, path="x"),
    lambda data: plan.decode(data, path="x"),
    lambda data: (journal.decode(data), journal.due(data), journal.torn_bytes(data)),
    lambda data: domain_toml.parse(data.decode(errors="replace"), source="x", fresh_uuid="0" * 36),
    lambda data: (savefile.length(data, path="x"), savefile.parse(data, path="x")),
    lambda data: libxl_json.disks(libxl_json.parse(data, source="x")),
    lambda data: libxl_json.parse_list(data, source="x"),
    lambda data: qcow2.parse_header(data, "x"),
)


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
