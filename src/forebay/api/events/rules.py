"""``/v1/rules``: read, create, change and try rules. Those of the configuration are read-only."""

from typing import Any

import msgspec
from msgspec import structs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from forebay.api.bodies import decode, read_body
from forebay.api.context import Api, Caller, api_of, caller_of
from forebay.api.errors import JSON
from forebay.api.events.views import (
    DeletedRule,
    RefusalView,
    RuleList,
    RuleView,
    SentView,
    TestView,
    TriedRule,
    rule_view,
)
from forebay.api.jobs.listing import read_limit, split
from forebay.api.paging import page_response
from forebay.domain.errors import Conflict, RequestError
from forebay.domain.rule import RULE, Rule, RuleBranch
from forebay.engine.endpoints import check_address
from forebay.engine.rules import TenantRules, rule_of
from forebay.policy.matching import EventPattern
from forebay.policy.rules import read_rule
from forebay.policy.templates import compile_body


class TestRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``pattern``: try this one alone; else all rules."""

    event: dict[str, Any]
    pattern: dict[str, Any] | None = None


_TEST = msgspec.json.Decoder(TestRequest)
_OBJECT = msgspec.json.Decoder(dict[str, Any])


async def listed(request: Request) -> Response:
    """GET /v1/rules: the configuration's, then the tenant's own by name."""
    api, caller = api_of(request), caller_of(request)
    values, _ = split(request.query_params, ("limit", "after"))
    limit = read_limit(values.get("limit"))
    after = values.get("after")
    rules = api.services.rules
    shown = [rule_view(rule) for rule in rules.configured.values()]
    if after in rules.configured:
        shown, after = shown[list(rules.configured).index(after) + 1 :], None
    elif after is not None:
        shown = []
    room = limit + 1 - len(shown)
    if room > 0:
        records = await api.services.records.list(caller.tenant, RULE, after=after, limit=room)
        shown += [rule_view(rule, record) for record in records if (rule := rule_of(record)) is not None]
    return page_response(RuleList, shown[:limit], has_more=len(shown) > limit)


async def create(request: Request) -> Response:
    """POST /v1/rules: 201; 409 if there is one of that name."""
    api, caller = api_of(request), caller_of(request)
    rule = read_rule(await _body(request, api))
    await _check(rule, api, caller)
    record = await api.services.rules.put(caller.tenant, rule, is_new=True)
    return _response(rule_view(rule, record), status_code=201)


async def read(request: Request) -> Response:
    """GET /v1/rules/{name}"""
    return _response(await _view(request))


async def replace(request: Request) -> Response:
    """PUT /v1/rules/{name}: creates it where there is none."""
    api, caller, name = api_of(request), caller_of(request), request.path_params["name"]
    body = await _body(request, api)
    if body.get("name", name) != name:
        raise RequestError("`name` is not the one of the address", param="name")
    rule = read_rule(body, name)
    await _check(rule, api, caller)
    record = await api.services.rules.put(caller.tenant, rule, is_new=False)
    return _response(rule_view(rule, record), status_code=201 if record.version == 1 else 200)


async def delete(request: Request) -> Response:
    """DELETE /v1/rules/{name}"""
    name = request.path_params["name"]
    await api_of(request).services.rules.delete(caller_of(request).tenant, name)
    return Response(msgspec.json.encode(DeletedRule(name=name)), media_type=JSON)


async def enable(request: Request) -> Response:
    """POST /v1/rules/{name}/enable"""
    return await _switched(request, is_enabled=True)


async def disable(request: Request) -> Response:
    """POST /v1/rules/{name}/disable"""
    return await _switched(request, is_enabled=False)


async def test(request: Request) -> Response:
    """POST /v1/rules/test: what an event would match and send. Nothing is sent, and nothing kept."""
    api, caller = api_of(request), caller_of(request)
    asked = decode(_TEST, await read_body(request, api.system.settings.max_body_bytes), known=("event", "pattern"))
    if asked.pattern is not None:
        is_matched = EventPattern(asked.pattern).matches(asked.event)
        return _tested(TestView(matched=is_matched, rules=[]))
    return _tested(tried(await api.services.rules.of(caller.tenant), asked.event))


def tried(rules: TenantRules, event: dict[str, Any]) -> TestView:
    """What an event would match and send. Raises: RequestError."""
    found = [TriedRule(rule=rule.name, send=_sent(rule, event)) for rule in rules.matching(event)]
    return TestView(matched=bool(found), rules=found)


async def _switched(request: Request, *, is_enabled: bool) -> Response:
    api, caller, name = api_of(request), caller_of(request), request.path_params["name"]
    rules = api.services.rules
    if name in rules.configured:
        raise Conflict(f"The rule {name!r} stands in the configuration: change it there", param="name")
    rule = rule_of(await rules.record(caller.tenant, name))
    if rule is None:
        raise Conflict(f"The rule {name!r} can't be read by this version; put it anew", param="name")
    source = {key: value for key, value in rule.source.items() if key != "enabled"}
    changed = structs.replace(rule, is_enabled=is_enabled, source=source)
    record = await rules.put(caller.tenant, changed, is_new=False)
    return _response(rule_view(changed, record))


async def _view(request: Request) -> RuleView:
    rules, name = api_of(request).services.rules, request.path_params["name"]
    if (configured := rules.configured.get(name)) is not None:
        return rule_view(configured)
    record = await rules.record(caller_of(request).tenant, name)
    rule = rule_of(record)
    if rule is None:
        raise Conflict(f"The rule {name!r} can't be read by this version; put it anew", param="name")
    return rule_view(rule, record)


def _sent(rule: Rule, event: dict[str, Any]) -> dict[str, SentView]:
    return {branch.name: _rendered(branch, event) for branch in rule.send}


def _rendered(branch: RuleBranch, event: dict[str, Any]) -> SentView:
    targets = None if branch.fanout is None else list(branch.fanout.names)
    sent = SentView(target=branch.target, targets=targets, model=branch.model, endpoint=branch.endpoint)
    try:
        sent.body = compile_body(branch.body).render(event)
    except RequestError as error:
        sent.error = RefusalView(message=error.message, param=error.param, code=error.code)
    return sent


async def _check(rule: Rule, api: Api, caller: Caller) -> None:
    """A target that is named must be there, and serve what it is asked for; an address of its notice must be one that
    may be told. Raises: NotFound, RequestError.
    """
    for branch in rule.send:
        model = branch.model or branch.body.get("model")
        for one in (branch, *(branch.fanout.branches if branch.fanout else ())):
            asked = one.model or (model if isinstance(model, str) else None)
            if one.target is not None:
                api.services.resolver.resolve(target=one.target, model=asked, endpoint=one.endpoint)
    if rule.notify is not None:
        await check_address(rule.notify.url, caller.tenant, api.services)


async def _body(request: Request, api: Api) -> dict[str, Any]:
    return decode(_OBJECT, await read_body(request, api.system.settings.max_body_bytes))


def _response(view: RuleView, status_code: int = 200) -> Response:
    return Response(msgspec.json.encode(view), status_code=status_code, media_type=JSON)


def _tested(view: TestView) -> Response:
    return Response(msgspec.json.encode(view), media_type=JSON)


ROUTES = [
    Route("/v1/rules", listed, methods=["GET"]),
    Route("/v1/rules", create, methods=["POST"]),
    Route("/v1/rules/test", test, methods=["POST"]),
    Route("/v1/rules/{name}", read, methods=["GET"]),
    Route("/v1/rules/{name}", replace, methods=["PUT"]),
    Route("/v1/rules/{name}", delete, methods=["DELETE"]),
    Route("/v1/rules/{name}/enable", enable, methods=["POST"]),
    Route("/v1/rules/{name}/disable", disable, methods=["POST"]),
]
