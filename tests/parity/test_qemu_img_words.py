"""Random command lines, good and bad, to the simulated qemu-img and the real one: exit codes, words, tables, bytes."""

import shlex
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.parity.rounds import FEW, again, up_to_not_modelled
from tests.parity.shells import PLACE, Shells

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("qemu_img", "qemu_io")]

NAMES = st.sampled_from(["a", "a", "b", "b", "o", "p", "sub/s", f"{PLACE}/a", "gone", "sub"])
MANY = "9" * 5000
"""More digits than Python takes for a number."""
NOUGHTS = "0" * 5000
TAGS = st.sampled_from(["s", "s", "t", "1", "2", "", "x" * 300, "-x", "a b/ü", MANY])
BITMAPS = st.sampled_from(["s", "s", "t", "", "ü b", "x" * 1024])
GRAINS = st.sampled_from(["64k", "512", "4k", "1", "100", "4G", "abc", MANY])
CACHES = st.sampled_from(["none", "writeback", "bogus"])
SIZES = st.sampled_from(["1M", "64k", "2M", "1000", "65536", "1.5M", "0", "-1", "abc", "+64k", "-64k", MANY])
FORMATS = st.sampled_from(["qcow2", "qcow2", "qcow2", "raw", "nosuch"])
OPTIONS = st.sampled_from(
    [
        "compat=0.10",
        "compat=1.1",
        "cluster_size=4k",
        "cluster_size=100",
        "refcount_bits=1",
        "refcount_bits=3",
        "extended_l2=on",
        "extended_l2=on,cluster_size=16k",
        "nosuch=on",
    ]
)


