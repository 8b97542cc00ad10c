"""What is said of a body that can't be read."""

import msgspec
import pytest

from forebay.api.bodies import decode
from forebay.api.jobs.requests import JobRequest
from forebay.domain.errors import RequestError


class Inner(msgspec.Struct):
    size: int = 0


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    body: msgspec.Raw
    priority: int = 0
    inner: Inner | None = None


DECODER = msgspec.json.Decoder(Shape)
KNOWN = ("body", "priority", "inner")


def refusal(data: bytes) -> RequestError:
    with pytest.raises(RequestError) as refused:
        decode(DECODER, data, known=KNOWN)
    return refused.value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"  \n",
        b"{",
        b'{"body": {}} x',
        b'{"body": {"a": NaN}}',
        b'{"body": {"a": Infinity}}',
        b'{"body": {"a": 01}}',
        b'{"body": {"a": 1,}}',
        b'{"body": {"a": "\xff"}}',
        b"\xef\xbb\xbf{}",
        b'{"body": {"a": "\x01"}}',
        b'{"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"body": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_not_json_is_refused_as_such(data: bytes) -> None:
    assert refusal(data).code == "invalid_json"


def test_an_unknown_field_is_refused_with_the_nearest_known_one() -> None:
    refused = refusal(b'{"body": {}, "priorty": 1}')
    assert (refused.code, refused.param) == ("unknown_parameter", "priorty")
    assert "'priority'" in refused.message


def test_a_missing_field_is_named() -> None:
    refused = refusal(b"{}")
    assert (refused.code, refused.param) == ("missing_required_parameter", "body")


def test_a_field_is_named_with_what_it_stands_in() -> None:
    decoder = msgspec.json.Decoder(JobRequest)
    for body, param in (
        (b'{"notify": {}}', "notify.webhook"),
        (b'{"notify": {"webhook": "https://a.example", "evnts": []}}', "notify.evnts"),
    ):
        with pytest.raises(RequestError) as caught:
            decode(decoder, body, known=("notify",))
        assert caught.value.param == param
        assert repr(param) in caught.value.message
        assert "did you mean" not in caught.value.message


def test_a_wrong_type_is_named_with_its_place() -> None:
    assert refusal(b'{"body": {}, "priority": "high"}').param == "priority"
    assert refusal(b'{"body": {}, "inner": {"size": "big"}}').param == "inner.size"


@pytest.mark.parametrize("data", [b"[]", b"null", b"1", b'"text"'])
def test_json_that_is_no_object_is_refused(data: bytes) -> None:
    assert refusal(data).code == "invalid_value"


def test_the_body_within_is_kept_byte_by_byte() -> None:
    inner = b'{"b" : 1.0,  "a":[1e5,"\\u00e4\xc3\xa4"], "a": 2}'
    assert bytes(decode(DECODER, b'{"body":  ' + inner + b' , "priority":1}').body) == inner
