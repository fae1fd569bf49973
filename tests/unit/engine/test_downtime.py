"""`--max-downtime`: a live save that fails rather than stop the guest for longer, and where it is refused."""

import pytest

from simulator import SimulatedHost
from xensnap.engine import CreateRequest, Engine
from xensnap.errors import Effect, ExitCode, Failed, Refused
from xensnap.hypervisor import Capability
from xensnap.model import RunState


@pytest.fixture
def host() -> SimulatedHost:
    """A guest that runs and can be saved live."""
    made = SimulatedHost.fresh()
    made.add_domain("guest", disks={"xvda": made.create_image("/images/a").path}, kind="pvh")
    made.start("guest")
    return made


def take(host: SimulatedHost, limit_s: float | None, *, live: bool = True) -> None:
    Engine(host).create("guest", CreateRequest("s", live=live, max_downtime_s=limit_s))


@pytest.mark.one_door("xl cannot be told how long a guest may stand still")
def test_a_guest_that_rests_is_saved_within_any_limit(host: SimulatedHost) -> None:
    take(host, 0.001)
    assert Engine(host).list("guest").contents.snapshots["s"].live


@pytest.mark.one_door("xl cannot be told how long a guest may stand still")
def test_one_that_never_rests_is_not_stopped_for_longer_and_nothing_is_left(host: SimulatedHost) -> None:
    host.guest_never_rests("guest", "xvda", length_bytes=1 << 20)
    with pytest.raises(Failed) as caught:
        take(host, 0.001)
    assert (caught.value.id, caught.value.effect) == ("not-converging", Effect.NONE)
    listing = Engine(host).list("guest")
    assert (listing.domain.state, listing.contents.snapshots) == (RunState.RUNNING, {})
    take(host, 1.0)


def test_without_a_limit_it_is_stopped_for_as_long_as_it_takes(host: SimulatedHost) -> None:
    host.guest_never_rests("guest", "xvda", length_bytes=1 << 20)
    take(host, None)


def test_a_limit_is_refused_where_nobody_could_keep_it(host: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as caught:
        take(host, 1.0, live=False)
    assert (caught.value.id, caught.value.exit_code) == ("needs-live", ExitCode.USAGE)
    monkeypatch.setattr(SimulatedHost, "capabilities", SimulatedHost.capabilities - {Capability.DOWNTIME_LIMIT})
    with pytest.raises(Refused) as caught:
        take(host, 1.0)
    assert caught.value.id == "no-downtime-limit"
