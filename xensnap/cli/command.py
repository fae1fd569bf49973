"""How a verb shows its help: what it does, examples, its own options; what all verbs share is only named."""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from xensnap.errors import Usage

Function = TypeVar("Function", bound=Callable[..., Any])

COMMON = {
    "--json": "Print one JSON document, also for an error.",
    "--dry-run": "Show the plan and change nothing; with --json, as `apply` reads it.",
    "--accept": "RISK-ID: take this one risk, which a refusal has named; can be repeated.",
    "--wait": "SECONDS: how long to wait for a domain that somebody else works on.",
    "--no-wait": "Do not wait at all.",
    "--events": "Tell each step on stderr as a JSON object on a line.",
    "--host": "As above.",
    "--verbose": "As above.",
    "--help": "As above.",
}
"""What many verbs have, explained once by `xensnap --help`."""


NARROW = 70
"""On a terminal of fewer columns, options stand above what is said of them."""


class _Told(click.Command):
    """A command whose errors know that they are its own, so that its help is what they point at."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click, whose parser leaves the context out where an option is wrong."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise


class Verb(_Told):
    """A command with examples."""

    def __init__(self, *arguments: Any, examples: tuple[tuple[str, str], ...] = (), **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Examples first, then the options of this verb; those of all verbs in one line."""
        if self.examples:
            with formatter.section("Examples"):
                width = max(len(words) for words, _ in self.examples)
                for words, told in self.examples:
                    formatter.write(f"  {words:<{width}}  {told}".rstrip() + "\n")
        options = [each for each in self.get_params(ctx) if isinstance(each, click.Option)]
        common = [word for each in options if (word := max(each.opts, key=len)) in COMMON]
        own = [each.get_help_record(ctx) for each in options if max(each.opts, key=len) not in COMMON]
        if own:
            with formatter.section("Options"):
                formatter.write_dl([record for record in own if record], col_max=34 if formatter.width > NARROW else 20)
        if common:
            with formatter.section("Options of all verbs (see `xensnap --help`)"):
                formatter.write_text(" ".join(common))


class Group(_Told, click.Group):
    """A command of commands."""

    command_class = Verb

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See click.

        Raises:
            Usage: there is no such command.
        """
        word = args[0]
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            whose = f"`{ctx.info_name}` has" if ctx.parent else "there is"
            raise Usage(f"{whose} no command {word!r}", remedy=self.instead(ctx, word))
        return super().resolve_command(ctx, args)

    def instead(self, ctx: click.Context, word: str) -> str:
        """What to type instead of a word that is no command of this group."""
        there = self.list_commands(ctx)
        near = nearest(word, there)
        return f"Did you mean `{ctx.command_path} {near}`?" if near else f"Its commands are: {', '.join(there)}."


def nearest(word: str, there: Iterable[str]) -> str:
    """The word among these that was probably meant; empty where none is near."""
    import difflib

    return next(iter(difflib.get_close_matches(word, there, n=1)), "")


def command_with(name: str, short_help: str, *examples: tuple[str, str]) -> Callable[[Function], Verb]:
    """A verb of this name, with a line for the list of all verbs and examples: a command line and what it does."""
    return click.command(name, cls=Verb, short_help=short_help, examples=examples)
