"""Virtual time. It moves when an effect happens or somebody sleeps, never by itself."""

import msgspec

START_NS = 1_700_000_000_000_000_000
"""Where every fresh world's wall clock begins, so that dates in tests are the same for ever."""


class Clock(msgspec.Struct, frozen=True):
    """A wall clock, which may be set, and a monotonic one, which only grows."""

    now_ns: int = START_NS
    monotonic_ns: int = 1_000_000_000

    def after(self, ns: int) -> "Clock":
        """Both clocks this much later."""
        return Clock(self.now_ns + ns, self.monotonic_ns + ns)

    def set_to(self, now_ns: int) -> "Clock":
        """The wall clock jumps; the monotonic one does not notice."""
        return Clock(now_ns, self.monotonic_ns)
