"""What the bodies that are on their way hold of memory, all together: many slow uploads must not take the server's."""

from forebay.domain.errors import Overloaded


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
