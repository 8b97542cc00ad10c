"""Ids: a prefix that tells the kind and 26 characters that sort by time of making (ULID's layout, lower case)."""

import random
import time
from collections.abc import Callable

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32. Source: https://github.com/ulid/spec
TIME_BITS, RANDOM_BITS = 50, 80  # 10 and 16 characters of 5 bits
_PAIRS = [high + low for high in ALPHABET for low in ALPHABET]


class IdSource:
    """Makes ids that grow within one process, and that no two processes make alike (80 random bits a millisecond)."""

    def __init__(self, clock: Callable[[], float] = time.time, chance: random.Random | None = None) -> None:
        self._clock = clock
        self._chance = chance or random.SystemRandom()
        self._millisecond = -1
        self._head = ""  # the characters of the millisecond
        self._tail = 0

    def new(self, prefix: str) -> str:
        """Returns ``prefix_`` and 26 characters (``file-`` for files, as OpenAI writes them)."""
        millisecond = int(self._clock() * 1000)
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            self._head = _encode(millisecond, TIME_BITS)
            self._tail = self._chance.getrandbits(RANDOM_BITS - 1)
        else:
            self._tail += 1 + self._chance.getrandbits(16) if self._tail & 0xFF == 0 else 1
        joint = "-" if prefix == "file" else "_"
        return prefix + joint + self._head + _encode(self._tail, RANDOM_BITS)


def _encode(number: int, bits: int) -> str:
    return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(bits - 10, -1, -10)])
