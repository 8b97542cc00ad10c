"""What wreq raises, told as TargetErrors: by its type, and where that says too little by the words of its text.

``kind: Connect`` in the text, or a type of its own, says that no connection stood: certainly nothing was sent. The
words are those of wreq 0.13 and held by tests; what a later release words otherwise is TargetFailed, the careful side.
"""

import re
from urllib.parse import urlsplit

from wreq import exceptions

from forebay.domain.errors import TargetError, TargetFailed, TargetRejected, TargetTimeout, TargetUnavailable

#: What a call that was begun can end with.
BROKEN = (
    exceptions.BodyError,
    exceptions.BuilderError,
    exceptions.ConnectionError,
    exceptions.ConnectionResetError,
    exceptions.DecodingError,
    exceptions.ProxyConnectionError,
    exceptions.RequestError,
    exceptions.TimeoutError,
    exceptions.TlsError,
)
#: What making a client for an address, or for its proxy, ends with.
UNSENDABLE = (exceptions.BuilderError, ValueError)
_UNCONNECTED = (exceptions.ConnectionError, exceptions.TlsError)
_PLAIN_WORDS = {
    "TimedOut": "no connection in time",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is refused",
    "ProxyAuthRequired": "the proxy asks for a name and a password",
    "TunnelUnsuccessful": "the proxy makes no tunnel to it",
}
_REASON = re.compile(r'(?:message|reason|error): "([^"]{1,200})"')


def told(exc: BaseException, url: str, timeout_seconds: float, status: int | None = None) -> TargetError:
    """Says what broke, in words without the URL's path, query or credentials. ``status``: its head had come."""
    if isinstance(exc, exceptions.BuilderError):
        return TargetRejected("the address of the target is not a URL")
    place, text = _origin(url), str(exc)
    match exc:
        case exceptions.ProxyConnectionError():
            return TargetUnavailable(f"cannot connect to {place} through the proxy: {_reason(text)}")
        case _ if isinstance(exc, _UNCONNECTED) or "kind: Connect," in text:
            return TargetUnavailable(f"cannot connect to {place}: {_reason(text)}")
        case _ if isinstance(exc, exceptions.TimeoutError) or "TimedOut" in text:
            return TargetTimeout(f"no whole answer from {place} within {timeout_seconds:g} s", status_code=status)
        case _ if status is not None:
            return TargetFailed(f"{place} broke off its answer", status_code=status)
        case _ if "Parse(" in text:
            return TargetFailed(f"{place} answered with something that is not HTTP")
        case _:
            return TargetFailed(f"{place} closed the connection without an answer")


def _reason(text: str) -> str:
    for mark, words in _PLAIN_WORDS.items():
        if mark in text:
            return words
    found = _REASON.findall(text)
    return found[-1].replace("_", " ").lower() if found else "the connection was cut"


def _origin(url: str) -> str:
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    return f"{address.hostname}:{port}"
