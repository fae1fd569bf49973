"""Our parsers of xl's two syntaxes beside libxlutil itself: values, outcome and every message, on texts made to differ.

What libxlutil gets wrong, and we do not follow, is named here and nowhere hidden: `reason_to_differ` tells of a text
why the two answers may not be the same, and `test_the_known_differences_are_still_there` that each is still there.
"""

import json
import os
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.parity import libxlutil
from xensnap.errors import Usage
from xensnap.formats import disk_spec, libxl_json, xl_cfg
from xensnap.formats.device_disk import DeviceDisk
from xensnap.model import Format, Layer

pytestmark = pytest.mark.real

EXAMPLES = max(500, settings().max_examples)
"""HYPOTHESIS_PROFILE=deep tries twenty times as many."""


@pytest.fixture(scope="module")
def oracle() -> Iterator[libxlutil.Oracle]:
    """libxlutil in a process of its own."""
    if not libxlutil.available():
        reason = f"capability missing: no {libxlutil.NAME}; on Debian 12: apt-get install libxenmisc4.17"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}; with CI=true nothing real may be skipped", pytrace=False)
        pytest.skip(reason)
    with libxlutil.Oracle() as asked:
        yield asked


def words(text: str) -> list[str]:
    return text.split()


# Configuration files -------------------------------------------------------------------------------------------------

KEYS = ["a", "b", "c.d"]
ATOMS = st.sampled_from(
    [
        "1",
        "0",
        "010",
        "0x1f",
        "12f",
        '"x"',
        "'y z'",
        '"-1"',
        "' 7'",
        '"7 "',
        r'"\n\"\\"',
        '""',
        '"0x"',
        "99999999999999999999",
    ]
)
LISTS = st.recursive(
    st.just("[]"),
    lambda inner: (
        st.lists(ATOMS | inner, min_size=1, max_size=3).flatmap(
            lambda items: st.sampled_from([", ", ",", ",\n", "\n , # why\n "]).map(
                lambda comma: f"[{comma.join(items)}{comma}]"
            )
        )
        | st.lists(ATOMS | inner, min_size=1, max_size=3).map(lambda items: f"[\n{','.join(items)}\n# end\n]")
    ),
    max_leaves=4,
)
ASSIGNMENTS = st.tuples(
    st.sampled_from(KEYS),
    st.sampled_from(["=", " = ", "+=", " += "]),
    ATOMS | LISTS,
    st.sampled_from(["\n", ";", " # c\n", " ; \n", "\n\n"]),
).map("".join)
PIECES = st.sampled_from(
    [
        "a",
        "b",
        "c.d",
        "=",
        "+=",
        "[",
        "]",
        ",",
        ";",
        "\n",
        " ",
        "\t",
        "#c\n",
        "$",
        "(",
        "-1",
        "'",
        '"',
        r'"\q"',
        "A",
        ".",
        "\\",
        "\x7f",
        "\x80",
        "1",
        '"s"',
    ]
)


@st.composite
def damaged(draw: st.DrawFn, texts: st.SearchStrategy[str], pieces: st.SearchStrategy[str]) -> str:
    """A text with up to three pieces put in or over what was there."""
    text = draw(texts)
    for piece in draw(st.lists(pieces, max_size=3)):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + piece + text[at + draw(st.integers(0, 2)) :]
    return text


CONFIGS = damaged(st.lists(ASSIGNMENTS, max_size=5).map("".join), PIECES) | st.lists(PIECES, max_size=14).map("".join)


def reason_to_differ_in_a_file(text: str) -> str:
    """What libxlutil gets wrong in this text; empty where it does nothing wrong."""
    if re.search(r"""#[^\n]*\Z""", text):
        return "a comment on a last line without end, which we read"
    if re.search(r"""[^ \t\n]\Z""", text) and not re.search(r"""[a-z0-9\[\],;=]\Z""", text):
        # A quote may close a string, and then all is well; it may as well be the one that nobody reads.
        return "a last character that nobody reads, which it takes for nothing"
    if re.search(r"\\[x0-7]", text):
        return "numerical escapes, which it cannot read"
    return ""


def in_our_lines(messages: str) -> str:
    """Line breaks that come unexpectedly count for libxlutil as those of the line before."""
    return re.sub(
        r"^SRC:(\d+)(: config parsing error near .*unexpected NEWLINE)",
        lambda match: f"SRC:{int(match[1]) + 1}{match[2]}",
        messages,
        flags=re.MULTILINE,
    )


