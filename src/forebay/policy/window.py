"""The sliding window: how many lines of a batch have rows at one time, and when their parent wakes to send more."""

SMALLEST = 256
LARGEST = 10_000
LARGEST_BYTES = 8 * 1024 * 1024  # of bodies read at one refill: large lines shrink the window
SOON_SECONDS = 1.0  # a window that empties sooner is too small: every wake costs a commit and two synced files
PUBLISH_SHARE = 0.1  # of a batch's age: how long finished lines may wait to become readable
PUBLISH_SECONDS = (2.0, 60.0)
LARGEST_STEP = 1_000  # lines of one Change: they stand in memory together, and no other commit runs beside it
RESERVED_ITEMS = 4  # segments of one Change


def next_window(window: int, *, slots: int, refilled_at: float | None, now: float, is_starved: bool = False) -> int:
    """The size of the window at a wake: at least twice the slots that serve the lane, doubled while it empties soon,
    and while the lane has taken all of it (``is_starved``): how many slots a lane has may have to be learned.

    ``window`` 0 is a batch that has sent nothing yet. ``refilled_at`` None: it was not full since it last grew. It
    never shrinks: what was sent can't be taken back.
    """
    wanted = max(window, 2 * slots)
    if refilled_at is not None and (is_starved or now - refilled_at < SOON_SECONDS):
        wanted = max(wanted, 2 * window)
    return min(max(wanted, SMALLEST), LARGEST)


def wake_at(live: int, window: int, *, is_shrunk: bool) -> int:
    """At how many live lines the parent wakes: half the window, or half of what there is if that is less.

    ``is_shrunk``: the refill stopped at its bytes or at the input's end, so the window is what is live.
    """
    return min(window, live) // 2 if is_shrunk else window // 2


def publish_at(started_at: float, now: float) -> float:
    """When the parent wakes at the latest, so that what is finished becomes readable."""
    soonest, latest = PUBLISH_SECONDS
    return now + min(max((now - started_at) * PUBLISH_SHARE, soonest), latest)


def items_a_step(most: int | None) -> int:
    """How many children, and how many to take over, fit into one Change."""
    return LARGEST_STEP if most is None else min(max((most - RESERVED_ITEMS) // 2, 1), LARGEST_STEP)
