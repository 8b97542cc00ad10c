"""What the tests of outgoing HTTP share: they hold every client that the package ships to the same contract."""

from collections.abc import AsyncIterator, Mapping

import pytest

from forebay.domain.errors import TargetError
from forebay.targets.clients import HttpLibrary, open_http
from forebay.targets.http import HttpClient, Response

HEADERS = {"content-type": "application/json", "accept": "*/*", "accept-encoding": "identity"}
MAX_BYTES = 100_000


@pytest.fixture(params=HttpLibrary)
async def http(request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    client = open_http(request.param, max_answer_bytes=MAX_BYTES)
    yield client
    await client.close()


async def post(
    http: HttpClient, address: int | str, body: bytes = b"{}", seconds: float = 60, headers: Mapping[str, str] = HEADERS
) -> Response:
    """Posts to a port of loopback, or to a URL."""
    url = f"http://127.0.0.1:{address}/v1/chat" if isinstance(address, int) else address
    return await http.post(url, headers, body, seconds)


async def failure(http: HttpClient, address: int | str, body: bytes = b"{}", seconds: float = 60) -> TargetError:
    """Makes one call that is expected to fail, and returns its error."""
    with pytest.raises(TargetError) as caught:
        await post(http, address, body, seconds)
    return caught.value
