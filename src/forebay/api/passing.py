"""Which headers of a client, and which query, go upstream with its call. Keys never do, wherever a client puts them."""

import re
from urllib.parse import unquote_plus

from starlette.requests import HTTPConnection

from forebay.domain.errors import RequestError
from forebay.domain.passed import PASSED_HEADERS, Passed

LONGEST_QUERY = 2_048
LONGEST_HEADER = 1_024
_QUERY = re.compile(r"[A-Za-z0-9._~!$'()*+,;:@/?=&%\[\]-]*", re.ASCII)  # Source: RFC 3986, 3.4; and `[]`
_VALUE = re.compile(r"[\x20-\x7e]*", re.ASCII)
_CREDENTIAL = re.compile(
    r"(.*[_-])?(api-?_?key|key|token|signature|sig|secret|password|auth|authorization)", re.IGNORECASE
)
_NAMES = {name.encode(): name for name in PASSED_HEADERS}


def passed_of(connection: HTTPConnection) -> Passed | None:
    """What is passed; None where there is nothing. Raises: RequestError: it can't stand in a request of ours."""
    scope = connection.scope
    found = [(_NAMES[name], value) for name, value in scope["headers"] if name in _NAMES]
    query = scope["query_string"]
    if not found and not query:
        return None
    headers: dict[str, str] = {}
    for name, raw in found:
        value = raw.decode("latin-1").strip()
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    for name, value in headers.items():
        if len(value) > LONGEST_HEADER or not _VALUE.fullmatch(value):
            raise RequestError(f"{name}: it must be at most {LONGEST_HEADER} characters of ASCII", param=name)
    return Passed(headers=dict(sorted(headers.items())), query=_query(query.decode("latin-1")))


def _query(text: str) -> str:
    """The query as it was written, without what names a credential: jobs are kept, and keys must not be."""
    if len(text) > LONGEST_QUERY or not _QUERY.fullmatch(text):
        raise RequestError(f"The address's query must be at most {LONGEST_QUERY} characters, escaped as URLs are")
    return "&".join(part for part in text.split("&") if not _CREDENTIAL.fullmatch(unquote_plus(part.partition("=")[0])))
