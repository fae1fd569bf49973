"""xl's configuration files: what is read, what is tolerated with a warning, and what is told of a mistake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xensnap.errors import Usage
from xensnap.formats import xl_cfg


def values(text: str) -> dict[str, xl_cfg.Value]:
    return {key: setting.value for key, setting in xl_cfg.parse(text, source="f").settings.items()}


def complaint(text: str) -> list[str]:
    with pytest.raises(Usage) as caught:
        xl_cfg.parse(text, source="f")
    assert caught.value.id == "bad-config"
    assert caught.value.remedy
    return caught.value.cause.splitlines()


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("", {}),
        ("\n;;\n", {}),
        ("a=1", {"a": "1"}),
        ("a = 'x y' ; b.c_1 = 0x10 # why\n", {"a": "x y", "b.c_1": "0x10"}),
        ("a = [\n # one\n 1,\n 'two', # three\n [3, [4],],\n]\n", {"a": ["1", "two", ["3", ["4"]]]}),
        ("a=[]\na+=['x']\na+=['y']\n", {"a": ["x", "y"]}),
        ("a='x'\na+='y'\nnew+='z'\n", {"a": "xy", "new": "z"}),
        ("a=1\na=2\n", {"a": "2"}),
        (r"""a="\"\'\\\a\b\f\n\r\t\v" """, {"a": "\"'\\\a\b\f\n\r\t\v"}),
        (r'a="\x41\101\60\xc3\xa9"', {"a": "AA0é"}),
    ],
)
def test_what_is_written_is_read(text: str, read: dict[str, xl_cfg.Value]) -> None:
    assert values(text) == read


@pytest.mark.parametrize(
    ("text", "line"),
    [("\ufeffa=1\n", 1), ("b=2\na=1\r\n", 2), ("a=1\n# the end", 2), ("a=1 # the end", 1), ("a=1\n#", 2)],
)
def test_what_xl_would_stumble_over_is_read_with_a_warning(text: str, line: int) -> None:
    config = xl_cfg.parse(text, source="f")
    assert config.string("a") == "1"
    assert [warning.split(" ")[0] for warning in config.warnings] == [f"f:{line}:"]


HEX = "invalid digit after backslash hexnumerical character escape in quoted string"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "a=;",
            "f:1: config parsing error near `;': syntax error, unexpected ';', expecting STRING or NUMBER or '['",
        ),
        ("a\n", "f:1: config parsing error near <newline>: syntax error, unexpected NEWLINE, expecting += or '='"),
        ("a", "f:1: config parsing error near `': syntax error, unexpected $end, expecting += or '='"),
        ("\nA=1\n", "f:2: config parsing error near `A=1': lexical error"),
        ("a=[,]\n", "f:1: config parsing error near `,': syntax error, unexpected ',', expecting ']'"),
        ("a='x'\na+=[2]\n", "f:2: config parsing error near `]': can't add [list] to \"string\" or vice versa"),
        (r'a="\q"', 'f:1: config parsing error near `"\\q"\': invalid character after backlash in quoted string'),
        (r"a='\x'", rf"f:1: config parsing error near `'\x'': {HEX}"),
        (r'a="\0"', 'f:1: config parsing error near `"\\0"\': a zero byte in quoted string'),
    ],
)
def test_a_mistake_is_told_in_the_words_of_libxlutil(text: str, told: str) -> None:
    assert complaint(text) == [told]


def test_all_mistakes_are_told_at_once_and_python_is_recognised() -> None:
    told = complaint("a 1\nok = 2\nb = (1)\n")
    assert [line.partition(": ")[0] for line in told] == ["f:1", "f:3", *["warning"] * 3]
    assert "Python" in told[2]


def test_numbers_are_converted_when_asked_for() -> None:
    config = xl_cfg.parse("a=010\nb='0x200'\nc='-5'\nd=1\nd+=2\ne=12f\nf=99999999999999999999\ng=[1]\n", source="f")
    assert (config.number("a"), config.number("b"), config.number("c"), config.number("none")) == (8, 512, -5, None)
    for key, told in (
        ("d", "f:5: can't use += with numbers for parameter `d'"),
        ("e", "f:6: parameter `e' is not a valid number"),
        ("f", "f:7: parameter `f' could not be parsed as a number: Numerical result out of range"),
        ("g", "f:8: parameter `g' is a list but should be a single value"),
    ):
        with pytest.raises(Usage) as caught:
            config.number(key)
        assert caught.value.cause == told
    with pytest.raises(Usage, match="value `8' is greater than maximum bound '7'"):
        config.number("a", maximum=7)
    with pytest.raises(Usage, match="value `-5' is smaller than minimum bound '0'"):
        config.number("c", minimum=0)


def test_lists_and_strings_are_not_taken_for_each_other() -> None:
    config = xl_cfg.parse("a=1\nb=[1]\n", source="f")
    assert (config.items("none"), config.string("none")) == (None, None)
    assert config.items("b") == ["1"]
    with pytest.raises(Usage, match="parameter `a' is a single value but should be a list"):
        config.items("a")
    with pytest.raises(Usage, match="parameter `b' is a list but should be a single value"):
        config.string("b")


@given(st.text(st.sampled_from("ab=+[],;#'\"\\x01 \n\r\t\0é\ufeff$(."), max_size=60) | st.text(max_size=60))
def test_only_our_own_error_comes_out_of_anything(text: str) -> None:
    try:
        xl_cfg.parse(text, source="f")
    except Usage as error:
        assert error.cause.startswith("f:")  # noqa: PT017 -- reading it is as good an outcome


@pytest.mark.parametrize(
    "text", ["a=" + "[" * 200_000, "[" * 200_000, "a=[" + "1," * 100_000, "$\n" * 50_000, "'" * 100_001, "a=#" * 9999]
)
def test_large_nonsense_is_refused_like_small(text: str) -> None:
    assert complaint(text)
