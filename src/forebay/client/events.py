"""``client.events``: publish events at a server, look at those that it keeps, send them through its rules again."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from forebay.client.transport import Transport, decoded
from forebay.client.views import EventView, Page, ReceiptView
from forebay.domain.errors import RequestError

EVENTS_OF_A_REQUEST = 1000


class AsyncEvents:
    """Events of one server."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, event: Mapping[str, Any]) -> ReceiptView:
        """Publishes one event: CloudEvents 1.0 or EventBridge's shape. Raises: RequestError: it was refused.

        One without an ``id`` is given one here, so that a broken connection is tried again and it is one event all the
        same. Within a Python target it carries on how many events led here.
        """
        [receipt] = await self.send_many([event])
        if receipt.error is not None:
            raise RequestError(receipt.error.message, param=receipt.error.param, code=receipt.error.code)
        return receipt

    async def send_many(self, events: Iterable[Mapping[str, Any]]) -> list[ReceiptView]:
        """Publishes many; one receipt for each, in order, with an ``error`` where it was refused."""
        named = [event if event.get("id") is not None else {**event, "id": uuid.uuid4().hex} for event in events]
        receipts: list[ReceiptView] = []
        for start in range(0, len(named), EVENTS_OF_A_REQUEST):
            receipts += await self._receipts("/v1/events", named[start : start + EVENTS_OF_A_REQUEST])
        return receipts

    async def replay(self, ids: Sequence[str] | None = None, *, unmatched: bool = False) -> list[ReceiptView]:
        """Sends kept events, by their ``record_id``, through the rules of today; a rule that one has met runs no
        second time.
        """
        body = {"ids": ids} if ids is not None else {"unmatched": unmatched}
        return await self._receipts("/v1/events/replay", body)

    async def _receipts(self, path: str, body: Any) -> list[ReceiptView]:
        page = await self._transport.call("POST", path, Page, body=body, is_repeatable=True)
        return [decoded(item, ReceiptView) for item in page.data]

    async def list(self, **filters: Any) -> list[EventView]:
        """Those that are kept, newest first: ``unmatched``, ``limit``, ``after``."""
        given = {name: str(value) for name, value in filters.items() if value is not None}
        params = {name: text.lower() if text in {"True", "False"} else text for name, text in given.items()}
        page = await self._transport.call("GET", "/v1/events", Page, params=params, is_repeatable=True)
        return [decoded(item, EventView) for item in page.data]
