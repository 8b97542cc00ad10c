"""What an A2A agent is sent: the forms of a body, and what is refused."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from forebay.domain.errors import TargetRejected
from forebay.domain.form import Field, FilePart, Form
from forebay.domain.inference import Call
from forebay.targets.a2a_message import MOST_FILE_BYTES, PushConfig, send_request


async def sent(body: Any, push: PushConfig | None = None, form: Form | None = None) -> dict[str, Any]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    call = Call(
        job_id="job_7", attempt=2, endpoint="", body=text, timeout_seconds=60, idempotency_key="job_7.1", form=form
    )
    read: dict[str, Any] = json.loads(await send_request(call, push))
    return read


def file_part(name: str, *pieces: bytes, size: int | None = None) -> FilePart:
    async def read() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    length = sum(map(len, pieces)) if size is None else size
    return FilePart(name="x", filename=name, content_type="image/png", bytes=length, pieces=read)


FILE = {"file_id": "file-1"}
RAW = {"raw": "iVBO", "mediaType": "image/png", "filename": "a.png"}


async def test_a_file_of_ours_goes_with_its_bytes() -> None:
    form = (Field(name="y", text="z"), file_part("a.png", b"\x89P", b"N"), file_part("b.png", b"\x89PN"))
    second = {**RAW, "filename": "b.png"}
    body = {"message": {"parts": [{"text": "these"}, FILE, {"file_id": "file-2"}]}}
    assert (await sent(body, form=form))["message"]["parts"] == [{"text": "these"}, RAW, second]
    chat = {"role": "user", "content": [{"type": "file", "file": FILE}, {"type": "text", "text": "x"}]}
    told = await sent({"messages": [{"role": "system", "content": "y"}, chat]}, form=form[:2])
    assert told["message"]["parts"][1] == {**RAW, "metadata": {"role": "user"}}


@pytest.mark.parametrize(
    ("body", "form"),
    [
        ({"message": {"parts": [FILE]}}, None),
        ({"message": {"parts": [{"text": "x"}]}, "metadata": {"f": FILE}}, (file_part("a.png", b"x"),)),
        ({"text": "x", "metadata": {"f": FILE}}, (file_part("a.png", b"x"),)),
        ({"message": {"parts": [FILE]}}, (file_part("a.png", b"x", size=MOST_FILE_BYTES + 1),)),
    ],
)
async def test_a_file_that_could_not_be_sent_is_refused(body: Any, form: Form | None) -> None:
    with pytest.raises(TargetRejected, match="file"):
        await sent(body, form=form)


async def test_a_request_of_a2a_goes_as_it_is_with_an_id_and_a_role() -> None:
    parts = [{"text": "Look"}, {"url": "https://x.example/a.png", "mediaType": "image/png"}, {"data": {"a": [1]}}]
    body = {
        "message": {"parts": parts, "contextId": "c-1", "metadata": {"k": 1}},
        "configuration": {"acceptedOutputModes": ["text/plain"], "historyLength": 0},
        "metadata": {"tenant": "x"},
    }
    assert await sent(body) == {
        "message": {"messageId": "job_7.1", "role": "ROLE_USER", **body["message"]},
        "configuration": {"returnImmediately": True, **body["configuration"]},
        "metadata": {"tenant": "x"},
    }


async def test_an_id_and_a_role_of_the_clients_own_stay() -> None:
    message = {"messageId": "mine", "role": "ROLE_AGENT", "parts": [{"text": "x"}]}
    assert (await sent({"message": message}))["message"] == message


async def test_a_text_is_one_part() -> None:
    assert (await sent({"text": "Hello", "model": "set-by-a-route"}))["message"]["parts"] == [{"text": "Hello"}]


async def test_a_chat_of_the_user_alone_is_its_parts() -> None:
    content = [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}},
        {"type": "image_url", "image_url": {"url": "https://x.example/b.png"}},
    ]
    assert (await sent({"messages": [{"role": "user", "content": content}]}))["message"]["parts"] == [
        {"text": "What is it?"},
        {"raw": "iVBO", "mediaType": "image/png"},
        {"url": "https://x.example/b.png"},
    ]


async def test_of_a_longer_chat_each_part_tells_who_said_it() -> None:
    chat = [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]
    assert (await sent({"messages": chat}))["message"]["parts"] == [
        {"text": "Be brief", "metadata": {"role": "system"}},
        {"text": "Hi", "metadata": {"role": "user"}},
    ]


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"type": "text"}, []),
        ({"type": "json_object"}, ["Answer with a JSON object alone."]),
        (
            {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            ['Answer with JSON alone that fits this JSON schema: {"type":"object"}'],
        ),
    ],
)
async def test_the_form_of_an_answer_is_told_in_words(form: Any, words: list[str]) -> None:
    told = await sent({"messages": [{"role": "user", "content": "x"}], "response_format": form})
    assert [part["text"] for part in told["message"]["parts"]] == ["x", *words]


async def test_an_agent_is_told_where_to_push_and_by_which_token() -> None:
    request = await sent({"text": "x"}, PushConfig(url="https://hub.example/v1/a2a/push/job_7", token="t0k"))
    assert request["configuration"]["taskPushNotificationConfig"] == {
        "url": "https://hub.example/v1/a2a/push/job_7",
        "token": "t0k",
        "authentication": {"scheme": "Bearer", "credentials": "t0k"},
    }


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b'{"text": ', "JSON object"),
        (b'["text"]', "JSON object"),
        (b"[" * 100_000, "JSON object"),
        ({}, "message"),
        ({"prompt": "x"}, "message"),
        ({"text": "x", "message": {"parts": [{"text": "x"}]}}, "message"),
        ({"text": 7}, "text"),
        ({"text": "x", "temperature": 1}, "temperature"),
        ({"message": {"parts": []}}, "message.parts"),
        ({"message": {"parts": "x"}}, "message.parts"),
        ({"message": "x"}, "message: an object"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "x"}], "temperature": 0}, "temperature"),
        ({"messages": [{"role": "user", "content": "x"}], "response_format": {"type": "xml"}}, "response_format"),
        ({"text": "x", "response_format": {"type": "text"}}, "response_format"),
        ({"messages": ["x"]}, r"messages\[0\]"),
        ({"messages": [{"role": "user", "content": None}]}, r"messages\[0\]"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}, r"messages\[0\]"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "image_url"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]}, "data"),
        ({"text": "x", "configuration": []}, "configuration"),
        ({"text": "x", "metadata": "x"}, "metadata"),
        ({"text": "x", "configuration": {"taskPushNotificationConfig": {"url": "http://10.0.0.1"}}}, "notify"),
    ],
)
async def test_what_would_not_be_acted_on_is_refused_for_good(body: Any, word: str) -> None:
    with pytest.raises(TargetRejected, match=word):
        await sent(body)
