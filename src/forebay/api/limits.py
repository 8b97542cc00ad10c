"""What the bodies that are on their way hold of memory, all together: many slow uploads must not take the server's."""

import asyncio
from collections.abc import Callable

from forebay.domain.errors import Overloaded
from forebay.settings.records import Settings


class Room:
    """Memory for bodies that come in pieces. What comes whole in one piece needs none: it is gone the next moment."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    def take(self, size: int) -> None:
        """Raises: Overloaded: there is no room now; what was taken before is the caller's to give back."""
        if self.held_bytes + size > self._most_bytes:
            message = "The server holds as much of unfinished uploads as it may (setting `max_bodies_bytes`)"
            raise Overloaded(f"{message}; send the request again", code="server_overloaded")
        self.held_bytes += size

    def give_back(self, size: int) -> None:
        self.held_bytes -= size


class Unfinished:
    """A socket's message that comes in pieces. ``look`` is called once in `body_timeout` while it is unfinished."""

    __slots__ = ("_came_bytes", "_held_bytes", "_look", "_room", "_settings", "_timer")

    def __init__(self, room: Room, settings: Settings, look: Callable[[], None]) -> None:
        self._room = room
        self._settings = settings
        self._look = look
        self._held_bytes = 0
        self._came_bytes = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, held_bytes: int, received_bytes: int) -> None:
        """``held_bytes``: of the message, now. Raises: Overloaded."""
        self._came_bytes += received_bytes
        more = held_bytes - self._held_bytes
        if more > 0:
            self._room.take(more)
        else:
            self._room.give_back(-more)
        self._held_bytes = held_bytes
        if not held_bytes:
            self._disarm()
        elif self._timer is None:
            self._arm()

    def is_coming(self, *, is_read: bool) -> bool:
        """Whether enough of it came since the last look; ``is_read`` False: it is we who don't read."""
        wanted = self._settings.min_upload_rate_bytes * self._settings.body_timeout_seconds
        is_coming = not is_read or self._came_bytes >= wanted
        if is_coming:
            self._arm()
        return is_coming

    def end(self) -> None:
        """Gives the room back."""
        self._room.give_back(self._held_bytes)
        self._held_bytes = 0
        self._disarm()

    def _arm(self) -> None:
        self._came_bytes = 0
        self._timer = asyncio.get_running_loop().call_later(self._settings.body_timeout_seconds, self._look)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
