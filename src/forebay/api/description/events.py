"""What events and rules take and give, for ``/openapi.json``."""

from typing import Any

from forebay.api.description.operation import AFTER, HOPS, STRING, Operation, Parameter, limit, query
from forebay.api.events.routes import ReplayRequest
from forebay.api.events.rules import TestRequest
from forebay.api.events.views import DeletedRule, EventList, ReceiptList, RuleList, RuleView, TestView

_EVENTS, _RULES = "events", "rules"
_NAME = Parameter(name="name", place="path", schema=STRING, description="The rule's name")
_UNMATCHED = query("unmatched", {"type": "boolean"}, "Those alone that no rule matched")

EVENT_OPERATIONS = (
    Operation(
        method="post",
        path="/v1/events",
        summary="Send events: CloudEvents or EventBridge's shape, one or an array",
        tag=_EVENTS,
        request=dict[str, Any] | list[dict[str, Any]],
        answer=ReceiptList,
        status=202,
        parameters=(HOPS,),
        refusals=(400, 413, 503),
    ),
    Operation(
        method="get",
        path="/v1/events",
        summary="List kept events, newest first",
        tag=_EVENTS,
        answer=EventList,
        parameters=(limit(1000, 20), AFTER, _UNMATCHED),
        refusals=(400,),
    ),
    Operation(
        method="post",
        path="/v1/events/replay",
        summary="Send kept events through the present rules",
        tag=_EVENTS,
        request=ReplayRequest,
        answer=ReceiptList,
        status=202,
        refusals=(400, 404, 409, 413, 429, 503),
    ),
    Operation(
        method="get",
        path="/v1/rules",
        summary="List rules",
        tag=_RULES,
        answer=RuleList,
        parameters=(limit(1000, 20), AFTER),
        refusals=(400,),
    ),
    Operation(
        method="post",
        path="/v1/rules",
        summary="Create a rule",
        tag=_RULES,
        request=dict[str, Any],
        answer=RuleView,
        status=201,
        refusals=(400, 404, 409, 413, 503),
    ),
    Operation(
        method="post",
        path="/v1/rules/test",
        summary="What an event would match and send",
        tag=_RULES,
        request=TestRequest,
        answer=TestView,
        refusals=(400, 413),
    ),
    Operation(
        method="get",
        path="/v1/rules/{name}",
        summary="Read a rule",
        tag=_RULES,
        answer=RuleView,
        parameters=(_NAME,),
        refusals=(404, 409),
    ),
    Operation(
        method="put",
        path="/v1/rules/{name}",
        summary="Change a rule, or create it under this name",
        tag=_RULES,
        request=dict[str, Any],
        answer=RuleView,
        parameters=(_NAME,),
        refusals=(201, 400, 404, 409, 413, 503),
    ),
    Operation(
        method="delete",
        path="/v1/rules/{name}",
        summary="Delete a rule",
        tag=_RULES,
        answer=DeletedRule,
        parameters=(_NAME,),
        refusals=(404, 409, 503),
    ),
    *(
        Operation(
            method="post",
            path=f"/v1/rules/{{name}}/{verb}",
            summary=summary,
            tag=_RULES,
            answer=RuleView,
            parameters=(_NAME,),
            refusals=(404, 409, 503),
        )
        for verb, summary in (("enable", "Let a rule act"), ("disable", "Keep a rule, and let it rest"))
    ),
)
