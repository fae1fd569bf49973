"""A command line that cannot be understood: click's errors in our words, and what to type instead."""

import re
from collections.abc import Sequence

import click

from xensnap.cli.command import COMMON
from xensnap.cli.elsewhere import OPTIONS
from xensnap.errors import Usage


def usage_of(error: click.ClickException, arguments: Sequence[str]) -> Usage:
    """What is wrong with the command line, and what was probably meant.

    Args:
        error: click's.
        arguments: all words of the command line, less its first.
    """
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None:
        return Usage(_sentence(error), remedy="See `xensnap --help`.")
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return Usage(f"{context.command_path} needs a command", remedy=f"See `{context.command_path} --help`.")
    help_told = f"See `{context.command_path} --help`."
    if isinstance(error, click.NoSuchOption):
        whose = f"`{context.info_name}` has" if context.parent else "there is"
        cause = f"{whose} no option {error.option_name}{'' if context.parent else ' before the command'}"
        return Usage(cause, remedy=_option_instead(error, context, arguments) or help_told)
    if isinstance(error, click.MissingParameter):
        return Usage(f"{_name(error.param, context)} is missing", remedy=f"{_form(context)} {help_told}")
    if isinstance(error, click.BadOptionUsage):
        written = [each for each in context.command.params if error.option_name in each.opts]
        form = "".join(
            f"Write {error.option_name} {each.make_metavar(context)}. " for each in written if not _flag(each)
        )
        return Usage(_sentence(error), remedy=f"{form}{help_told}")
    if isinstance(error, click.BadParameter):
        return Usage(f"{_name(error.param, context)}: {_plain(error.message)}", remedy=help_told)
    return Usage(_sentence(error), remedy=f"{_form(context)} {help_told}")


def _sentence(error: click.ClickException) -> str:
    return _plain(error.format_message())


def _plain(text: str) -> str:
    """As our own messages are: no capital at the beginning, no full stop at the end."""
    text = text.replace("a valid float range", "a number").replace("a valid integer range", "a whole number")
    return (text[:1].lower() + text[1:]).removesuffix(".")


def _name(parameter: click.Parameter | None, context: click.Context) -> str:
    """What a user calls a parameter: an option by its longest name, an argument by what stands for it in the help."""
    if parameter is None:
        return "a word"
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len)
    return re.sub(r"\[[^]]*\] ", "", parameter.make_metavar(context)).strip("[]")


def _flag(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Option) and parameter.is_flag


def _form(context: click.Context) -> str:
    """The command with all its words."""
    pieces = [each for each in context.command.collect_usage_pieces(context) if each != "[OPTIONS]"]
    return f"It is used as `{' '.join([context.command_path, *pieces])}`."


def _option_instead(error: click.NoSuchOption, context: click.Context, arguments: Sequence[str]) -> str:
    name = error.option_name
    if context.parent is None and (after := _verb_with(name, context, arguments)):
        return f"It stands after the command: `xensnap {after} … {name}`."
    if name in OPTIONS:
        return OPTIONS[name]
    near = " or ".join(error.possibilities or ())
    return f"Did you mean {near}?" if near else ""


def _verb_with(option: str, context: click.Context, arguments: Sequence[str]) -> str:
    """The verb on the command line that has this option; what a verb shares with the others is known without it."""
    assert isinstance(context.command, click.Group), "only the command of all commands has no parent"
    for word in arguments:
        if command := None if word.startswith("-") else context.command.get_command(context, word):
            return word if any(option in each.opts for each in command.params) else ""
    return "VERB" if option in COMMON else ""
