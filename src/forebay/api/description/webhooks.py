"""What webhook endpoints and deliveries take and give, for ``/openapi.json``."""

from forebay.api.description.operation import AFTER, ID, STRING, Operation, limit, query
from forebay.api.webhooks.endpoints import CreateRequest, RotateRequest, TestRequest, UpdateRequest
from forebay.api.webhooks.views import (
    DeletedEndpoint,
    DeliveryList,
    DeliveryView,
    EndpointList,
    EndpointView,
    EventTypeList,
    SecretView,
    TenantSecret,
    TestView,
)
from forebay.domain.job import Status

_TAG = "webhooks"
_ENDPOINTS, _ENDPOINT = "/v1/webhook_endpoints", "/v1/webhook_endpoints/{id}"
_TIME = {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "format": "date-time"}]}
_STATUSES = {"type": "array", "items": {"enum": list(Status)}, "minItems": 1}

WEBHOOK_OPERATIONS = (
    Operation(
        method="post",
        path=_ENDPOINTS,
        summary="Register a webhook endpoint; this reply has its secret",
        tag=_TAG,
        request=CreateRequest,
        answer=SecretView,
        refusals=(400, 413, 503),
    ),
    Operation(
        method="get",
        path=_ENDPOINTS,
        summary="List webhook endpoints, newest first",
        tag=_TAG,
        answer=EndpointList,
        parameters=(limit(100, 20), AFTER),
        refusals=(400,),
    ),
    Operation(
        method="get",
        path=_ENDPOINT,
        summary="Read a webhook endpoint",
        tag=_TAG,
        answer=EndpointView,
        parameters=(ID,),
        refusals=(404,),
    ),
    Operation(
        method="post",
        path=_ENDPOINT,
        summary="Change a webhook endpoint",
        tag=_TAG,
        request=UpdateRequest,
        answer=EndpointView,
        parameters=(ID,),
        refusals=(400, 404, 409, 413, 503),
    ),
    Operation(
        method="delete",
        path=_ENDPOINT,
        summary="Delete a webhook endpoint",
        tag=_TAG,
        answer=DeletedEndpoint,
        parameters=(ID,),
        refusals=(404, 503),
    ),
    Operation(
        method="post",
        path=f"{_ENDPOINT}/rotate_secret",
        summary="Make a new secret valid; this reply has it",
        tag=_TAG,
        request=RotateRequest,
        answer=SecretView,
        parameters=(ID,),
        refusals=(400, 404, 409, 413, 503),
    ),
    Operation(
        method="post",
        path=f"{_ENDPOINT}/test",
        summary="Send a sample event at once",
        tag=_TAG,
        request=TestRequest,
        answer=TestView,
        parameters=(ID,),
        refusals=(400, 404, 413),
    ),
    Operation(
        method="get",
        path="/v1/webhook_event_types",
        summary="List the types of events",
        tag=_TAG,
        answer=EventTypeList,
    ),
    Operation(
        method="get",
        path="/v1/webhook_secret",
        summary="Read the secret of webhooks that jobs name themselves",
        tag=_TAG,
        answer=TenantSecret,
        refusals=(400,),
    ),
    Operation(
        method="post",
        path="/v1/webhook_secret/rotate",
        summary="Make a new secret valid for webhooks that jobs name themselves",
        tag=_TAG,
        request=RotateRequest,
        answer=TenantSecret,
        refusals=(400, 409, 413, 503),
    ),
    Operation(
        method="get",
        path="/v1/webhook_deliveries",
        summary="List deliveries, newest first",
        tag=_TAG,
        answer=DeliveryList,
        parameters=(
            query("status", _STATUSES, "One status or several, separated by commas"),
            query("endpoint_id", STRING, "Only to this endpoint"),
            query("job_id", STRING, "Only of this job's end"),
            query("created_after", _TIME, "Unix seconds or RFC 3339"),
            query("created_before", _TIME, "Unix seconds or RFC 3339"),
            limit(100, 20),
            AFTER,
        ),
        refusals=(400,),
    ),
    Operation(
        method="post",
        path="/v1/webhook_deliveries/{id}/retry",
        summary="Send a delivery again: the same event under the same id",
        tag=_TAG,
        answer=DeliveryView,
        status=202,
        parameters=(ID,),
        refusals=(404, 409, 503),
    ),
)
