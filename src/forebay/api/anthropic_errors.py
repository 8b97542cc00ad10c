"""What Anthropic calls errors. Source: https://docs.anthropic.com/en/api/errors (November 2026)."""

from http import HTTPStatus

from forebay.domain.job import ErrorCode

API_ERROR = "api_error"
INVALID_REQUEST = "invalid_request_error"
TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_STATUSES: dict[str, int] = {
    "model_not_found": 404,
    "endpoint_not_supported": 400,
    ErrorCode.TARGET_UNAVAILABLE: 529,
    ErrorCode.TARGET_TIMEOUT: 504,
    ErrorCode.BUDGET_EXCEEDED: 402,
    "price_unknown": 402,
    ErrorCode.TEMPLATE_FIELD_MISSING: 400,
}


def type_of_status(status: int) -> str:
    """The type that goes with a status."""
    fallback = API_ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else INVALID_REQUEST
    return TYPES.get(status, fallback)


def type_of_code(code: str) -> str:
    """The type of a job's error that no model gave a status to."""
    return type_of_status(_STATUSES.get(code, 500))
