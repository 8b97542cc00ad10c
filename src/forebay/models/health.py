"""Asking a model server whether it is well."""

import asyncio

REQUEST = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"


async def is_healthy(host: str, port: int, timeout_seconds: float) -> bool:
    """Whether ``GET /health`` is answered with 200 within that time (llama.cpp: 503 while it loads)."""
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(REQUEST)
                await writer.drain()
                status_line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]
