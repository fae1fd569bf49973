"""The byte stream of QMP, as QEMU 7.2.22 takes it apart: values, or the words of what is wrong with them.

No newline ends a message: a value is over when its last bracket closes. Strings may stand in single quotes. What cannot
be read is told once, and reading goes on at the next structural character or control character.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from simulator.core.unmodelled import NotModelled

NESTING_MAX = 1024
TOKENS_MAX = 2 << 20
TOKEN_BYTES_MAX = 64 << 20

_SPACE = b" \t\r\n"
_STRUCTURAL = b"{}[]:,"
_DOUBLE = re.compile(rb'(?:[^\\"\x00-\x1f\xfe\xff]+|\\[\x20-\xfd])*')
_SINGLE = re.compile(rb"(?:[^\\'\x00-\x1f\xfe\xff]+|\\[\x20-\xfd])*")
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+(?:[eE][-+]?[0-9]+)?|[eE][-+]?[0-9]+)?")
_NUMBER_BEGUN = re.compile(rb"-?(?:(?:0|[1-9][0-9]*)(?:\.(?:[0-9]+(?:[eE](?:[-+]?[0-9]*)?)?)?|[eE](?:[-+]?[0-9]*)?)?)?")
_WORD = re.compile(rb"[a-z]+")
_RESYNCHRONISE = re.compile(rb"[{}\[\]:,\x00-\x08\x0a-\x1f\xfe\xff]")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "/": "/", "\\": "\\", '"': '"', "'": "'"}


class WireError(Exception):
    """What was sent is no JSON that QEMU takes; the words are QEMU's."""


class Token(NamedTuple):
    """A piece of JSON: a bracket, colon or comma by itself, else `string`, `number` or `word`."""

    kind: str
    text: bytes


class Stream(msgspec.Struct, frozen=True):
    """What a connection has sent and nobody has understood yet.

    Attributes:
        rest: bytes of a token that is not over.
        tokens: of a value that is not over.
        lost: whether what comes is skipped, after something that was no token.
        seen: how many bytes of a string that is not over are surely in it.
        depth: the braces and square brackets that are open.
        size_bytes: of the tokens.
    """

    rest: bytes = b""
    tokens: tuple[Token, ...] = ()
    lost: bool = False
    seen: int = 0
    depth: tuple[int, int] = (0, 0)
    size_bytes: int = 0

    def fed(self, data: bytes) -> "tuple[Stream, list[Any | WireError]]":
        """The stream after these bytes, and every value or error that they complete."""
        heard: list[Any | WireError] = []
        tokens, depth, size = list(self.tokens), list(self.depth), self.size_bytes
        scan = _Scan(self.rest + data, lost=self.lost, seen=self.seen)
        for token in scan:
            trouble = _limit(tokens, depth, size, token)
            if isinstance(token, WireError) or trouble:
                heard.append(trouble or token)
                tokens, depth, size = [], [0, 0], 0
                continue
            tokens.append(token)
            size += len(token.text)
            _count(depth, token)
            if max(depth) > 0 and min(depth) >= 0:
                continue
            heard.append(_parsed(tokens))
            tokens, depth, size = [], [0, 0], 0
        return Stream(scan.rest, tuple(tokens), scan.lost, scan.seen, (depth[0], depth[1]), size), heard


def _count(depth: list[int], token: Token) -> None:
    """How many braces and square brackets are open."""
    for place, (opening, closing) in enumerate((("{", "}"), ("[", "]"))):
        depth[place] += (token.kind == opening) - (token.kind == closing)


def _limit(tokens: list[Token], depth: list[int], size: int, token: Token | WireError) -> WireError | None:
    if isinstance(token, WireError):
        return None
    if size + len(token.text) + 1 > TOKEN_BYTES_MAX:
        return WireError("JSON token size limit exceeded")
    if len(tokens) + 1 > TOKENS_MAX:
        return WireError("JSON token count limit exceeded")
    if sum(depth) + (token.kind in "{[") - (token.kind in "}]") > NESTING_MAX:
        return WireError("JSON nesting depth limit exceeded")
    return None


# --- bytes to tokens -------------------------------------------------------------------------------------------------


class _Scan:
    """One pass over what is there; `rest` is what more bytes may still change, and `seen` how far a string is known."""

    def __init__(self, data: bytes, *, lost: bool, seen: int) -> None:
        self._data = data
        self._known = seen
        self.lost = lost
        self.rest = b""
        self.seen = 0

    def __iter__(self) -> Iterator[Token | WireError]:
        data, at = self._data, 0
        while at < len(data):
            if self.lost:
                found = _RESYNCHRONISE.search(data, at)
                if found is None:
                    return
                at, self.lost = found.start(), False
            byte = data[at : at + 1]
            if byte in _SPACE:
                at += 1
                continue
            end, token = self._token(at, byte)
            if token is None and len(data) - at > TOKEN_BYTES_MAX:
                # QEMU gives up a token that has grown too long, and begins anew behind it (json-lexer.c of 7.2).
                end, token = at + TOKEN_BYTES_MAX + 1, Token("long", data[at : at + TOKEN_BYTES_MAX + 1])
                self.seen = 0
            if token is None:
                self.rest = data[at:]
                return
            if isinstance(token, WireError):
                self.lost = True
            yield token
            at = end

    def _token(self, at: int, byte: bytes) -> tuple[int, Token | WireError | None]:
        """Where the token that begins here ends; None where that is not known yet."""
        data = self._data
        if byte in _STRUCTURAL:
            return at + 1, Token(byte.decode(), byte)
        if byte in b"\"'":
            known, self._known = at + max(1, self._known), 0
            inside = (_DOUBLE if byte == b'"' else _SINGLE).match(data, known)
            assert inside is not None
            return self._string(at, inside.end(), byte)
        if byte in b"-0123456789":
            begun = _NUMBER_BEGUN.match(data, at)
            assert begun is not None
            return self._number(at, begun.end())
        word = _WORD.match(data, at)
        if word is None:
            return at + 1, _stray(byte)
        return (word.end(), Token("word", word[0])) if word.end() < len(data) else (at, None)

    def _string(self, at: int, end: int, quote: bytes) -> tuple[int, Token | WireError | None]:
        data = self._data
        closing = data[end : end + 1]
        if closing == quote:
            return end + 1, Token("string", data[at : end + 1])
        if not closing or (closing == b"\\" and end + 1 == len(data)):
            self.seen = end - at
            return at, None
        end += closing == b"\\"
        return end + 1, _stray(data[at : end + 1])

    def _number(self, at: int, end: int) -> tuple[int, Token | WireError | None]:
        data = self._data
        if end == len(data):
            return at, None
        text = data[at:end]
        # After a zero no digit may come; and what has begun as a number must go on as one.
        if _NUMBER.fullmatch(text) is None or (text.lstrip(b"-") == b"0" and data[end : end + 1].isdigit()):
            return end + 1, _stray(data[at : end + 1])
        return end, Token("number", text)


