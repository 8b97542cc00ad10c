"""The demo's own sample: the same every time, clear, and half positive."""

import io
import tarfile

import pytest
from demo.reviews import CLEAR_RATING, INNER_ARCHIVE, SENTENCES, Review, read_reviews, sample
from demo.show import Labelled

REVIEWS = [
    Review(id=f"1_{number}", text=f"sentence number {number} about a product", rating=number % 9 - 4.0)
    for number in range(300)
]


def archived(name: str, content: bytes) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return written.getvalue()


def test_sentences_are_read_from_the_archive_within_the_archive_even_with_bad_bytes() -> None:
    inner = archived(f"hutto/{SENTENCES}", b"1_1\t-2.5\tit broke \xff at once.\r\n1_2\t3\tlovely\n\n")
    assert read_reviews(archived(INNER_ARCHIVE, inner)) == [
        Review(id="1_1", text="it broke � at once.", rating=-2.5),
        Review(id="1_2", text="lovely", rating=3.0),
    ]


def test_an_archive_without_the_sentences_is_refused() -> None:
    with pytest.raises(LookupError, match="no file"):
        read_reviews(archived("other", b""))


def test_a_sample_is_the_same_every_time_clear_and_half_positive() -> None:
    drawn = sample(REVIEWS, 40)
    assert drawn == sample(list(REVIEWS), 40)
    assert len({it.id for it in drawn}) == 40
    assert sum(it.sentiment == "positive" for it in drawn) == 20
    assert all(abs(it.rating) >= CLEAR_RATING for it in drawn)


@pytest.mark.parametrize(
    ("rating", "answer", "agrees"), [(2.0, "positive", True), (2.0, "negative", False), (-3.0, "negative", True)]
)
def test_an_answer_agrees_when_its_direction_is_the_peoples(rating: float, answer: str, agrees: bool) -> None:
    assert Labelled(text="", rating=rating, answer=answer).agrees is agrees
