"""How xl's subcommands read their words, and what each prints where they make no sense."""

from collections.abc import Sequence

import msgspec

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


def read(name: str, argv: Sequence[str], short: str, *, least: int = 0, help_text: str = "") -> Words:
    """Options first, as getopt under POSIX rules would find them, then words.

    Raises:
        Refused: code 2, with the usage, where an option is unknown or words are missing.
    """
    options: list[tuple[str, str]] = []
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        letter = word[1:2]
        if letter not in short or letter in {":", "-"}:
            raise Refused(f"option `{letter}' not supported.", code=2)
        takes = short[short.index(letter) + 1 :][:1] == ":"
        options.append((letter, (word[2:] or (rest.pop(0) if rest else "")) if takes else ""))
        if not takes and len(word) > 2:
            rest.insert(0, "-" + word[2:])
    if len(rest) < least:
        plural = "s" if least != 1 else ""
        raise Refused(f"'xl {name}' requires at least {least} argument{plural}.\n", code=2, stdout=help_text)
    return Words(tuple(options), tuple(rest))


def domid_of(world: World, ref: str, *, code: str = " (rc=-6)") -> int:
    """What a word of digits or a name leads to; a number is not looked at (xen.md 12)."""
    if ref.isascii() and ref.isdigit():
        return int(ref)
    for incarnation in world.xen:
        if incarnation.name == ref:
            return incarnation.domid
    if ref == "Domain-0":
        return 0
    raise Refused(f"{ref} is an invalid domain identifier{code}")


def there(world: World, domid: int) -> Incarnation | None:
    """The domain with this domid."""
    return world.xen.there.get(domid)
