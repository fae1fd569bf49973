"""How xl's subcommands read their words, and what each prints where they make no sense."""

from collections.abc import Mapping, Sequence

import msgspec

from simulator.core.numerals import whole
from simulator.serve.xl import helped
from simulator.world import World
from simulator.xen.incarnations import Incarnation

DOM0 = "00000000-0000-0000-0000-000000000000"


class Refused(Exception):
    """xl ends with this exit code and these words."""

    def __init__(self, stderr: str, *, code: int = 1, stdout: str = "", world: World | None = None) -> None:
        super().__init__(stderr)
        self.stderr = stderr + "\n" if stderr else ""
        self.code = code
        self.stdout = stdout
        self.world = world


class Words(msgspec.Struct, frozen=True):
    """The options and the words of one subcommand."""

    options: tuple[tuple[str, str], ...]
    words: tuple[str, ...]

    def has(self, name: str) -> bool:
        """Whether an option was given."""
        return any(each == name for each, _ in self.options)


def read(name: str, argv: Sequence[str], short: str, long: Mapping[str, str] = {}, *, least: int = 0) -> Words:
    """Options first, as getopt_long under POSIX rules would find them, then words.

    Args:
        short: letters, a colon after those that take a value.
        long: the letters that longer names stand for; each subcommand knows `help`.

    Raises:
        Refused: the help where it is asked for; code 2 where an option is unknown or words are missing.
    """
    options: list[tuple[str, str]] = []
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        letter, value = _long(word, {"help": "h", **long}) if word.startswith("--") else (word[1], word[2:])
        if letter not in short + "h" or letter in ":\0":
            raise Refused(f"option `{letter}' not supported.", code=2)
        if letter == "h":
            raise Refused("", code=0, stdout=helped.of(name))
        takes = short[short.index(letter) + 1 :][:1] == ":"
        if takes and not value and not rest:
            raise Refused(f"option `{letter}' not supported.", code=2)
        options.append((letter, (value or rest.pop(0)) if takes else ""))
        if not takes and value and not word.startswith("--"):
            rest.insert(0, "-" + value)
    if len(rest) < least:
        plural = "s" if least != 1 else ""
        words = f"'xl {name}' requires at least {least} argument{plural}.\n"
        raise Refused(words, code=2, stdout=helped.of(name))
    return Words(tuple(options), tuple(rest))


def _long(word: str, long: Mapping[str, str]) -> tuple[str, str]:
    """The letter of a long option, and its value. Of one that there is not, xl tells the letter 0."""
    name, _, value = word[2:].partition("=")
    found = [each for each in long if each.startswith(name)]
    known = name if name in found else found[0] if len(found) == 1 else None
    return (long[known], value) if known else ("\0", "")


def domid_of(world: World, ref: str, *, code: str = " (rc=-6)") -> int:
    """What a word of digits or a name leads to; a number is not looked at, and no digits are 0 (xen.md 12)."""
    if not ref or (ref.isascii() and ref.isdigit()):
        return whole(ref)
    for incarnation in world.xen:
        if incarnation.name == ref:
            return incarnation.domid
    if ref == "Domain-0":
        return 0
    raise Refused(f"{ref} is an invalid domain identifier{code}")


def there(world: World, domid: int) -> Incarnation | None:
    """The domain with this domid."""
    return world.xen.there.get(domid)
