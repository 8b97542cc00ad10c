"""What agents send on their own, for ``/openapi.json``."""

from typing import Any

from forebay.api.a2a.routes import PushView
from forebay.api.description.operation import STRING, Operation, Parameter
from forebay.targets.a2a_push import PUSH_PATH
from forebay.targets.a2a_wire import TOKEN_HEADER

_TOKEN = Parameter(
    name=TOKEN_HEADER,
    place="header",
    schema=STRING,
    description="The token that came with the message; or as `Authorization: Bearer`",
)

AGENT_OPERATIONS = (
    Operation(
        method="post",
        path=PUSH_PATH,
        summary="An agent tells how a task stands (A2A 1.0), which is then asked for at once",
        tag="agents",
        request=dict[str, Any],
        answer=PushView,
        parameters=(_TOKEN,),
        refusals=(401, 413),
    ),
)
