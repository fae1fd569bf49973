"""The grammar of xl's configuration files as an LALR table, with what bison would make of it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from lark import Lark
from lark.grammar import Rule
from lark.parsers.lalr_analysis import Reduce, Shift

_GRAMMAR = r"""
start: stmts
     | stmts assignment
stmts:
     | stmts stmt
stmt: assignment endstmt
    | endstmt
    | ERROR NEWLINE
assignment: IDENT op value
op: EQUALS
  | ADD
endstmt: NEWLINE
       | SEMICOLON
value: atom
     | OPEN nlok valuelist CLOSE
atom: STRING
    | NUMBER
valuelist:
         | values
         | values COMMA nlok
values: value nlok
      | values COMMA nlok value nlok
nlok:
    | nlok NEWLINE
unread: BAD

IDENT: /[a-z][._0-9a-z]*/
STRING: /'([^'\\\n]|\\[^\n])*'|"([^"\\\n]|\\[^\n])*"/
NUMBER: /[0-9][0-9a-fx]*/
NEWLINE: /\n|#[^\n]*(\n|\Z)/
ADD: "+="
EQUALS: "="
SEMICOLON: ";"
OPEN: "["
CLOSE: "]"
COMMA: ","
BAD.-1: /[^ \t\n]([^ \t\n]+|[ \t]|\n)?/
BLANK: /[ \t]/
%declare ERROR
%ignore BLANK
"""

# As bison prints them, in the order of their numbers there.
SHOWN = {
    "$END": "$end",
    "IDENT": "IDENT",
    "STRING": "STRING",
    "NUMBER": "NUMBER",
    "NEWLINE": "NEWLINE",
    "ADD": "+=",
    "EQUALS": "'='",
    "SEMICOLON": "';'",
    "OPEN": "'['",
    "CLOSE": "']'",
    "COMMA": "','",
}


@dataclass(frozen=True, slots=True)
class Grammar:
    """The tables: in each state, what to do for each token, and which rule is reduced where none fits."""

    lark: Lark
    actions: Mapping[int, Mapping[str, Any]]
    default: Mapping[int, Rule]
    alone: frozenset[int]
    """States in which only the default reduction is possible, so that no token needs to be looked at."""
    start: int


@cache
def grammar() -> Grammar:
    """The tables, made when they are first needed."""
    # The second start is never used: without it lark would drop the token that no rule has.
    lark = Lark(_GRAMMAR, parser="lalr", lexer="basic", start=["start", "unread"])
    conf = lark.parse_interactive("", start="start").parser_state.parse_conf
    # Lark stops before the state that accepts; bison goes through it, and says there that it expects the end.
    actions: dict[int, Mapping[str, Any]] = {**conf.states, conf.end_state: {"$END": (Shift, conf.end_state)}}
    default, alone = {}, set()
    for state, row in actions.items():
        # Non-terminals, written in lower case, stand in the same rows: where to go after a reduction.
        tokens = {name: action for name, action in row.items() if name.isupper()}
        rules = Counter(argument for action, argument in tokens.values() if action is Reduce)
        if rules and tokens.get("ERROR", (Reduce,))[0] is Reduce:  # bison: none where an error can be shifted
            default[state] = rules.most_common(1)[0][0]
            if len(rules) == 1 and rules.total() == len(tokens):
                alone.add(state)
    return Grammar(lark, actions, default, frozenset(alone), conf.start_state)
