"""The local models that embed, read images, speak and hear, each in its own process, over OpenAI's wire."""

import base64
import io
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import aiohttp
import pytest
from openai import AsyncOpenAI
from PIL import Image, ImageDraw, ImageFont

from forebay.models import LocalModels, ModelCache, cache_folder, find_model, pull
from forebay.models.serving.sound import seconds_of

FORMATS: tuple[Literal["mp3", "opus", "aac", "flac", "wav"], ...] = ("mp3", "opus", "aac", "flac", "wav")
SPOKEN = "The city council voted on Tuesday to build a new bicycle bridge across the river."


@asynccontextmanager
async def served(*names: str) -> AsyncIterator[list[AsyncOpenAI]]:
    """The official client of each model's server."""
    models = LocalModels()
    clients: list[AsyncOpenAI] = []
    try:
        for name in names:
            await pull(find_model(name), ModelCache(cache_folder()))
            base_url, key = await models.address(name)
            clients.append(AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0))
        yield clients
    finally:
        for client in clients:
            await client.close()
        await models.close()


async def refusal(client: AsyncOpenAI, path: str, body: Any) -> tuple[int, str, str]:
    """Status, code and message of what is refused; ``body``: JSON, a form, or bytes."""
    kind = "data" if isinstance(body, bytes | aiohttp.FormData) else "json"
    headers = {"authorization": f"Bearer {client.api_key}"}
    url = f"{str(client.base_url).rstrip('/')}{path}"
    async with aiohttp.ClientSession() as session, session.post(url, headers=headers, **{kind: body}) as reply:
        error = (await reply.json())["error"]
        return reply.status, error["code"], error["message"]


def page(*lines: str, size: tuple[int, int] = (400, 400)) -> Image.Image:
    image = Image.new("RGB", size, "white")
    for number, line in enumerate(lines):
        ImageDraw.Draw(image).text((24, 20 + 50 * number), line, fill="black", font=ImageFont.load_default(size=28))
    return image


def data_url(image: Image.Image, form: str = "png") -> str:
    written = io.BytesIO()
    image.save(written, form)
    return f"data:image/{form};base64,{base64.b64encode(written.getvalue()).decode()}"


def asking(*urls: str, **fields: Any) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    content = [{"type": "text", "text": "What does it say?"}, *parts]
    return {"model": "any", "messages": [{"role": "user", "content": content}], **fields}


def form_of(data: bytes, **fields: str) -> aiohttp.FormData:
    form = aiohttp.FormData(fields)
    form.add_field("file", data, filename="a.wav")
    return form


def nearness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


async def test_a_query_is_nearest_to_the_passage_that_answers_it_in_another_language() -> None:
    async with served("multilingual-e5-small") as [client]:
        passages = ["The blender broke after two days.", "Der Zug fährt um acht Uhr ab.", "He likes to swim."]
        found = await client.embeddings.create(model="e5", input=passages)  # the client asks for base64
        assert [one.index for one in found.data] == [0, 1, 2]
        assert found.usage.prompt_tokens == found.usage.total_tokens > 20
        assert all(math.isclose(nearness(one.embedding, one.embedding), 1.0, abs_tol=1e-3) for one in found.data)
        query = await client.embeddings.create(
            model="e5",
            input="When does the train leave?",
            encoding_format="float",
            extra_body={"input_type": "query"},
        )
        near = [nearness(query.data[0].embedding, one.embedding) for one in found.data]
        assert near.index(max(near)) == 1
        many = await client.embeddings.create(model="e5", input=[f"text {number}" for number in range(70)])
        alone = await client.embeddings.create(model="e5", input="text 69")
        assert nearness(many.data[69].embedding, alone.data[0].embedding) == pytest.approx(1.0, abs=0.01)

        for body, says in (
            ({"input": ""}, "input[0] is empty"),
            ({"input": ["a", " "]}, "input[1] is empty"),
            ({"input": []}, "1 to 2048 texts"),
            ({"input": ["x"] * 2049}, "1 to 2048 texts"),
            ({"input": "a\0b"}, "U+0000"),
            ({"input": [1, 2]}, "Expected `str`"),
            ({"input": "x", "dimensions": 100}, "384 dimensions"),
            ({"input": "x", "encoding_format": "int8"}, "Invalid enum value"),
            ({}, "missing required field `input`"),
            (b'{"input": "\\ud800"}', "can't be read"),
        ):
            status, code, message = await refusal(client, "/embeddings", body)
            assert (status, code) == (400, "invalid_value"), body
            assert says in message
        assert (await refusal(client, "/chat/completions", {}))[0] == 404
        client.api_key = "wrong"
        assert (await refusal(client, "/embeddings", {"input": "x"}))[:2] == (401, "invalid_api_key")


