"""``/v1/chat/completions`` that answers with the text of the images in the last message: RapidOCR with PP-OCRv6.

An image comes as a ``data:`` URL; addresses are not fetched. Texts beside it are allowed and not acted on: this model
reads what stands in the picture. ``response_format: {"type": "json_object"}`` asks for each line with its place and how
sure the model is of it.
"""

import time
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from omegaconf import flag_override
from onnxruntime import InferenceSession, SessionOptions
from PIL import Image
from rapidocr import RapidOCR
from rapidocr.utils.output import RapidOCROutput
from starlette.requests import Request

from forebay.models.serving.adapter import Answer, IsWanted, Refused, Work, read_json, while_wanted
from forebay.models.serving.images import decode_data_url, less_narrow, open_image
from forebay.models.serving.reading_order import Line, text_of
from forebay.models.settings import ServerSettings

MOST_IMAGES = 8
DETECTION, RECOGNITION, DIRECTION = (
    "PP-OCRv6_det_small.onnx",
    "PP-OCRv6_rec_small.onnx",
    "ch_ppocr_mobile_v2.0_cls_mobile.onnx",
)


class ImageUrl(msgspec.Struct):
    url: str


class ContentPart(msgspec.Struct):
    """A piece of a message."""

    type: str
    image_url: ImageUrl | str | None = None


class Message(msgspec.Struct):
    role: str
    content: str | list[ContentPart] | None = None


class Format(msgspec.Struct):
    type: str


class ChatRequest(msgspec.Struct):
    """What of OpenAI's request we act on, or refuse because the answer would be another than was asked for."""

    messages: list[Message]
    response_format: Format = msgspec.field(default_factory=lambda: Format(type="text"))
    stream: bool | None = None
    n: int | None = None
    tools: list[msgspec.Raw] | None = None


class Page(msgspec.Struct, kw_only=True):
    """What stands on one image; sizes in pixels."""

    width: int
    height: int
    lines: list[Line]


class OcrAdapter:
    """The only place that knows RapidOCR."""

    endpoint = "/v1/chat/completions"

    def __init__(self, settings: ServerSettings) -> None:
        folder = Path(settings.path)
        self._name = settings.name
        self._reader = RapidOCR(params={"Global.log_level": "critical"})
        parts = {"Det": DETECTION, "Rec": RECOGNITION, "Cls": DIRECTION}
        for part, file in parts.items():  # given, so that none is looked for elsewhere
            place = self._reader.cfg[part]
            with flag_override(place, "allow_objects", True):
                place.session = _quiet_session(folder / file, settings.threads)
        self._lines(Image.new("RGB", (64, 64), "white"))  # its models are loaded at the first image

    async def read(self, request: Request) -> Work:
        asked = await read_json(request, ChatRequest)
        _check(asked)
        images = [decode_data_url(url) for url in _image_urls(asked)]
        return partial(self._answer, images, asked.response_format.type == "json_object")

    def _answer(self, images: list[bytes], with_places: bool, is_wanted: IsWanted) -> Answer:
        pages = []
        for data in while_wanted(images, is_wanted):
            image = open_image(data)
            pages.append(Page(width=image.width, height=image.height, lines=self._lines(image)))
        content = "\n\n".join(text_of(page.lines) for page in pages)
        if with_places:
            content = msgspec.json.encode({"text": content, "pages": pages}).decode()
        return Answer(msgspec.json.encode(_completion(self._name, content)))

    def _lines(self, image: Image.Image) -> list[Line]:
        found = self._reader(less_narrow(image))
        if not isinstance(found, RapidOCROutput) or found.txts is None or found.boxes is None or found.scores is None:
            return []
        return [
            Line(text=text, confidence=round(float(score), 4), box=[[float(x), float(y)] for x, y in box])
            for text, score, box in zip(found.txts, found.scores, found.boxes.tolist(), strict=True)
        ]


def load(settings: ServerSettings) -> OcrAdapter:
    """Loads the models, which takes about two seconds."""
    return OcrAdapter(settings)


def _quiet_session(path: Path, threads: int) -> InferenceSession:
    """A model whose waiting threads sleep: beside other work on two cores, spinning takes twice the CPU and time."""
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _check(asked: ChatRequest) -> None:
    if asked.stream:
        raise Refused("this model's answers come whole: leave `stream` out", param="stream", code="not_supported")
    if asked.n not in {None, 1}:
        raise Refused("this model has one answer: leave `n` out", param="n", code="not_supported")
    if asked.tools:
        raise Refused("this model calls no tools", param="tools", code="not_supported")
    if asked.response_format.type not in {"text", "json_object"}:
        message = "this model answers as `text` or `json_object`, in a form of its own"
        raise Refused(message, param="response_format", code="not_supported")


def _image_urls(asked: ChatRequest) -> list[str]:
    content = asked.messages[-1].content if asked.messages else None
    urls = []
    for part in content if isinstance(content, list) else []:
        if part.image_url is not None:
            urls.append(part.image_url.url if isinstance(part.image_url, ImageUrl) else part.image_url)
    if not 1 <= len(urls) <= MOST_IMAGES:
        message = (
            f"the last message must have 1 to {MOST_IMAGES} images, as parts of type `image_url`; it has {len(urls)}"
        )
        raise Refused(message, param="messages", code="missing_image" if not urls else "invalid_value")
    return urls


def _completion(model: str, content: str) -> dict[str, Any]:
    """Without usage: nothing is counted in tokens here."""
    message = {"role": "assistant", "content": content}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
    }
