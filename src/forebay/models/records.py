"""What is known of a local model: its kind, its files with their hashes, and the packages that hold them."""

from enum import StrEnum

from forebay.domain.record import Record


class Kind(StrEnum):
    """What a model does."""

    TEXT = "text"
    EMBEDDING = "embedding"
    OCR = "ocr"  # an image's text
    SPEECH = "speech"  # text to sound
    TRANSCRIPTION = "transcription"  # sound to text


class Part(Record, frozen=True, kw_only=True):
    """One piece of a model's file: a member of a wheel, used as data; none of the package's code is run."""

    package: str
    version: str
    member: str  # the path inside the wheel

    @property
    def requirement(self) -> str:
        return f"{self.package}=={self.version}"


class ModelFile(Record, frozen=True, kw_only=True):
    """A pinned file: its ``parts``, joined in this order, are ``bytes`` bytes whose hash is ``sha256``."""

    name: str
    bytes: int
    sha256: str
    parts: tuple[Part, ...]


class CatalogueModel(Record, frozen=True, kw_only=True):
    """A pinned model of one file or several; the first holds the weights.

    ``library``: the module of an extra that brings the files with it, each one part; None: they are pulled.
    """

    name: str
    kind: Kind
    description: str
    files: tuple[ModelFile, ...]
    library: str | None = None
    context_tokens: int = 0  # text: the longest prompt and answer together
    slots: int = 8  # calls that the server is sent at once
    licence_weights: str
    licence_package: str  # what the package says of itself; said too if it says nothing
    upstream: str

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def sha256(self) -> str:
        """The hash of the weights: of the first file."""
        return self.files[0].sha256

    @property
    def parts(self) -> tuple[Part, ...]:
        return tuple(part for file in self.files for part in file.parts)

    @property
    def requirements(self) -> tuple[str, ...]:
        """The packages, each once."""
        return tuple(dict.fromkeys(part.requirement for part in self.parts))
