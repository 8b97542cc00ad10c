"""A notifier that reaches nobody: for tests of everything above the Notifier port."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from forebay.domain.errors import TargetError
from forebay.domain.webhook import Delivered, Delivery
from forebay.policy.addresses import read_url

Reply = Callable[[Delivery], Delivered | TargetError]


def taken(_: Delivery) -> Delivered:
    """The reply of a receiver that takes everything."""
    return Delivered(status_code=204)


class ScriptedNotifier:
    """Keeps what was sent, in order, and answers as ``reply`` says. No name is looked up.

    ``held``: addresses that hang until the ``gate`` is set.
    """

    def __init__(self, reply: Reply = taken) -> None:
        self.reply = reply
        self.sent: list[Delivery] = []
        self.checked: list[str] = []
        self.held: frozenset[str] = frozenset()
        self.gate = asyncio.Event()

    async def check(self, url: str, param: str) -> None:
        read_url(url, param)
        self.checked.append(url)

    async def send(self, delivery: Delivery) -> Delivered:
        self.sent.append(delivery)
        if delivery.url in self.held:
            await self.gate.wait()
        reply = self.reply(delivery)
        if isinstance(reply, TargetError):
            raise reply
        return reply

    async def close(self) -> None:
        self.gate.set()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was sent, parsed."""
        return [json.loads(one.body) for one in self.sent]
