"""Why a target refuses calls: too many at once, too many in a time, or by chance. Each asks for another answer.

Too many at once are refused one after the other, and not below that level. A rate's refusals become fewer with fewer
calls, and come back at the same level. Those of chance are as frequent at half the level.
"""

from enum import StrEnum

SOON_CALLS = 150  # a refusal within so many accepted calls of the one before: what was done about that was in vain
VAIN = 3  # so many of them make another cause likely
ROW_OF_PACED = 4  # refusals in a row under a pace: the number at once has moved as well
MOST_PACES = 1
ROW_OF_FEW = 3
FEW_AT_ONCE = 8
SMALLEST_LIMIT = 4  # below it a cut is coarser than a pace
SAME_LEVEL = 0.85
SOON_ROUNDS = 20
LOWER_LEVEL = 0.7
SAME_SHARE = 0.6
LARGEST_CHANCE = 0.45  # the share of refusals
MORE_SHARE = 0.2
CALM_CALLS = 500
FEW = 6


class Cause(StrEnum):
    """What refusals are thought to be about."""

    CONCURRENCY = "concurrency"
    RATE = "rate"
    CHANCE = "chance"


class Refusals:
    """Counts what came between refusals. Only those of calls sent since the last answer to one are told here."""

    def __init__(self) -> None:
        self.cause = Cause.CONCURRENCY
        self.in_row = 0  # with nothing accepted between them
        self.anchor = 0.0  # the limit before refusals came soon after each other
        self.workers = 1  # that share the target: a few calls at once of each are not few
        self.is_test = False  # the limit is to be halved: that shows whether it helps
        self._vain = 0
        self._accepted = 0  # calls since something was changed, so that it shows what it did
        self._refused = 0
        self._level = 1.0  # of concurrency then
        self._share = 0.0  # of refusals before
        self._halved_from = 0.0
        self._paces = 0  # judged since a rate is suspected
        self._is_no_chance = False  # chance was suspected, and was not it

    def add(self, accepted: int, refused: int, limit: float, *, is_proven: bool, is_news: bool = True) -> None:
        """Counts a refusal at this limit of concurrency; so many calls were accepted, and refused, since the last.

        ``is_proven``: that limit held before. ``is_news`` False: other workers have not reacted yet, or judge.
        """
        accepted = max(accepted, 0)
        self._accepted += accepted
        self._refused += refused
        self.is_test = False
        is_in_row = accepted == 0
        self.in_row = self.in_row + 1 if is_in_row else 1
        if not is_news:
            return
        if accepted > SOON_CALLS or not self.anchor:
            self.anchor = limit
            self._change(limit)
        elif not is_in_row or self.cause is Cause.RATE:
            self._vain += 1
        match self.cause:
            case Cause.CONCURRENCY if is_in_row:
                self._halved_from = limit
            case Cause.CONCURRENCY:
                self._judge_cuts(accepted, limit, is_proven=is_proven)
            case Cause.RATE:
                self._judge_paces(limit)
            case Cause.CHANCE:
                self._judge_chance(accepted, limit)

    def is_row(self, limit: float) -> bool:
        """Whether so many in a row mean that there is room for far fewer: of few calls, some are refused by chance."""
        return self.in_row > (1 if limit > FEW_AT_ONCE else ROW_OF_FEW)

    def suspect(self, cause: Cause, limit: float) -> None:
        """Thinks of another cause from now on."""
        if cause is not self.cause:
            self.cause = cause
            self._halved_from = 0.0
            self._paces = 0
            self._change(limit)

    def _change(self, limit: float) -> None:
        self._share = self.share
        self._accepted = self._refused = self._vain = 0
        self._level = max(limit, 1.0)

    @property
    def share(self) -> float:
        """Of the calls since something was changed, those that were refused."""
        return self._refused / max(self._refused + self._accepted, 1)

    def _judge_cuts(self, accepted: int, limit: float, *, is_proven: bool) -> None:
        is_back = self._halved_from * SAME_LEVEL <= limit <= self._halved_from / SAME_LEVEL
        is_least = limit * self.workers <= SMALLEST_LIMIT and (is_proven or (self.workers > 1 and limit <= 1))
        if (is_back and accepted <= SOON_ROUNDS * limit) or is_least:
            self.suspect(Cause.RATE, limit)
        elif self._vain < VAIN:
            if is_proven:
                self._halved_from = limit
        elif limit > max(LOWER_LEVEL * self.anchor, SMALLEST_LIMIT / self.workers):
            self.is_test = True
            self._change(limit / 2)
        else:
            is_chance = SAME_SHARE * self._share <= self.share <= LARGEST_CHANCE and not self._is_no_chance
            self.suspect(Cause.CHANCE if is_chance else Cause.RATE, limit)

    def _judge_paces(self, limit: float) -> None:
        """A rate's refusals become fewer under a lower pace; those of chance do not."""
        if self.in_row >= ROW_OF_PACED:
            self.suspect(Cause.CONCURRENCY, limit)
        elif self._vain >= VAIN:
            self._paces += 1
            is_same = self.share >= SAME_SHARE * self._share or self._paces > MOST_PACES
            if is_same and self.share <= LARGEST_CHANCE:
                self._is_no_chance = False
                self.suspect(Cause.CHANCE, limit)
            else:
                self._change(limit)

    def _judge_chance(self, accepted: int, limit: float) -> None:
        """Refusals that are more frequent than chance has them are about too many at once, on top of it."""
        if accepted >= CALM_CALLS:
            self.suspect(Cause.CONCURRENCY, limit)
            return
        if not SAME_LEVEL <= limit / self._level <= 1 / SAME_LEVEL:
            self._accepted = self._refused = 0
            self._level = limit
        if self._refused < FEW or self.share <= min(self._share + MORE_SHARE, LARGEST_CHANCE):
            return
        self._accepted = self._refused = 0
        self.is_test = True
        if limit <= SMALLEST_LIMIT:  # nor is it about concurrency
            self._is_no_chance = True
            self.suspect(Cause.RATE, limit)