def words(*parts: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.tuples(*parts).map(lambda lists: [word for each in lists for word in each])


def fixed(*some: str) -> st.SearchStrategy[list[str]]:
    return st.just(list(some))


def maybe(option: str, value: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[list[str]]:
    given = st.just([option]) if value is None else value.map(lambda text: [option, text])
    return st.just([]) | given


def one(value: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return value.map(lambda text: [text])


AMENDS = st.lists(
    st.sampled_from(
        [
            "compat=0.10",
            "compat=1.1",
            "compat=v3",
            "compat=7",
            "lazy_refcounts=on",
            "lazy_refcounts=off",
            "lazy_refcounts=so",
            "refcount_bits=16",
            "refcount_bits=2",
            "refcount_bits=3",
            "refcount_bits=020",
            "size=2M",
            "size=1M",
            "size=0",
            "size=100",
            "size=abc",
            "cluster_size=4k",
            "backing_file=a",
            "backing_file=a,backing_fmt=qcow2",
            "nosuch=1",
            "",
        ]
    ),
    min_size=1,
    max_size=2,
).map(",".join)
ACTIONS = st.sampled_from([["--add"], ["--add"], ["--remove"], ["--clear"], ["--enable"], ["--disable"]])
JSON = st.sampled_from([[], ["--output=json"], ["--output", "json"]])
STRICT = st.sampled_from([[]] * 7 + [["-s"]])
"""Seldom: of images of one size, which most here are, it is not modelled."""
BLOCKS = st.sampled_from(["bs=64k", "bs=512", "bs=1000", "bs=0", "count=2", "count=100", "skip=1", "skip=3", "x=1"])
COMMANDS = st.one_of(
    words(fixed("create", "-f"), one(FORMATS), maybe("-q"), maybe("-o", OPTIONS), one(NAMES), one(SIZES)),
    words(fixed("create", "-f", "qcow2", "-F"), one(FORMATS), maybe("-u"), fixed("-b"), one(NAMES), one(NAMES)),
    words(fixed("create", "-f", "qcow2"), maybe("-b", NAMES), maybe("-F", FORMATS), one(NAMES), maybe("1M")),
    words(fixed("info"), JSON, maybe("--backing-chain"), maybe("-f", FORMATS), one(NAMES)),
    words(fixed("snapshot", "-c"), one(TAGS), one(NAMES)),
    words(fixed("snapshot", "-c"), one(TAGS), fixed("a")),
    words(fixed("snapshot"), st.sampled_from([["-a"], ["-d"]]), one(TAGS), one(NAMES)),
    words(fixed("snapshot"), maybe("-l"), maybe("-U"), one(NAMES)),
    words(fixed("snapshot"), maybe("-l"), maybe("-a", TAGS), maybe("-c", TAGS), maybe("-U"), one(NAMES), maybe("-z")),
    words(fixed("check"), JSON, maybe("-f", FORMATS), maybe("-r", st.sampled_from(["leaks", "bogus"])), one(NAMES)),
    words(fixed("amend", "-o"), one(AMENDS), maybe("-p"), maybe("-f", FORMATS), maybe("-t", CACHES), one(NAMES)),
    words(fixed("amend"), maybe("-o", AMENDS), maybe("-q"), one(NAMES), maybe("-z")),
    words(fixed("bitmap"), ACTIONS, maybe("-g", GRAINS), one(NAMES), one(BITMAPS)),
    words(fixed("bitmap"), ACTIONS, ACTIONS, maybe("--merge", BITMAPS), one(st.sampled_from("abo")), one(BITMAPS)),
    words(fixed("bitmap", "--merge"), one(BITMAPS), maybe("-b", NAMES), maybe("-F", FORMATS), one(NAMES), one(BITMAPS)),
    words(
        fixed("bitmap"), maybe("--add"), maybe("-b", NAMES), maybe("-g", GRAINS), one(NAMES), maybe("-z"), one(NAMES)
    ),
    words(
        fixed("dd"),
        maybe("-f", FORMATS),
        maybe("-O", FORMATS),
        st.lists(BLOCKS, max_size=3),
        one(NAMES.map("if={}".format)),
        one(NAMES.map("of={}".format)),
    ),
    words(fixed("commit"), maybe("-q"), maybe("-p"), maybe("-d"), maybe("-b", NAMES), maybe("-t", CACHES), one(NAMES)),
    words(
        fixed("rebase"), maybe("-p"), maybe("-u"), maybe("-F", FORMATS), maybe("-b", NAMES | st.just("")), one(NAMES)
    ),
    words(fixed("rebase", "-b"), one(NAMES), fixed("-F", "qcow2"), one(NAMES)),
    words(fixed("resize"), maybe("--shrink"), maybe("-f", FORMATS), one(NAMES), one(SIZES)),
    words(fixed("resize", "--preallocation"), one(st.sampled_from(["off", "bad"])), one(NAMES), one(SIZES)),
    words(
        fixed("convert", "-O", "qcow2"), maybe("--bitmaps"), maybe("-p"), maybe("-t", CACHES), one(NAMES), one(NAMES)
    ),
    words(fixed("convert"), maybe("-l", TAGS), maybe("-O", FORMATS), one(NAMES), one(NAMES)),
    words(fixed("measure", "--output=json"), maybe("-O", FORMATS), maybe("-l", TAGS), one(NAMES)),
    words(fixed("measure", "--output=json", "-O", "qcow2", "--size"), one(SIZES)),
    words(fixed("measure", "-O", "qcow2"), one(NAMES)),
    words(fixed("compare"), STRICT, maybe("-q"), maybe("-p"), maybe("-T", CACHES), one(NAMES), one(NAMES)),
    words(fixed("map"), JSON, maybe("-f", FORMATS), maybe("-s", SIZES), maybe("-l", SIZES), one(NAMES)),
    words(fixed("map"), JSON, fixed("-f", "qcow2"), one(NAMES)),
    words(st.sampled_from([["bogus"], ["info"], ["create"], ["snapshot"], ["resize", "a"], ["compare", "a"]])),
)
WRITES = st.tuples(st.sampled_from(["a", "b", "o", "p"]), st.integers(0, 40), st.integers(1, 300)).map(
    lambda three: ["write", three[0], str(three[1] * 65536), str(three[2] * 512)]
)
BEGIN = [
    ["create", "-q", "-f", "qcow2", "a", "1M"],
    ["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "a", "o"],
    ["create", "-q", "-f", "raw", "b", "1M"],
]


def live(shells: Shells, commands: list[list[str]]) -> None:
    for argv in commands:
        if argv[0] == "write":
            shells.write(argv[1], int(argv[2]), int(argv[3]))
            continue
        shells.both(argv)
    for name in ("a", "b", "o", "p"):
        if shells.fs.find(f"{PLACE}/{name}") is not None:
            shells.same_bytes(name)


@given(st.lists(COMMANDS | WRITES, min_size=1, max_size=12))
@FEW
def say_and_do_the_same(commands: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory(prefix="words") as scratch, up_to_not_modelled():
        shells = Shells(Path(scratch))
        live(shells, [*BEGIN, *commands])


def test_both_tools_say_and_do_the_same() -> None:
    again(say_and_do_the_same)


FOUND = [
    ["create -f qcow2 -F nosuch n 1M"],
    ["create -f qcow2 -F vmdk n 1M"],
    ["rebase -b b -F qcow2 b"],
    ["rebase -b b -F raw b"],
    ["rebase -f raw -b b -F qcow2 b"],
    ["compare -T none a sub", "check -T directsync sub", "convert -T none sub p", "convert -T writeback sub p"],
    ["rebase -t none -b sub -F qcow2 a", "rebase -T none -b sub -F qcow2 a", "rebase -T none -b a sub"],
    ["rebase -u -b sub -F raw o", "check -T none o", "rebase -T none -b a o", "commit -t none o", "amend -t none o"],
    ["bitmap --merge s -b b b s", "bitmap --merge s -b b -F raw b t", "bitmap --merge s -b a a s"],
    ["bitmap --merge s -b b -F qcow2 b s", "bitmap --merge s -b sub/../b b s"],
    ["rebase -b a -F qcow2 a", "rebase -b sub/../a a"],
    ["amend -o compat=v3, -z a", "create -o , -z n", "convert -o lazy_refcounts=on,,, -z a p"],
]
"""What random command lines have come to differ in."""


@pytest.mark.parametrize("lines", FOUND, ids="; ".join)
def test_what_random_commands_have_found_stays_the_same(lines: list[str], tmp_path: Path) -> None:
    live(Shells(tmp_path), [*BEGIN, *map(shlex.split, lines)])


NUMBERS = {
    "ids of snapshots": [
        f"snapshot -a {MANY} a",
        f"snapshot -d {MANY} a",
        f"convert -l {MANY} a n",
        f"measure -l {MANY} a",
    ],
    "sizes of images": [f"create -f raw n {size}" for size in (MANY, f"{MANY}M", f"{MANY}.5M", f"0x{MANY}", "16E")],
    "sizes that begin with many noughts": [f"create -f raw n {NOUGHTS}1M", f"resize a {NOUGHTS}1M"],
    "parts that are nearly one": [f"create -f raw n 1.{part}" for part in (f"{MANY}M", "99999999999999999k")],
    "parts of a byte": [f"create -f raw n 1.{part}k" for part in ("99", "0004", "00048828125", "0005")],
    "what 64 bits just hold": [f"create -f raw n {(1 << 64) - each}M" for each in (1, 0)],
    "sizes to come to": [
        f"resize a {size}" for size in (MANY, f"+{MANY}", f"-{MANY}", f"+{MANY}M", "99999999999999999999k")
    ],
    "sizes among options": [
        f"{begin}={size} {end}"
        for size in (MANY, f"{MANY}M")
        for begin, end in (("create -f qcow2 -o cluster_size", "n 1M"), ("create -o size", "n"), ("amend -o size", "a"))
    ],
    "numbers among options": [
        f"{begin} -o refcount_bits={number} {end}"
        for number in (MANY, f"{NOUGHTS}6", "020", "08", "0x10", "+16", "1_6", "-1")
        for begin, end in (("create -f qcow2", "n 1M"), ("amend", "a"))
    ],
    "coroutines": [
        f"convert -m {number} a n" for number in (MANY, f"{NOUGHTS}1", "016", "017", "020", "08", "0x10", "+4")
    ],
    "other numbers": [
        f"measure --size {MANY}",
        f"bitmap --add -g {MANY} a b",
        f"convert -S {MANY} a n",
        f"convert -r {MANY} a n",
    ],
}


@pytest.mark.parametrize("lines", NUMBERS.values(), ids=NUMBERS)
def test_both_read_the_same_numbers(lines: list[str], tmp_path: Path) -> None:
    live(Shells(tmp_path), [*BEGIN, *map(str.split, lines)])
