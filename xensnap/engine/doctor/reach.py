"""What others have in their reach: the store, memory elsewhere, files of ours beside images, and the directories."""

from collections.abc import Iterable, Iterator

from xensnap.engine import trust
from xensnap.engine.context import directory
from xensnap.engine.doctor.finding import Finding, Severity
from xensnap.engine.doctor.survey import Survey
from xensnap.engine.records import Store
from xensnap.errors import Reason


def store(seen: Survey) -> Iterator[Finding]:
    """See `of_store`."""
    yield from of_store(seen.store, seen.doubts)


def of_store(store: Store, doubts: Iterable[Reason]) -> Iterator[Finding]:
    """Nobody else could have written what is in the store. As long as he could, nothing is mended by it."""
    for doubt in doubts:
        yield Finding(doubt.id, Severity.ERROR, store.directory, doubt.cause, doubt.remedy)


def memories(seen: Survey) -> Iterator[Finding]:
    """Nobody else could have written a memory that is outside of the store."""
    for name, doubt in seen.view.doubted.items():
        yield Finding("memory-not-trusted", Severity.ERROR, name, doubt, trust.REMEDY)


def directories(seen: Survey) -> Iterator[Finding]:
    """Nobody else can put another file in the place of an image."""
    for place, stat in seen.places.items():
        for cause in trust.in_reach(place, stat):
            told = f"{cause}, and he could put another image in the place of one that is in it"
            yield Finding("directory-open", Severity.WARNING, place, told, f"chmod o-w {place}")


def ours(seen: Survey) -> Iterator[Finding]:
    """What we have made beside the images is still ours, and nobody else can write to it."""
    for entry in seen.view.state.ours:
        stat = seen.stats.get(entry.path)
        if stat is None or entry.role == "memory":
            continue
        for cause in trust.against_content(entry.path, stat, seen.places.get(directory(entry.path)), seen.uid):
            yield Finding("image-in-reach", Severity.WARNING, entry.path, cause, trust.REMEDY)
