"""What ``/v1/keys`` takes and gives, for ``/openapi.json``."""

from forebay.api.description.operation import AFTER, ID, STRING, Operation, limit, query
from forebay.api.keys.routes import KeyList, KeyRequest, KeyView, NewKeyView

_KEYS = "keys"
_TENANT = query("tenant", STRING, "Only of this tenant")

KEY_OPERATIONS = (
    Operation(
        method="post",
        path="/v1/keys",
        summary="Make an API key; this reply alone has it",
        tag=_KEYS,
        request=KeyRequest,
        answer=NewKeyView,
        refusals=(400, 403, 413, 503),
    ),
    Operation(
        method="get",
        path="/v1/keys",
        summary="List API keys, newest first",
        tag=_KEYS,
        answer=KeyList,
        parameters=(_TENANT, limit(1000, 20), AFTER),
        refusals=(400, 403),
    ),
    Operation(
        method="get",
        path="/v1/keys/{id}",
        summary="Read what is known of an API key",
        tag=_KEYS,
        answer=KeyView,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="delete",
        path="/v1/keys/{id}",
        summary="Revoke an API key",
        tag=_KEYS,
        answer=KeyView,
        parameters=(ID,),
        refusals=(404, 503),
    ),
)