async def test_an_image_is_read_row_by_row_and_what_is_none_is_refused() -> None:
    async with served("pp-ocrv6-small") as [client]:
        image = page("Invoice 2026-0417", "Total due 232 EUR")
        answer = await client.chat.completions.create(**asking(data_url(image)))
        assert answer.choices[0].message.content == "Invoice 2026-0417\nTotal due 232 EUR"
        assert answer.usage is None  # nothing is counted in tokens

        tilted = data_url(image.rotate(-3, fillcolor="white"), "jpeg")
        two = await client.chat.completions.create(**asking(tilted, data_url(page())))
        rows = (two.choices[0].message.content or "").replace(" ", "")
        assert rows == "Invoice2026-0417\nTotaldue232EUR\n\n"  # the second one is blank
        clear = page("Seen").convert("RGBA")
        clear.putalpha(clear.convert("L").point(lambda level: 255 - level))  # black letters on nothing
        places = await client.chat.completions.create(
            **asking(data_url(clear, "webp"), response_format={"type": "json_object"})
        )
        told = json.loads(places.choices[0].message.content or "")
        [line] = told["pages"][0]["lines"]
        assert (told["text"], told["pages"][0]["width"], line["text"]) == ("Seen", 400, "Seen")
        assert line["confidence"] > 0.9
        assert len(line["box"]) == 4

        picture = data_url(image)
        for body, code in (
            (asking("https://example.com/a.png"), "invalid_image_url"),
            (asking("file:///etc/passwd"), "invalid_image_url"),
            (asking("data:image/png;base64,!!"), "invalid_image"),
            (asking("data:image/png;base64,AAAA"), "invalid_image"),
            (asking(picture[:300]), "invalid_image"),  # cut off
            (asking("data:image/svg+xml;base64,PHN2Zy8+"), "invalid_image"),
            (asking(data_url(Image.new("1", (20_000, 10)))), "invalid_image"),
            (asking(data_url(Image.new("1", (7_000, 7_000)))), "invalid_image"),
            (asking(), "missing_image"),
            (asking(*[picture] * 9), "invalid_value"),
            ({"messages": [{"role": "user", "content": "hello"}]}, "missing_image"),
            ({"messages": []}, "missing_image"),
            (asking(picture, stream=True), "not_supported"),
            (asking(picture, n=2), "not_supported"),
            (asking(picture, tools=[{"type": "function"}]), "not_supported"),
            (asking(picture, response_format={"type": "json_schema"}), "not_supported"),
        ):
            assert (await refusal(client, "/chat/completions", body))[:2] == (400, code)
        tiny = await client.chat.completions.create(**asking(data_url(Image.new("RGB", (1, 1)))))
        assert tiny.choices[0].message.content == ""


async def test_what_one_model_speaks_another_one_hears_word_for_word() -> None:
    async with served("hibari-heart", "whisper-tiny.en") as [voice, ear]:
        sounds = {
            form: (
                await voice.audio.speech.create(model="any", voice="heart", input=SPOKEN, response_format=form)
            ).content
            for form in FORMATS
        }
        for form in ("mp3", "opus"):
            heard = await ear.audio.transcriptions.create(model="any", file=(f"a.{form}", sounds[form]))
            assert heard.text.lower() == SPOKEN.lower()
        lengths = {form: seconds_of(io.BytesIO(sounds[form])) or 0.0 for form in FORMATS}
        assert max(lengths.values()) - min(lengths.values()) < 0.3
        wav = sounds["wav"]
        again = await voice.audio.speech.create(model="any", voice="heart", input=SPOKEN, response_format="wav")
        assert again.content == wav  # a retry costs nothing but time
        raw = await voice.audio.speech.create(model="any", voice="heart", input=SPOKEN, response_format="pcm")
        assert len(raw.content) == len(wav) - 44

        srt = await ear.audio.transcriptions.create(model="any", file=("a.wav", wav), response_format="srt")
        assert srt.startswith("1\n00:00:00,000 --> 00:00:0")
        told = await ear.audio.transcriptions.create(
            model="any", file=("a.wav", wav), response_format="verbose_json", timestamp_granularities=["word"]
        )
        assert told.duration == pytest.approx(len(raw.content) / 48_000, abs=0.1)
        assert [word.word for word in told.words or []][:3] == ["The", "City", "Council"]
        silence = await ear.audio.transcriptions.create(model="any", file=("a.wav", wav[:44] + bytes(48_000)))
        assert len(silence.text) < 20

        for body, code in (
            ({"input": ""}, "invalid_value"),
            ({"input": "x" * 4097}, "invalid_value"),
            ({"input": "日本"}, "invalid_value"),
            ({"input": "1" * 4000}, "invalid_value"),
            ({"input": "x", "voice": "alloy"}, "invalid_value"),
            ({"input": "x", "speed": 5}, "invalid_value"),
            ({"input": "x", "response_format": "ogg"}, "invalid_value"),
            ({"input": "x", "instructions": "whisper"}, "not_supported"),
            ({"input": "x", "stream_format": "sse"}, "not_supported"),
        ):
            assert (await refusal(voice, "/audio/speech", body))[:2] == (400, code)
        for form, code in (
            (form_of(b""), "invalid_audio"),
            (form_of(b"no sound at all"), "invalid_audio"),
            (form_of(wav[:20] + b"\x01\xde" + wav[22:]), "invalid_audio"),  # of a codec that nobody has
            (form_of(base64.b64decode(data_url(page()).partition(",")[2])), "invalid_audio"),
            (form_of(wav, language="de"), "invalid_value"),
            (form_of(wav, response_format="docx"), "invalid_value"),
            (form_of(wav, temperature="hot"), "invalid_value"),
            (form_of(wav, stream="true"), "not_supported"),
            (aiohttp.FormData({"file": "a text"}), "invalid_value"),
        ):
            assert (await refusal(ear, "/audio/transcriptions", form))[:2] == (400, code)
        assert (await refusal(ear, "/audio/transcriptions", {"file": "x"}))[0] == 400
