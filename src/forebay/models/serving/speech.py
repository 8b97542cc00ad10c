"""``/v1/audio/speech`` with hibari: English, one voice, 24 kHz."""

from functools import partial
from typing import Literal

import hibari
import msgspec
from starlette.requests import Request

from forebay.models.serving.adapter import Answer, IsWanted, Refused, Work, read_json
from forebay.models.serving.sound import encoded
from forebay.models.settings import ServerSettings

VOICE = "heart"  # the package's own; the others would be fetched
LONGEST_INPUT = 4096  # characters. Source: OpenAI, API reference of speech
SLOWEST, FASTEST = 0.25, 4.0  # as above
SEED = 1  # of the breath between the tones: one text gives one sound


class SpeechRequest(msgspec.Struct):
    """OpenAI's request; ``instructions`` and events are what this model does not know."""

    input: str
    voice: str = VOICE
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] = "mp3"
    speed: float = 1.0
    instructions: str | None = None
    stream_format: str | None = None


class SpeechAdapter:
    """The only place that knows hibari."""

    endpoint = "/v1/audio/speech"

    def __init__(self, settings: ServerSettings) -> None:
        self._model = hibari.Hibari(voice=VOICE, model=settings.path)
        self._model("Ready.", seed=SEED)

    async def read(self, request: Request) -> Work:
        asked = await read_json(request, SpeechRequest)
        _check(asked)
        return partial(self._answer, asked)

    def _answer(self, asked: SpeechRequest, _is_wanted: IsWanted) -> Answer:
        try:
            samples = self._model(asked.input, speed=asked.speed, seed=SEED)
        except (LookupError, ValueError, OverflowError) as error:  # its grammar meets a number of a thousand digits
            raise Refused(f"input can't be turned into sounds ({error})", param="input") from error
        if not len(samples):
            raise Refused("input has nothing that can be spoken", param="input")
        return Answer(*encoded(samples, self._model.sample_rate, asked.response_format))


def load(settings: ServerSettings) -> SpeechAdapter:
    """Loads the model and its words, which takes some tenths of a second."""
    return SpeechAdapter(settings)


def _check(asked: SpeechRequest) -> None:
    if not asked.input.strip():
        raise Refused("input is empty", param="input")
    if len(asked.input) > LONGEST_INPUT:
        raise Refused(f"input is longer than {LONGEST_INPUT} characters", param="input")
    if asked.voice != VOICE:
        raise Refused(f"this model has one voice, {VOICE!r}, not {asked.voice!r}", param="voice")
    if not SLOWEST <= asked.speed <= FASTEST:
        raise Refused(f"speed must be {SLOWEST} to {FASTEST}", param="speed")
    if asked.instructions:
        raise Refused("this model takes no instructions", param="instructions", code="not_supported")
    if asked.stream_format not in {None, "audio"}:
        raise Refused("this model streams no events", param="stream_format", code="not_supported")
