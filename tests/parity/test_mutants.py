"""What a reasonable fake would get wrong of xl, QEMU and qemu-img: what the real tool has told must notice each."""

from collections.abc import Callable

import pytest

from tests.parity import mutants_of_qemu, mutants_of_qemu_img, mutants_of_xl, traces, xen_traces
from tests.parity.mutants_of_xl import Case

Mutate = Callable[[pytest.MonkeyPatch], None]

MUTANTS: dict[Mutate, str | Case] = {
    **{
        mutate: f"xen/{noticing}" if isinstance(noticing, str) else noticing
        for mutate, noticing in mutants_of_xl.MUTANTS.items()
    },
    **mutants_of_qemu.MUTANTS,
    **mutants_of_qemu_img.MUTANTS,
}
"""Each with the trace that notices it, or the case."""


def differs(noticing: str | Case) -> bool:
    """Whether the simulator says another thing than the real tool has said. Breaking down is another thing, too."""
    if isinstance(noticing, Case):
        return noticing.notices()
    if noticing.startswith("xen/"):
        return any(ours != theirs for ours, theirs in xen_traces.replayed(noticing.removeprefix("xen/")))
    _, *lines = traces.read(noticing)
    told = traces.replayed(lines, traces.STORIES[noticing])
    return any(ours != theirs for ours, theirs in zip(told, lines, strict=True))


@pytest.mark.parametrize("mutate", [pytest.param(mutate, id=mutate.__name__) for mutate in MUTANTS])
def test_a_mistake_is_noticed(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not differs(MUTANTS[mutate])
    mutate(monkeypatch)
    assert differs(MUTANTS[mutate])
