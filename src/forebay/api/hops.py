"""How many events led to a request, as its header tells; every way in by which work comes asks here."""

from starlette.requests import HTTPConnection

from forebay.domain.hops import HOPS_HEADER, read_hops


def hops_of(connection: HTTPConnection) -> int:
    """Raises: RequestError: the header is no number."""
    return read_hops(connection.headers.get(HOPS_HEADER))