def our_config(text: str) -> tuple[xl_cfg.Config | None, str]:
    try:
        return xl_cfg.parse(text, source="SRC"), ""
    except Usage as error:
        return None, f"{error.cause}\n"


@settings(max_examples=EXAMPLES)
@given(CONFIGS)
def test_a_configuration_file_is_read_as_libxlutil_reads_it(oracle, text) -> None:
    assume(not reason_to_differ_in_a_file(text))
    theirs = oracle.config(text.encode("latin-1"), keys=KEYS)
    config, messages = our_config(text)
    assert messages == (in_our_lines(theirs["messages"]) if theirs["code"] else "")
    if config is not None:
        assert {key: asked(config, key) for key in KEYS} == theirs["values"]


def asked(config: xl_cfg.Config, key: str) -> dict[str, Any]:
    """What all getters say of a key, in the oracle's form: `errno` and value."""
    getters = {
        "string": lambda: config.string(key),
        "list": lambda: config.items(key),
        "number": lambda: config.number(key),
        "bounded": lambda: config.number(key, minimum=0, maximum=100),
    }
    found: dict[str, Any] = {}
    for name, get in getters.items():
        try:
            value = get()
        except Usage as error:
            found[name] = [34 if "out of range" in error.cause else 22, None]
        else:
            found[name] = [3, None] if value is None else [0, value]
    return found


def test_what_getters_complain_of_is_told_in_the_same_words(oracle) -> None:
    text = b"a=[1]\nb='x'\nc.d=200\n"
    theirs = set(oracle.config(text, keys=KEYS)["messages"].splitlines())
    config = xl_cfg.parse(text.decode(), source="SRC")
    ours = set()
    for key in KEYS:
        for get in (config.string, config.items, config.number, lambda key: config.number(key, minimum=0, maximum=100)):
            try:
                get(key)
            except Usage as error:
                ours.add(error.cause.replace(": ", ": warning: ", 1))
    assert ours == theirs
    assert len(ours) == 5


# Disk specifications -------------------------------------------------------------------------------------------------

NAMES = words(
    """format= vdev= access= target= backend= backendtype= specification= script= devtype= colo-port= colo-host=
    active-disk= hidden-disk= colo-export= bogus= FORMAT="""
)
VALUES = words(
    """cdrom disk discard no-discard colo no-colo direct-io-safe raw qcow qcow2 vhd qed empty phy tap qdisk standalone
    xen virtio r ro w rw hda xvda hdc:cdrom hdc:disk hdc:floppy /p /a/b.img 12 0 x -"""
)
PREFIXES = words("raw: qcow2: tap: aio: nbd: iscsi: file: phy: foo: qed: :")
WORDS = st.sampled_from([*NAMES, *VALUES, *PREFIXES, ",", ",", ",", " ", "\n", "\t", "=", "\x80"])
USUAL = words(
    """/p raw hda rw format=qcow2 vdev=hdb access=r discard script=x target=/q,r hdc:cdrom tap:raw:/x backendtype=tap
    qcow2 xvda colo-port=12x devtype=disk specification=virtio"""
)
PARTS = st.sampled_from([*USUAL, "", " cdrom"])
SPECS = damaged(st.lists(PARTS, max_size=6).map(",".join), WORDS) | st.lists(WORDS, max_size=9).map("".join)


def reason_to_differ_in_a_specification(ours: str, theirs: dict[str, Any]) -> str:
    """Why the answers to this specification may not be the same; empty where they must be."""
    if re.search(r"near `(=|\n|=\n)' in", ours) or theirs["code"] == "aborted":
        return "a last character that nobody reads: it takes `=` for nothing, and ends with abort() at a line break"
    if "no vdev specified" in ours and "no vdev specified" not in theirs["messages"]:
        return "an empty vdev, which it takes for a name"
    return ""


def our_disk(spec: str) -> tuple[dict[str, Any] | None, str]:
    try:
        disk = disk_spec.parse(spec, source="SRC")
    except Usage as error:
        return None, f"{error.cause}\n"
    words = {"True": True, "False": False}
    named = {name: getattr(disk, name) for name in disk.__struct_fields__}
    return {name: words.get(value, value) if name in DEFBOOLS else value for name, value in named.items()}, ""


DEFBOOLS = {"discard_enable", "colo_enable", "trusted", "grant_usage"}


