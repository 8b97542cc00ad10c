"""``/livez`` and ``/readyz``: whether the process turns, and whether it can take work."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.context import api_of
from forebay.api.errors import JSON
from forebay.domain.errors import StoreUnavailable

NO_STORE = "-"  # an id that no job has


async def livez(_: Request) -> Response:
    """The process turns."""
    return _status(200, {"status": "ok"})


async def readyz(request: Request) -> Response:
    """The store answers, and the server is not on its way out."""
    api = api_of(request)
    if api.waiting.is_closing or api.waiting.is_draining:
        return _status(503, {"status": "stopping"})
    try:
        await api.services.jobs.get(None, [NO_STORE])
    except StoreUnavailable as unavailable:
        return _status(503, {"status": "unavailable", "reason": str(unavailable)})
    return _status(200, {"status": "ok"})


def _status(code: int, body: dict[str, str]) -> Response:
    return Response(msgspec.json.encode(body), status_code=code, media_type=JSON, headers={"cache-control": "no-store"})


ROUTES = [Route("/livez", livez, methods=["GET"]), Route("/readyz", readyz, methods=["GET"])]
