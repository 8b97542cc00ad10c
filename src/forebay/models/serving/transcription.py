"""``/v1/audio/transcriptions`` with Whisper on CTranslate2 (faster-whisper): English."""

import io
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec
from av.error import FFmpegError
from faster_whisper import WhisperModel
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from forebay.models.serving.adapter import Answer, IsWanted, Refused, Work, while_wanted
from forebay.models.serving.sound import seconds_of
from forebay.models.serving.subtitles import Spoken, srt, vtt
from forebay.models.settings import ServerSettings

LARGEST_BYTES = 64 * 1024**2
MOST_FIELDS = 32
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
GRANULARITIES = ("segment", "word")
LANGUAGES = ("en", "english")
TEXT = "text/plain; charset=utf-8"


class Asked(msgspec.Struct, kw_only=True):
    """A form, read and checked."""

    file: bytes
    form: str
    temperature: float
    prompt: str | None
    with_words: bool


class TranscriptionAdapter:
    """The only place that knows faster-whisper."""

    endpoint = "/v1/audio/transcriptions"

    def __init__(self, settings: ServerSettings) -> None:
        self._model = WhisperModel(
            settings.path, device="cpu", compute_type="int8", cpu_threads=settings.threads, local_files_only=True
        )

    async def read(self, request: Request) -> Work:
        return partial(self._answer, _asked(await _form(request)))

    def _answer(self, asked: Asked, is_wanted: IsWanted) -> Answer:
        file = io.BytesIO(asked.file)
        seconds_of(file)
        try:
            segments, told = self._model.transcribe(
                file,
                language="en",
                beam_size=1,
                temperature=asked.temperature,
                initial_prompt=asked.prompt,
                word_timestamps=asked.with_words,
            )
        except FFmpegError as error:  # its container is sound, what is in it isn't
            raise Refused(
                f"the file can't be decoded ({error.strerror})", param="file", code="invalid_audio"
            ) from error
        return _shown(list(while_wanted(segments, is_wanted)), told.duration, asked)


def load(settings: ServerSettings) -> TranscriptionAdapter:
    """Loads the model, which takes about half a second."""
    return TranscriptionAdapter(settings)


async def _form(request: Request) -> FormData:
    size = request.headers.get("content-length", "")
    if not size.isdecimal():
        raise Refused("a form needs its content-length", status=411)
    if int(size) > LARGEST_BYTES:
        raise Refused(f"the form is longer than {LARGEST_BYTES:,} bytes", code="too_large", status=413)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise Refused("the request must be a form, multipart/form-data, with the part `file`", param="file")
    try:
        return await MultiPartParser(request.headers, request.stream(), max_files=1, max_fields=MOST_FIELDS).parse()
    except (MultiPartException, KeyError) as error:
        raise Refused(f"the form can't be read: {error}") from error


def _asked(form: FormData) -> Asked:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise Refused("the form has no file of the name `file`", param="file")
    data = file.file.read()
    if not data:
        raise Refused("the file is empty", param="file", code="invalid_audio")
    language = str(form.get("language") or "en")
    if language.lower() not in LANGUAGES:
        raise Refused(f"this model knows English alone, not {language!r}", param="language")
    if str(form.get("stream") or "false").lower() != "false":
        raise Refused("this model's answers come whole: leave `stream` out", param="stream", code="not_supported")
    wanted = form.getlist("timestamp_granularities[]")
    if any(one not in GRANULARITIES for one in wanted):
        raise Refused(f"must be of {', '.join(GRANULARITIES)}", param="timestamp_granularities[]")
    return Asked(
        file=data,
        form=_choice(form, "response_format"),
        temperature=_number(form, "temperature"),
        prompt=str(form.get("prompt") or "") or None,
        with_words="word" in wanted,
    )


def _choice(form: FormData, name: str) -> str:
    value = str(form.get(name) or FORMATS[0])
    if value not in FORMATS:
        raise Refused(f"{name} must be one of {', '.join(FORMATS)}, not {value!r}", param=name)
    return value


def _number(form: FormData, name: str) -> float:
    try:
        value = float(str(form.get(name) or 0))
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise Refused(f"{name} must be a number from 0 to 1", param=name)
    return value


def _shown(segments: list[Any], duration: float, asked: Asked) -> Answer:
    """In the form that was asked for. Source: OpenAI, API reference of transcriptions."""
    text = "".join(segment.text for segment in segments).strip()
    spoken = [Spoken(start=one.start, end=one.end, text=one.text.strip()) for one in segments]
    match asked.form:
        case "text":
            return Answer((text + "\n").encode(), TEXT)
        case "srt":
            return Answer(srt(spoken).encode(), TEXT)
        case "vtt":
            return Answer(vtt(spoken).encode(), TEXT)
        case "verbose_json":
            whole = {"task": "transcribe", "language": "english", "duration": round(duration, 3), "text": text}
            whole["segments"] = [_segment(number, one) for number, one in enumerate(segments)]
            if asked.with_words:
                whole["words"] = list(_words(segments))
            return Answer(msgspec.json.encode(whole))
        case _:
            return Answer(msgspec.json.encode({"text": text}))


def _segment(number: int, segment: Any) -> dict[str, Any]:
    measured = ("start", "end", "temperature", "avg_logprob", "compression_ratio", "no_speech_prob")
    numbers = {name: float(getattr(segment, name)) for name in measured}  # some are NumPy's
    return {"id": number, "seek": segment.seek, "text": segment.text, "tokens": segment.tokens, **numbers}


def _words(segments: Iterable[Any]) -> Iterable[dict[str, Any]]:
    for segment in segments:
        for word in segment.words or ():
            yield {"word": word.word.strip(), "start": float(word.start), "end": float(word.end)}
