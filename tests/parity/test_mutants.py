"""What a reasonable fake would get wrong of xl, QEMU and qemu-img: what the real tool has told must notice each."""

from collections.abc import Callable

import pytest

from tests.parity import mutants_of_qemu, mutants_of_qemu_img, mutants_of_xl, traces, xen_traces

Mutate = Callable[[pytest.MonkeyPatch], None]

MUTANTS: dict[Mutate, str] = {
    **{mutate: f"xen/{name}" for mutate, name in mutants_of_xl.MUTANTS.items()},
    **mutants_of_qemu.MUTANTS,
    **mutants_of_qemu_img.MUTANTS,
}


def differs(name: str) -> bool:
    """Whether the simulator says another thing than the real tool has said. Breaking down is another thing, too."""
    if name.startswith("xen/"):
        return any(ours != theirs for ours, theirs in xen_traces.replayed(name.removeprefix("xen/")))
    _, *lines = traces.read(name)
    return any(ours != theirs for ours, theirs in zip(traces.replayed(lines, traces.STORIES[name]), lines, strict=True))


@pytest.mark.parametrize("mutate", [pytest.param(mutate, id=mutate.__name__) for mutate in MUTANTS])
def test_a_trace_notices(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not differs(MUTANTS[mutate])
    mutate(monkeypatch)
    assert differs(MUTANTS[mutate])


@pytest.mark.parametrize("mutate", [pytest.param(mutate, id=mutate.__name__) for mutate in mutants_of_xl.CASES])
def test_a_case_notices(mutate: Mutate, monkeypatch: pytest.MonkeyPatch) -> None:
    case = mutants_of_xl.CASES[mutate]
    case()
    mutate(monkeypatch)
    with pytest.raises(AssertionError):
        case()