@settings(max_examples=EXAMPLES)
@given(SPECS)
def test_a_disk_specification_is_read_as_libxlutil_reads_it(oracle, spec) -> None:
    theirs = oracle.disk(spec.encode("latin-1"))
    disk, messages = our_disk(spec)
    assume(not reason_to_differ_in_a_specification(messages, theirs))
    assert messages == theirs["messages"]
    assert (disk is None) == bool(theirs["code"])
    if disk is not None:
        del disk["grant_usage"]  # newer than the library
        assert disk == {name: theirs["disk"][name] for name in disk}


# JSON ----------------------------------------------------------------------------------------------------------------

TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
DEFBOOL = st.sampled_from(["True", "False", None])
DEVICES = st.builds(
    DeviceDisk,
    backend_domname=TEXTS,
    pdev_path=TEXTS,
    vdev=TEXTS,
    backend=st.sampled_from(libxlutil.BACKENDS),
    format=st.sampled_from(libxlutil.FORMATS),
    script=TEXTS,
    removable=st.integers(0, 1),
    readwrite=st.integers(0, 1),
    is_cdrom=st.integers(0, 1),
    direct_io_safe=st.booleans(),
    discard_enable=DEFBOOL,
    specification=st.sampled_from(libxlutil.SPECIFICATIONS),
    colo_enable=DEFBOOL,
    colo_host=TEXTS,
    colo_port=st.integers(0, 65535),
    colo_export=TEXTS,
    active_disk=TEXTS,
    hidden_disk=TEXTS,
    trusted=DEFBOOL,
)


@given(DEVICES)
def test_libxl_reads_the_json_of_a_disk_and_writes_the_same(oracle, device) -> None:
    ours = msgspec.json.encode(device)
    theirs = oracle.json("libxl_device_disk", ours)
    assert theirs["code"] == 0
    assert theirs["value"] == json.loads(ours)  # what has its default value is left out by both


CONFIG = {
    "c_info": {"type": "pv", "name": "gäst", "uuid": "5c84adcc-bd59-488a-96d2-195f9b599cfe"},
    "b_info": {"max_vcpus": 1, "target_memkb": 163840, "type.pv": {}, "arch_arm": {}, "arch_x86": {}},
    "disks": [{"pdev_path": "/a.qcow2", "vdev": "xvda", "format": "qcow2", "readwrite": 1}],
    "on_reboot": "restart",
}


def test_libxl_reads_a_configuration_that_was_put_on_other_layers(oracle) -> None:
    before = libxl_json.parse(json.dumps(CONFIG).encode(), source="c")
    after = libxl_json.with_layers(before, {"xvda": Layer("/a.over.qcow2", Format.QCOW2)})
    for config in (before, after):
        theirs = oracle.json("libxl_domain_config", libxl_json.dump(config))
        assert theirs["code"] == 0
        assert theirs["value"]["disks"] == config["disks"]
        assert theirs["value"]["c_info"] | config["c_info"] == theirs["value"]["c_info"]


# What we do differently on purpose -----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a=1\n# end", "\ufeffa=1\n", "a=1\r\n", 'a="\\x41"\n'])
def test_what_we_read_and_libxlutil_does_not(oracle, text) -> None:
    assert oracle.config(text.encode(), keys=["a"])["code"] == 22
    assert our_config(text)[1] == ""


@pytest.mark.parametrize("text", ["a=1 $", "a=1\n(", 'a=1 "'])
def test_what_libxlutil_lets_pass_and_we_do_not(oracle, text) -> None:
    assert oracle.config(text.encode(), keys=["a"])["code"] == 0
    assert "lexical error" in our_config(text)[1]


def test_octal_escapes_vanish_there(oracle) -> None:
    text = 'a="\\101B"\n'
    assert oracle.config(text.encode(), keys=["a"])["values"]["a"]["string"] == [0, "B"]
    assert xl_cfg.parse(text, source="SRC").string("a") == "AB"


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ("/p,raw,xvda,rw,=", 0),
        ("/p,raw,xvda,bogus\n", 22),
        ("/p,raw,vdev=", 0),
        ("raw:/p,,", 0),
        ("/p,raw,xvda,=\n", "aborted"),
    ],
)
def test_specifications_that_libxlutil_gets_wrong(oracle, spec, code) -> None:
    assert oracle.disk(spec.encode())["code"] == code
    assert our_disk(spec)[0] is None


@pytest.mark.parametrize("word", ["trusted", "untrusted", "grant_usage=1"])
def test_words_that_are_newer_than_the_library(oracle, word) -> None:
    spec = f"/p,raw,xvda,rw,{word}"
    assert oracle.disk(spec.encode())["code"] == 22
    assert our_disk(spec)[0] is not None
