"""The API's description with things in it that are there: ids that lead somewhere, and models that are served."""

import json
from typing import Any

import aiohttp

from tests.integration.api_server import CHAT, Server

MODELS = {"enum": ["gpt-model", "claude-3", "nobody"]}
MESSAGE = {"model": "claude-3", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
COUNT = 3  # of each: some are deleted on the way


async def described(server: Server) -> dict[str, Any]:
    """``/openapi.json``, with what was made just now in the places of the ids."""
    found = await made(server)
    document: dict[str, Any] = await server.get("/openapi.json")
    for path, operations in document["paths"].items():
        ids = found.get(path.split("/{", 1)[0])
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if ids is not None and (parameter["in"], parameter["name"]) == ("path", "id"):
                    parameter["schema"] = {"enum": [*ids, "none"]}
    schemas = document["components"]["schemas"]
    for request in ("ModelRequest", "VideoRequest"):
        schemas[request]["properties"]["model"] = MODELS
    schemas["JobRequest"]["properties"]["body"] = {
        "type": "object",
        "properties": {"model": MODELS, "messages": {"enum": [CHAT["messages"]]}},
        "required": ["model", "messages"],
    }
    return document


async def made(server: Server) -> dict[str, list[str]]:
    """One of each kind of thing that has an id, several times, by the path below which it stands."""
    line = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": CHAT}
    found: dict[str, list[str]] = {"/v1/models": ["gpt-model"]}

    async def make(path: str, **options: Any) -> str:
        async with server.http.post(path, **options) as reply:
            assert reply.ok, await reply.text()
            made_id = str((await reply.json())["id"])
        found.setdefault(path, []).append(made_id)
        return made_id

    for number in range(COUNT):
        await make("/v1/jobs", json={"body": CHAT, "metadata": {"n": str(number)}})
        form = aiohttp.FormData({"purpose": "batch"})
        form.add_field("file", json.dumps(line).encode(), filename="lines.jsonl")
        file_id = await make("/v1/files", data=form)
        batch = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        await make("/v1/batches", json=batch)
        await make("/v1/messages/batches", json={"requests": [{"custom_id": "a", "params": MESSAGE}]})
        await make("/v1/videos", json={"model": "gpt-model", "prompt": "a heron"})
        await make("/v1/responses", json={"model": "gpt-model", "input": "hello", "background": True})
    return found
