"""`completion`: what a shell needs to complete the words of xensnap."""

import click

from xensnap.cli.command import command_with
from xensnap.cli.completing import SHELLS
from xensnap.cli.session import Session, told
from xensnap.errors import Failed

INSTALLED = {
    "bash": "/etc/bash_completion.d/xensnap",
    "zsh": "/usr/local/share/zsh/site-functions/_xensnap",
    "fish": "~/.config/fish/completions/xensnap.fish",
}


@command_with(
    "completion",
    "Print the completion script of a shell.",
    *((f"xensnap completion {shell} > {path}", "") for shell, path in INSTALLED.items()),
)
@click.argument("shell", type=click.Choice(SHELLS))
@told
def command(session: Session, shell: str) -> None:
    """Print a script for SHELL that completes verbs, options, and the domains and snapshots that there are."""
    from click.shell_completion import get_completion_class

    context = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    assert kind is not None, "click knows all of these"
    try:
        script = kind(context.command, {}, "xensnap", "_XENSNAP_COMPLETE").source()
    except RuntimeError as error:
        raise Failed(f"no script for {shell}: {error}", id="no-such-program") from error
    session.print(script)
