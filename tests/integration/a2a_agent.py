"""An A2A agent on the official SDK's server, as a process of its own: ``python -m tests.integration.a2a_agent PORT``.

What a message says is what the agent does. ``work NAME`` takes until ``POST /finish/NAME`` (a gate, so that no test
waits for a clock); ``GET /seen/WORDS`` tells what it was sent. With a key in the environment it wants that key.
"""

import asyncio
import os
import sys
from collections import defaultdict
from typing import Any

import httpx
import uvicorn
from a2a.helpers import new_raw_part, new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_rest_routes
from a2a.server.tasks import (
    BasePushNotificationSender,
    InMemoryPushNotificationConfigStore,
    InMemoryTaskStore,
    TaskUpdater,
)
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

KEY_VARIABLE = "AGENT_KEY"
PICTURE = b"\x89PNG\r\n\x1a\n\x00\xff"
KEEPALIVE_SECONDS = 60


class ObedientAgent(AgentExecutor):
    """Does what the first word of a message says."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.cancelled: list[str] = []
        self.gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        message = context.message
        assert message is not None
        self.seen.append(MessageToDict(message))
        words = context.get_user_input()
        if words.startswith("say"):
            await event_queue.enqueue_event(new_text_message(f"you said: {words}"))
            return
        task = context.current_task
        if task is None:
            task = new_task_from_user_message(message)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await self._work(words, updater)

    async def _work(self, words: str, updater: TaskUpdater) -> None:
        match words.split()[0]:
            case "fail":
                await updater.failed(updater.new_agent_message([new_text_part("my model is away")]))
            case "refuse":
                await updater.reject(updater.new_agent_message([new_text_part("that is not my trade")]))
            case "ask":
                await updater.requires_input(updater.new_agent_message([new_text_part("Which city?")]))
            case "authorise":
                await updater.requires_auth(updater.new_agent_message([new_text_part("Log in at the portal")]))
            case "work":
                await updater.start_work()
                await self.gates[words].wait()
                await self._complete(updater)
            case _:
                await self._complete(updater)

    async def _complete(self, updater: TaskUpdater) -> None:
        parts = [new_text_part("it is done"), new_raw_part(PICTURE, media_type="image/png", filename="chart.png")]
        await updater.add_artifact(parts, name="report")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.task_id is not None
        assert context.context_id is not None
        self.cancelled.append(context.task_id)
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def make_app(agent: ObedientAgent, url: str) -> Starlette:
    """The SDK's routes, and three by which a test leads the agent."""
    card = AgentCard(
        name="Obedient",
        description="Does what it is told",
        version="1",
        supported_interfaces=[AgentInterface(url=f"{url}/a2a", protocol_binding="HTTP+JSON", protocol_version="1.0")],
        capabilities=AgentCapabilities(push_notifications=True),
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain", "image/png"],
        skills=[AgentSkill(id="obey", name="obeying", description="It obeys", tags=["test"])],
    )
    configs = InMemoryPushNotificationConfigStore()
    handler = DefaultRequestHandler(
        agent_executor=agent,
        task_store=InMemoryTaskStore(),
        agent_card=card,
        push_config_store=configs,
        push_sender=BasePushNotificationSender(httpx.AsyncClient(), configs),
    )

    async def seen(request: Request) -> Response:
        words = request.path_params["words"]
        messages = [one for one in agent.seen if one["parts"][0].get("text") == words]
        cancelled = [one["taskId"] for one in messages if one["taskId"] in agent.cancelled]
        return JSONResponse({"messages": messages, "cancelled": cancelled})

    async def finish(request: Request) -> Response:
        agent.gates[request.path_params["words"]].set()
        return Response()

    leading = [Route("/seen/{words}", seen), Route("/finish/{words}", finish, methods=["POST"])]
    rest = create_rest_routes(request_handler=handler, path_prefix="/a2a")
    return Starlette(routes=[*leading, *create_agent_card_routes(card), *rest])


def guarded(app: Starlette, key: str | None) -> Any:
    """The app, which wants the key for everything below ``/a2a``."""

    async def guard(scope: Any, receive: Any, send: Any) -> None:
        if key is not None and scope["type"] == "http" and scope["path"].startswith("/a2a"):
            given = dict(scope["headers"]).get(b"authorization")
            if given != f"Bearer {key}".encode():
                await Response(status_code=401)(scope, receive, send)
                return
        await app(scope, receive, send)

    return guard


class Announcing(uvicorn.Server):
    """Says where it listens when it does."""

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        sys.stdout.write(f"listens at http://127.0.0.1:{self.config.port}\n")
        sys.stdout.flush()


def main() -> None:
    port = int(sys.argv[1])
    app = guarded(make_app(ObedientAgent(), f"http://127.0.0.1:{port}"), os.environ.get(KEY_VARIABLE))
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", timeout_keep_alive=KEEPALIVE_SECONDS, lifespan="off"
    )
    Announcing(config).run()


if __name__ == "__main__":
    main()