def _stray(text: bytes) -> WireError:
    return WireError(f"JSON parse error, stray '{shown(text)}'")


def shown(text: bytes) -> str:
    """Bytes as QEMU tells them in a message: what is no UTF-8 becomes a sign, and a zero byte ends them."""
    return text.partition(b"\0")[0].decode("utf-8", "surrogateescape")


# --- tokens to values ------------------------------------------------------------------------------------------------


class _Refused(Exception):
    pass


def _parsed(tokens: list[Token]) -> Any:
    try:
        return _Parser(tokens).value()
    except _Refused as error:
        return WireError(f"JSON parse error, {error}")
    except RecursionError:
        raise NotModelled(f"a command nested so deep, up to the {NESTING_MAX} levels that QEMU takes") from None


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def _next(self) -> Token:
        if self._at == len(self._tokens):
            raise _Refused("premature EOI")
        self._at += 1
        return self._tokens[self._at - 1]

    def value(self) -> Any:
        """The value that comes next."""
        token = self._next()
        match token.kind:
            case "{":
                return self._object()
            case "[":
                return self._array()
            case "string":
                return _string(token.text)
            case "number":
                return _number(token.text)
            case "word":
                return _word(token.text)
        raise _Refused("expecting value")

    def _object(self) -> dict[str, Any]:
        members: dict[str, Any] = {}
        if self._peek() == "}":
            self._next()
            return members
        while True:
            self._pair(members)
            token = self._next()
            if token.kind == "}":
                return members
            if token.kind != ",":
                raise _Refused("expected separator in dict")

    def _pair(self, members: dict[str, Any]) -> None:
        key = self.value()
        if not isinstance(key, str):
            raise _Refused("key is not a string in object")
        if self._next().kind != ":":
            raise _Refused("missing : in object pair")
        value = self.value()
        if key in members:
            raise _Refused("duplicate key")
        members[key] = value

    def _array(self) -> list[Any]:
        members: list[Any] = []
        if self._peek() == "]":
            self._next()
            return members
        while True:
            members.append(self.value())
            token = self._next()
            if token.kind == "]":
                return members
            if token.kind != ",":
                raise _Refused("expected separator in list")

    def _peek(self) -> str:
        if self._at == len(self._tokens):
            raise _Refused("premature EOI")
        return self._tokens[self._at].kind


def _word(text: bytes) -> bool | None:
    words: dict[bytes, bool | None] = {b"true": True, b"false": False, b"null": None}
    if text not in words:
        raise _Refused(f"invalid keyword '{text.decode()}'")
    return words[text]


def _number(text: bytes) -> int | float:
    try:
        value = int(text)
    except ValueError:
        return float(text)
    return value if -(1 << 63) <= value < 1 << 64 else float(text)


def _string(token: bytes) -> str:
    body, pieces, at = token[1:-1], [], 0
    while at < len(body):
        if body[at : at + 1] != b"\\":
            plain = body.find(b"\\", at)
            end = len(body) if plain < 0 else plain
            pieces.append(_plain(body[at:end]))
            at = end
            continue
        piece, at = _escaped(token[1:], at)
        pieces.append(piece)
    return "".join(pieces)


def _plain(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _Refused("invalid UTF-8 sequence in string") from error


def _escaped(body: bytes, at: int) -> tuple[str, int]:
    letter = body[at + 1 : at + 2].decode("latin-1")
    if letter in _ESCAPES:
        return _ESCAPES[letter], at + 2
    if letter != "u":
        raise _Refused("invalid escape sequence in string")
    high = _unit(body, at)
    if high is not None and 0xD800 <= high < 0xDC00:
        low = _unit(body, at + 6)
        if low is not None and 0xDC00 <= low < 0xE000:
            return chr(0x10000 + ((high - 0xD800) << 10) + low - 0xDC00), at + 12
    if high is None or 0xD800 <= high < 0xE000 or high in (0xFFFE, 0xFFFF):
        raise _Refused(f"{shown(body[at : at + 6])} is not a valid Unicode character")
    return chr(high), at + 6


def _unit(body: bytes, at: int) -> int | None:
    found = re.compile(rb"\\u([0-9a-fA-F]{4})").match(body, at)
    return int(found[1], 16) if found else None
