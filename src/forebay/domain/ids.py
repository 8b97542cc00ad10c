"""Ids: a prefix that tells the kind and 26 characters that sort by time of making (ULID's layout, lower case)."""

import random
import time
from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32. Source: https://github.com/ulid/spec
TIME_BITS, RANDOM_BITS = 50, 80  # 10 and 16 characters of 5 bits
LOW_BITS = 20  # the last 4 characters: they alone change from one id of a millisecond to the next
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]


class IdSource:
    """Makes ids that grow within one process, and that no two processes make alike (80 random bits a millisecond)."""

    def __init__(self, clock: Callable[[], float] = time.time, chance: random.Random | None = None) -> None:
        self._clock = clock
        self._chance = chance or random.SystemRandom()
        self._millisecond = -1
        self._head = ""  # all but the last 4 characters
        self._high = self._low = 0  # the random number, in two parts

    def new(self, prefix: str) -> str:
        """Returns ``prefix_`` and 26 characters (``file-`` for files, as OpenAI writes them)."""
        millisecond = int(self._clock() * 1000)
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            self._high = self._chance.getrandbits(RANDOM_BITS - LOW_BITS - 1)
            self._low = self._chance.getrandbits(LOW_BITS)
            self._head = _encode(millisecond, TIME_BITS) + _encode(self._high, RANDOM_BITS - LOW_BITS)
        else:
            self._grow()
        low = self._low
        joint = "-" if prefix == "file" else "_"
        return prefix + joint + self._head + _PAIRS[low >> 10] + _PAIRS[low & 1023]

    def _grow(self) -> None:
        self._low += 1 + self._chance.getrandbits(16) if self._low & 0xFF == 0 else 1
        if self._low >> LOW_BITS:
            self._low &= (1 << LOW_BITS) - 1
            self._high += 1
            self._head = _encode(self._millisecond, TIME_BITS) + _encode(self._high, RANDOM_BITS - LOW_BITS)


def _encode(number: int, bits: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(bits - 10, -1, -10)])
