"""What a shell completes: the domains and the snapshots that there are. Whatever goes wrong, nothing is completed."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from xensnap.cli.session import Session

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")


def domains(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The domains of the host that the words before choose."""
    with suppress(Exception), ctx.ensure_object(Session).reader() as reader:
        return _items(((domain.name, domain.state) for domain in reader.domains()), incomplete)
    return []


def snapshots(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The snapshots of the domain that stands before."""
    domain = ctx.params.get("domain")
    with suppress(Exception), ctx.ensure_object(Session).reader() as reader:
        records = reader.list(domain or "").contents.snapshots.values()
        return _items(((record.name, record.description or record.consistency) for record in records), incomplete)
    return []


def errors(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """The ids that `explain` knows."""
    from xensnap.cli.explanations import EXPLANATIONS

    return _items(((name, what) for name, (what, _) in EXPLANATIONS.items()), incomplete)


def _items(names: Iterable[tuple[str, str]], incomplete: str) -> "list[CompletionItem]":
    from click.shell_completion import CompletionItem

    # A shell reads one item a line, and a control character would be typed for the user.
    return [
        CompletionItem(name, help=told.partition("\n")[0])
        for name, told in names
        if name.startswith(incomplete) and name.isprintable()
    ]


Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

domain_argument: Decorator = click.argument("domain", shell_complete=domains)
optional_domain_argument: Decorator = click.argument(
    "domain", required=False, metavar="[DOMAIN]", shell_complete=domains
)
optional_snapshot_argument: Decorator = click.argument(
    "snapshot", required=False, metavar="[NAME]", shell_complete=snapshots
)
name_argument: Decorator = click.argument("name", shell_complete=snapshots)
