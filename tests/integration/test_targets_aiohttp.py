"""What only the client on aiohttp does by itself."""

from typing import Any

import aiohttp
import pytest

from forebay.targets.aiohttp_client import AiohttpClient
from forebay.testing.mock_model import MockModel


async def test_a_request_of_which_no_byte_left_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes = aiohttp.ClientRequest.write_bytes
    closed = []

    async def write_to_closing(self: aiohttp.ClientRequest, writer: Any, connection: Any, length: int | None) -> None:
        if not closed:
            closed.append(connection)
            connection.transport.close()  # as if the server's end had come between the pool and the write
        await write_bytes(self, writer, connection, length)

    monkeypatch.setattr(aiohttp.ClientRequest, "write_bytes", write_to_closing)
    async with MockModel() as mock:
        http = AiohttpClient()
        body = b'{"model":"m","messages":[{"role":"user","content":"hello"}]}'
        response = await http.post(f"{mock.base_url}/chat/completions", {}, body, 5)
        await http.close()
        assert mock.calls["total"] == 1
    assert response.status == 200
    assert len(closed) == 1
