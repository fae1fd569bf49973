"""Reads tokens the way a parser made by bison does, and tells each mistake in its words."""

import re
from dataclasses import dataclass, field
from typing import Any

from lark import Token
from lark.grammar import Rule
from lark.parsers.lalr_analysis import Reduce, Shift

from xensnap.formats.limits import NESTING_MAX
from xensnap.formats.xl_cfg.config import Setting, Value
from xensnap.formats.xl_cfg.grammar import SHOWN, Grammar, grammar

_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[^\n])", re.DOTALL)
_ESCAPED = {'"': '"', "'": "'", "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class _Item:
    """A value, the line where it begins, and its last token, at which messages about it point."""

    value: Value
    line: int
    last: Token


@dataclass(slots=True)
class Reader:
    """The pushdown automaton and what it has found so far."""

    source: str
    settings: dict[str, Setting] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    likely_python: bool = False
    _grammar: Grammar = field(default_factory=grammar)
    _states: list[int] = field(default_factory=list)
    _values: list[Any] = field(default_factory=list)
    _quiet: int = 0
    """So many tokens have to be shifted before the next mistake is told: three after each."""
    _lexical_line: int = -1
    """Nothing more is told of this line and those before it."""
    _line: int = 1
    _nesting: int = 0
    _ended: bool = False

    def __post_init__(self) -> None:
        self._states.append(self._grammar.start)
        self._settle()

    def take(self, token: Token) -> None:
        """Go on with the next token of the text."""
        if self._ended:
            return
        self._line = token.line or self._line
        if token.type == "BAD":
            self.likely_python |= token[0] in "+-.():"
            self._complain(token, "lexical error", lexical=True)
            if token[-1] == "\n":
                self._feed(Token.new_borrow_pos("NEWLINE", "\n", token), None)
            return
        if token.type == "NEWLINE" and token[-1] != "\n":
            self.warnings.append(f"{self.source}:{self._line}: xl would stumble over a comment whose line does not end")
        self._nesting += {"OPEN": 1, "CLOSE": -1}.get(token.type, 0)
        if self._nesting > NESTING_MAX:  # where bison ends at some thousands
            self._complain(token, "memory exhausted")
            self._ended = True
        if token.type in {"STRING", "NUMBER"}:
            text = self._unquoted(token) if token.type == "STRING" and not self.messages else str(token)
            self._feed(token, _Item(text, self._line, token))
        else:
            self._feed(token, token)

    def end(self) -> None:
        """The text is over."""
        self._feed(Token("$END", "", line=self._line), None)

    # The automaton ---------------------------------------------------------------------------------------------------

    def _feed(self, token: Token, value: object) -> None:
        while not self._ended:
            state = self._states[-1]
            action = self._grammar.actions[state].get(token.type)
            if action is not None and action[0] is not Reduce:
                self._shift(action[1], value)
                self._ended = token.type == "$END"
                self._quiet = max(self._quiet - 1, 0)
                self._settle()
                return
            if action is not None or state in self._grammar.default:
                self._reduce(action[1] if action else self._grammar.default[state])
            elif not self._recover(token):
                return

    def _settle(self) -> None:
        """Reduce as far as that needs no look at the next token, so that an assignment counts once it is complete."""
        while self._states[-1] in self._grammar.alone and not self._ended:
            self._reduce(self._grammar.default[self._states[-1]])

    def _shift(self, state: int, value: object) -> None:
        self._states.append(state)
        self._values.append(value)

    def _reduce(self, rule: Rule) -> None:
        first = len(self._values) - len(rule.expansion)
        meaning = self._meaning(str(rule.origin.name), self._values[first:])
        del self._values[first:], self._states[first + 1 :]
        self._shift(self._grammar.actions[self._states[-1]][rule.origin.name][1], meaning)

    def _recover(self, token: Token) -> bool:
        """Tell the mistake and go back to where an ERROR may stand; whether the token is still to be looked at."""
        if not self._quiet:
            self._complain(token, self._expected(token))
        elif self._quiet == 3:
            self._ended = token.type == "$END"
            return False
        self._quiet, self._nesting = 3, 0
        while self._values:
            action = self._grammar.actions[self._states[-1]].get("ERROR")
            if action is not None and action[0] is Shift:
                self._shift(action[1], None)
                return True
            self._states.pop()
            self._values.pop()
        self._ended = True  # the file was complete already, as the parser saw it
        return False

    # What it means ---------------------------------------------------------------------------------------------------

    def _unquoted(self, token: Token) -> str:
        def meant(match: re.Match[str]) -> str:
            code = match[1]
            if code[0] in "01234567" or (code[0] == "x" and len(code) == 3):
                number = int(code[1:], 16) if code[0] == "x" else int(code, 8) & 0xFF
                if not number:
                    self._complain(token, "a zero byte in quoted string", lexical=True)
                return chr(number) if number < 0x80 else chr(0xDC00 + number)
            if code == "x":
                wrong = "invalid digit after backslash hexnumerical character escape in quoted string"
                self._complain(token, wrong, lexical=True)
            elif code not in _ESCAPED:  # the misspelling is libxlutil's, as is the missing blank above
                self._complain(token, "invalid character after backlash in quoted string", lexical=True)
            return _ESCAPED.get(code, code)

        # Escapes are bytes: two of them may be one character.
        return _ESCAPE.sub(meant, token[1:-1]).encode(errors="surrogateescape").decode(errors="surrogateescape")

    def _meaning(self, rule: str, parts: list[Any]) -> Any:
        """The value of what was just recognised, by rule. Lists grow in place, all else is handed on."""
        match rule, parts:
            case "value", [opened, _, items, closed]:
                return _Item(items, opened.line, closed)
            case "valuelist", []:
                return []
            case "values", [item, _]:
                return [item.value]
            case "values", [items, _, _, item, _]:
                items.append(item.value)
                return items
            case "assignment", [key, op, item] if not self.messages:
                self._assign(str(key), item, added=op == "+=")
        return parts[0] if parts else None

    def _assign(self, key: str, item: _Item, *, added: bool) -> None:
        value, before = item.value, self.settings.get(key)
        if added and before is not None:
            if isinstance(before.value, list) and isinstance(value, list):
                value = [*before.value, *value]
            elif isinstance(before.value, str) and isinstance(value, str):
                value = before.value + value
            else:
                self._complain(item.last, 'can\'t add [list] to "string" or vice versa', lexical=True)
                return
        self.settings[key] = Setting(value, item.line, added)

    # Messages --------------------------------------------------------------------------------------------------------

    def _complain(self, token: Token, what: str, *, lexical: bool = False) -> None:
        """Add a message in libxlutil's form. After a lexical error, the rest of its line is not worth one."""
        # flex counts the line break that an unreadable token ends with.
        line = self._line + (token.count("\n") if lexical else 0)
        if line <= self._lexical_line:
            return
        shown = token.removesuffix("\n").rstrip(" \t")
        near = "<newline>" if not shown and token else f"`{shown}'"
        self.messages.append(f"{self.source}:{self._line}: config parsing error near {near}: {what}")
        if lexical:
            self._lexical_line = line

    def _expected(self, token: Token) -> str:
        row = self._grammar.actions[self._states[-1]]
        expected = [shown for name, shown in SHOWN.items() if name in row]
        among = f", expecting {' or '.join(expected)}" if 0 < len(expected) <= 4 else ""
        return f"syntax error, unexpected {SHOWN[token.type]}{among}"
