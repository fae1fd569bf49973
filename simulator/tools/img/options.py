"""Options of formats, `-o NAME=VALUE,…`: how they are read, which there are, and what is said of bad ones.

As `create`, `convert` and `measure` take them (measured: 7.2.22). A comma in a value is doubled; a name alone is `on`,
and `no` before a name makes it `off`.
"""

from collections.abc import Iterable, Mapping

import msgspec

from simulator.tools.img.arguments import SIZE_WORDS, Failed, number_of, size_of

Value = str | int | bool

_TRUE, _FALSE = {"on", "yes", "true", "y"}, {"off", "no", "false", "n"}

_KINDS = {
    "encryption": bool,
    "encrypt.format": str,
    "encrypt.key-secret": str,
    "encrypt.cipher-alg": str,
    "encrypt.cipher-mode": str,
    "encrypt.ivgen-alg": str,
    "encrypt.ivgen-hash-alg": str,
    "encrypt.hash-alg": str,
    "encrypt.iter-time": int,
    "cluster_size": "size",
    "extended_l2": bool,
    "preallocation": str,
    "compression_type": str,
    "size": "size",
    "compat": str,
    "backing_file": str,
    "backing_fmt": str,
    "data_file": str,
    "data_file_raw": bool,
    "lazy_refcounts": bool,
    "refcount_bits": int,
}
"""In the order in which they are told."""
_DEFAULTS: dict[str, Value] = {
    "cluster_size": 65536,
    "extended_l2": False,
    "compression_type": "zlib",
    "lazy_refcounts": False,
    "refcount_bits": 16,
}
_OF_FILES = {"nocow": bool, "preallocation": str, "extent_size_hint": "size"}
"""What the file below any format takes, too."""

KINDS: dict[str, Mapping[str, object]] = {"qcow2": _KINDS, "raw": {"size": "size"}}

_TOLD = {
    "backing_file": "File name of a base image",
    "backing_fmt": "Image format of the base image",
    "cluster_size": "qcow2 cluster size",
    "compat": "Compatibility level (v2 [0.10] or v3 [1.1])",
    "compression_type": "Compression method used for image cluster compression",
    "data_file": "File name of an external data file",
    "data_file_raw": "The external data file must stay valid as a raw image",
    "encrypt.cipher-alg": "Name of encryption cipher algorithm",
    "encrypt.cipher-mode": "Name of encryption cipher mode",
    "encrypt.format": "Encrypt the image, format choices: 'aes', 'luks'",
    "encrypt.hash-alg": "Name of encryption hash algorithm",
    "encrypt.iter-time": "Time to spend in PBKDF in milliseconds",
    "encrypt.ivgen-alg": "Name of IV generator algorithm",
    "encrypt.ivgen-hash-alg": "Name of IV generator hash algorithm",
    "encrypt.key-secret": "ID of secret providing qcow AES key or LUKS passphrase",
    "encryption": "Encrypt the image with format 'aes'. (Deprecated in favor of encrypt.format=aes)",
    "extended_l2": "Extended L2 tables",
    "extent_size_hint": "Extent size hint for the image file, 0 to disable",
    "lazy_refcounts": "Postpone refcount updates",
    "nocow": "Turn off copy-on-write (valid only on btrfs)",
    "refcount_bits": "Width of a reference count entry in bits",
    "size": "Virtual disk size",
}
_WORD_OF_KIND = {bool: "bool (on/off)", int: "num", str: "str", "size": "size"}
_PROTOCOL = "\nThe protocol level may support further options.\nSpecify the target filename to include those options.\n"


class FormatOptions(msgspec.Struct, frozen=True):
    """What was given, by name, as the values that they are.

    Attributes:
        words: those that are on or off, in the word that was given for it.
    """

    form: str
    given: Mapping[str, Value] = {}
    words: Mapping[str, str] = {}

    def get(self, name: str) -> Value | None:
        """What was given, or the default, or None."""
        return self.given.get(name, _DEFAULTS.get(name) if self.form == "qcow2" else None)

    def text(self, name: str) -> str | None:
        """One that is text."""
        value = self.given.get(name)
        return None if value is None else str(value)

    def number(self, name: str) -> int:
        """One that is a number and has a default."""
        value = self.get(name)
        assert isinstance(value, int)
        return value

    def with_(self, **given: Value | None) -> "FormatOptions":
        """These, too, where they are not None."""
        more = {key: value for key, value in given.items() if value is not None}
        return msgspec.structs.replace(self, given={**self.given, **more})

    def told(self) -> str:
        """As the line that begins with `Formatting` has them."""
        names = dict.fromkeys([*KINDS[self.form], *_OF_FILES])
        values = ((name, self.words.get(name, self.get(name))) for name in names)
        return " ".join(f"{name}={_spelled(value)}" for name, value in values if value is not None)


def _spelled(value: Value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value).replace(",", ",,")


def lists(texts: Iterable[str]) -> tuple[str, ...]:
    """The parts of all `-o`, commas in values made single."""
    parts: list[str] = []
    for text in texts:
        parts += [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]
    return tuple(parts)


def asks_for_help(parts: Iterable[str]) -> bool:
    """Whether the options are to be told instead."""
    return any(part in {"help", "?"} for part in parts)


def shown(form: str, *, named: bool) -> str:
    """The list of the options that there are, in the order of their names.

    Args:
        named: whether a file was named, so that those of the file below are known, too.
    """
    kinds = dict(KINDS[form])
    if named:
        kinds |= {name: kind for name, kind in _OF_FILES.items() if name not in kinds}
    lines = (_line(name, kinds[name], form) for name in sorted(kinds))
    head = "Supported options:\n" if named else f"Supported {form} options:\n"
    return head + "".join(lines) + ("" if named else _PROTOCOL)


def _line(name: str, kind: object, form: str) -> str:
    modes = "off, metadata, falloc, full" if form == "qcow2" else "off, falloc, full"
    told = _TOLD.get(name) or f"Preallocation mode (allowed values: {modes})"
    return f"{f'  {name}=<{_WORD_OF_KIND[kind]}>':<24} - {told}\n"


def parsed(form: str, parts: Iterable[str], *, prefix: str = "") -> FormatOptions:
    """The values of the options.

    Args:
        prefix: what stands before the words of a refusal.
    """
    kinds = {**_OF_FILES, **KINDS[form]}
    found, words = dict[str, Value](), dict[str, str]()
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals:
            name, value = (name[2:], "off") if name[:2] == "no" else (name, "on")
        if name not in kinds:
            raise Failed(f"{prefix}Invalid parameter '{name}'")
        found[name] = valued(name, kinds[name], value, prefix=prefix)
        if kinds[name] is bool:
            words[name] = value
    return FormatOptions(form, found, words)


def valued(name: str, kind: object, value: str, *, prefix: str = "") -> Value:
    """The value of one option of this kind: as `parsed`."""
    if kind is str:
        return value
    if kind is bool:
        if value not in _TRUE | _FALSE:
            raise Failed(f"{prefix}Parameter '{name}' expects 'on' or 'off'")
        return value in _TRUE
    if kind is int:
        number = number_of(value)
        if number is None:
            raise Failed(f"{prefix}Parameter '{name}' expects a number")
        if abs(number) >= 1 << 64:
            raise Failed(f"{prefix}Value '{value}' is too large for parameter '{name}'")
        return number
    size = size_of(value)
    if size is None:
        raise Failed(prefix + SIZE_WORDS.replace("'size'", f"'{name}'"))
    if size >= 1 << 64:
        raise Failed(f"{prefix}Value '{value}' is out of range for parameter '{name}'")
    return size
