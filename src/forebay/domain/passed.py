"""Passed: what of a client's request goes upstream beside its body."""

from forebay.domain.record import Record

#: The headers by which clients ask for a version or a beta of a vendor's API. Never a key, a cookie or an address.
PASSED_HEADERS = frozenset({"anthropic-beta", "anthropic-version", "openai-beta"})
LISTED_HEADERS = frozenset({"anthropic-beta", "openai-beta"})  # their values are lists, which add up


class Passed(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Headers by lower-case names, and the query without its question mark."""

    headers: dict[str, str] = {}
    query: str = ""
