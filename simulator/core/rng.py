"""The only place that makes randomness. Its state is a value in the world, so a fork draws what its original drew."""

import msgspec

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15


class Rng(msgspec.Struct, frozen=True):
    """SplitMix64: one 64-bit state, one 64-bit answer, and no hidden parts."""

    state: int = 0

    def draw(self) -> "tuple[Rng, int]":
        """The next 64 bits, and the generator after them."""
        state = (self.state + _GOLDEN) & _MASK
        bits = state
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
        return Rng(state), bits ^ (bits >> 31)

    def apart(self, number: int) -> "Rng":
        """A generator whose draws are not those of this one, and others for every number."""
        _, bits = self.draw()
        return Rng((bits + number) & _MASK)

    def below(self, limit: int) -> "tuple[Rng, int]":
        """A number from 0 up to `limit`, exclusive. The bias of the modulus is far below anything a test could see."""
        after, bits = self.draw()
        return after, bits % limit

    def uuid(self) -> "tuple[Rng, str]":
        """A random UUID, version 4, lower case."""
        middle, high = self.draw()
        after, low = middle.draw()
        digits = f"{(high & ~0xF000) | 0x4000:016x}{(low >> 2) | (1 << 63):016x}"
        return after, f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
