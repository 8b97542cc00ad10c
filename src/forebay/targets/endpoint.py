"""What the targets that speak HTTP have in common: addresses, the headers of a call, and reading an answer."""

import re
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

import msgspec

from forebay.domain.errors import ConfigurationError, TargetFailed, TargetRejected
from forebay.domain.inference import Call, InferenceResult
from forebay.domain.passed import LISTED_HEADERS
from forebay.domain.target import TargetSpec
from forebay.policy.pricing import PriceTable, cost_usd, prices_for
from forebay.policy.usage import NOTHING_METERED, Metering, read_metering
from forebay.targets.http import Response

_TEXT_ENDPOINTS = ("/audio/transcriptions", "/audio/translations")  # `response_format: srt` and its like
_BINARY_TYPES = ("audio/", "image/", "video/", "application/octet-stream", "application/zip")
_VERSION = "/v1"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # Source: RFC 9110, 5.6.2
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9._~:/-]+", re.ASCII)


def checked_url(spec: TargetSpec, url: str | None, key: str) -> str:
    """Returns the address without a slash at its end. Raises: ConfigurationError: it is missing or not an HTTP URL."""
    if not url:
        raise ConfigurationError(f"targets.{spec.name}: {key} is missing; a target of type {spec.type} needs one")
    try:
        parts = urlsplit(url)
    except ValueError as exc:
        raise ConfigurationError(f"targets.{spec.name}.{key} is not a URL: {exc}") from exc
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"targets.{spec.name}.{key}: {_shown(url)!r} is not a URL of http or https")
    if parts.username or parts.password:
        raise ConfigurationError(f"targets.{spec.name}.{key}: put the key into api_key, not into the URL")
    return url.rstrip("/")


@lru_cache(maxsize=1024)
def join_url(base_url: str, endpoint: str) -> str:
    """Appends the endpoint, whose leading ``/v1`` is dropped where the base ends in ``/v1``.

    Raises: TargetRejected: the endpoint is no plain path; whoever submits a job must not choose another host, or a
    part of this one beside the model's, and have our key sent there.
    """
    if not _PLAIN_PATH.fullmatch(endpoint) or ".." in endpoint:
        raise TargetRejected(f"endpoint {endpoint!r} is not a path such as '/v1/chat/completions'")
    if base_url.endswith(_VERSION) and endpoint.startswith(_VERSION + "/"):
        endpoint = endpoint[len(_VERSION) :]
    return base_url + endpoint


def preset_headers(spec: TargetSpec, headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers of every call; the declaration's own override ours, in whatever case they are written.

    Raises: ConfigurationError: a name or value can't stand in a header (a key read from a file ends in a line break).
    """
    preset = {**headers, **{name.lower(): value for name, value in spec.headers.items()}}
    for name, value in preset.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ConfigurationError(f"targets.{spec.name}: {name!r} is no name of a header")
        if not (name + value).isprintable():
            raise ConfigurationError(
                f"targets.{spec.name}: the header {name!r} has a line break or another control character"
            )
    return preset


def call_url(base_url: str, call: Call) -> str:
    """Returns the address of a call, with the query that its client gave. Raises: TargetRejected."""
    url = join_url(base_url, call.endpoint)
    return f"{url}?{call.query}" if call.query else url


def passed_headers(preset: Mapping[str, str], spec: TargetSpec, call: Call) -> Mapping[str, str]:
    """Returns the target's headers with the client's: these go before ours, and after the declaration's; lists add
    up.
    """
    if not call.headers:
        return preset
    headers = {**preset, **call.headers}
    for name, value in spec.headers.items():
        name = name.lower()
        if name in LISTED_HEADERS and name in call.headers:
            headers[name] = f"{value},{call.headers[name]}"
        else:
            headers[name] = value
    return headers


def call_headers(preset: Mapping[str, str], call: Call) -> dict[str, str]:
    """Returns the target's headers and the two by which an upstream's log can be matched with ours."""
    return {**preset, "x-forebay-job-id": call.job_id, "x-forebay-attempt": str(call.attempt)}


def content_type_of(headers: Mapping[str, str]) -> str:
    """Returns the media type without parameters, lower-case; JSON where the answer doesn't say."""
    return media_type(headers.get("content-type", "application/json"))


@lru_cache(maxsize=256)
def media_type(content_type: str) -> str:
    """Returns the media type of such a header, lower-case."""
    return content_type.partition(";")[0].strip().lower()


@lru_cache(maxsize=1024)
def is_binary(content_type: str, endpoint: str) -> bool:
    """True for an answer that is a file (speech, an image), to be returned as it is."""
    if content_type.startswith(_BINARY_TYPES):
        return True
    return content_type.startswith("text/") and endpoint.endswith(_TEXT_ENDPOINTS)


def read_answer(response: Response, call: Call, spec: TargetSpec, table: PriceTable) -> InferenceResult:
    """Reads a 2xx answer. Raises: TargetFailed: it should be JSON and is not (truncated, a proxy's page)."""
    content_type = content_type_of(response.headers)
    if is_binary(content_type, call.endpoint):
        result = metered_result(response, NOTHING_METERED, call, spec, table)
        return msgspec.structs.replace(result, content_type=content_type)
    try:
        metering = read_metering(response.body)
    except msgspec.DecodeError as exc:
        message = f"target {spec.name!r} answered {response.status} with a body that is not JSON ({content_type})"
        raise TargetFailed(message, status_code=response.status, body=response.body, headers=response.headers) from exc
    return metered_result(response, metering, call, spec, table)


def metered_result(
    response: Response, metering: Metering, call: Call, spec: TargetSpec, table: PriceTable
) -> InferenceResult:
    """Makes the result of an answer whose usage was read (its media type is taken to be JSON)."""
    model = metering.model or call.model
    prices = prices_for(spec, model, table, metering.service_tier)
    if prices is None and call.model != model:  # gateways name models in their own way
        prices = prices_for(spec, call.model, table, metering.service_tier)
    headers = response.headers
    return InferenceResult(
        status_code=response.status,
        body=response.body,
        headers=headers,
        usage=metering.usage,
        cost_usd=cost_usd(metering, prices),
        request_id=headers.get("x-request-id") or headers.get("request-id"),
        model=model,
    )


def _shown(url: str) -> str:
    """The URL without what may be a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts.scheme else parts.path
