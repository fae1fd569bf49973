"""Spans and moments as they are typed: `7d`, `12h`, `2026-11-26`, `2026-11-26 03:00`, `@1790000000`."""

import re
from datetime import datetime
from typing import Any

import click
import msgspec

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d{1,9})([smhdw])")
SPAN_FORM = "a number with s, m, h, d or w"


def span_s(text: str) -> int | None:
    """Seconds in a span such as `90m`, or None if it is none."""
    found = _SPAN.fullmatch(text)
    return int(found[1]) * UNITS_S[found[2]] if found else None


class Span(click.ParamType[int]):
    """An option's value that is a span of time, in seconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click."""
        seconds = value if isinstance(value, int) else span_s(value)
        if seconds is None:
            self.fail(f"{value!r} is no span of time: {SPAN_FORM}, such as 7d.", param, ctx)
        return seconds


class When(msgspec.Struct, frozen=True):
    """A moment: epoch seconds, or a distance from the host's present, which may not be ours."""

    seconds: int
    relative: bool = False

    def at_s(self, now_s: int) -> int:
        """The epoch second that is meant."""
        return now_s + self.seconds if self.relative else self.seconds


class Moment(click.ParamType[When]):
    """An option's value that is a moment. A span is taken from now: `direction` -1 back, 1 on."""

    name = "moment"

    def __init__(self, direction: int) -> None:
        self._direction = direction

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> When:
        """See click."""
        if isinstance(value, When):
            return value
        seconds = span_s(value)
        if seconds is not None:
            return When(self._direction * seconds, relative=True)
        if re.fullmatch(r"@\d{1,11}", value):
            return When(int(value[1:]))
        try:
            return When(int(datetime.fromisoformat(value).timestamp()))
        except (ValueError, OverflowError, OSError):
            form = f"2026-11-26, '2026-11-26 03:00', @ and epoch seconds, or {SPAN_FORM}"
            self.fail(f"{value!r} is no moment: {form}.", param, ctx)


SPAN = Span()
PAST = Moment(-1)
FUTURE = Moment(1)
