"""Which configuration a revert leaves the domain with, and what is against it. Pure."""

from collections.abc import Iterator

from xensnap.engine import settings
from xensnap.engine.request import RevertRequest
from xensnap.engine.view import View
from xensnap.errors import Reason, Usage
from xensnap.model import Described, Snapshot


def after_revert(view: View, snapshot: Snapshot, request: RevertRequest) -> str:
    """The text that the domain is configured with from then on; empty where it stays as it is.

    A guest that comes back with its memory comes back as the machine that it was, and what a revert gave up as it was.
    """
    if view.wanted is not None:
        return view.wanted.text
    then = snapshot.domain_config
    if request.trashed:
        return then if settings.differing(view.configuration, then) else ""
    if not snapshot.memory or request.keep_config:
        return ""
    return then if settings.of_the_machine(then, view.configuration) else ""


def with_memory(view: View, snapshot: Snapshot, request: RevertRequest) -> str:
    """What the restore of its memory is told to take name, bridges and actions from; empty for those of the memory."""
    return after_revert(view, snapshot, request) or (view.configuration if request.keep_config else "")


def name_after(view: View, snapshot: Snapshot, request: RevertRequest) -> str:
    """What the domain is called from then on: a guest that comes back with its memory brings its name along."""
    text = with_memory(view, snapshot, request) if snapshot.memory else after_revert(view, snapshot, request)
    return settings.name(text or (snapshot.domain_config if snapshot.memory else "")) or view.domain.name


def against(view: View, snapshot: Snapshot, request: RevertRequest) -> Iterator[Reason]:
    """All that is against the configuration that is asked for.

    Raises:
        Usage: two are asked for.
    """
    if request.keep_config and request.use_config:
        cause = "to keep the configuration and to use another contradict each other"
        raise Usage(cause, id="contradiction", remedy="Ask for one of them.")
    if view.wanted is not None:
        yield from _against_wanted(view, view.wanted, request.config_file or "the configuration")
    name = name_after(view, snapshot, request)
    if name != view.domain.name and name in view.other_names:
        cause = f"the configuration has the name {name!r}, and there is a domain of that name already"
        yield Reason("name-taken", cause, "Rename that domain, or keep the configuration: --keep-config.")
    if not snapshot.memory or not (request.keep_config or request.use_config):
        return
    which = request.config_file if view.wanted is not None else "the configuration that it has now"
    text = view.wanted.text if view.wanted is not None else view.configuration
    if not settings.read(snapshot.domain_config):
        cause = f"nobody knows with which configuration the memory of {snapshot.name!r} was saved"
        yield Reason("configuration-unknown", cause, "Revert without it, or the disks alone: --disks-only.")
    elif found := settings.of_the_machine(snapshot.domain_config, text):
        cause = f"the memory of {snapshot.name!r} is that of another machine than {which} tells: {', '.join(found)}"
        remedy = "Only name, targets of disks, bridges and actions on events may differ; or revert with --disks-only."
        yield Reason("configuration-differs", cause, remedy)


def _against_wanted(view: View, wanted: Described, source: str) -> Iterator[Reason]:
    domain = view.domain
    if wanted.uuid and wanted.uuid.lower() != domain.uuid:
        cause = f"{source} describes the domain {wanted.uuid}, and {domain.name} is {domain.uuid}"
        yield Reason("configuration-of-another", cause, "Give it the UUID of the domain, or leave it out.")
    here, there = {disk.vdev for disk in domain.disks}, {disk.vdev for disk in wanted.disks}
    if here != there:
        cause = f"{source} has other disks ({', '.join(sorted(there))}) than {domain.name} ({', '.join(sorted(here))})"
        yield Reason("configuration-disks", cause, "Attach or detach disks first; a revert does not.")


def told(view: View, snapshot: Snapshot, request: RevertRequest) -> Iterator[str]:
    """What becomes of the configuration, in words, before anything is done."""
    text = after_revert(view, snapshot, request)
    if text and (changes := settings.differing(view.configuration, text)):
        why = "with its memory comes back" if view.wanted is None else f"from {request.config_file or 'what was given'}"
        yield f"the configuration becomes another one ({why}): {', '.join(changes)}"
    elif not text and (changes := settings.differing(snapshot.domain_config, view.configuration)):
        yield f"the configuration is not what it was then, and stays what it is now: {', '.join(changes)}"
    for disk in view.wanted.disks if view.wanted is not None else ():
        now = view.domain.disk(disk.vdev)
        if now is not None and now.path != disk.path:
            yield f"{disk.vdev} is not put on {disk.path or 'nothing'}, as the file says: a revert decides that"
