"""Real sentences of product reviews, each with the mean rating that people gave it; see demo/reviews.py for whence."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forebay

sys.path.insert(0, str(Path(__file__).parents[2]))
from demo.reviews import fetch_reviews


@forebay.step
def reviews() -> Iterator[dict[str, Any]]:
    """All sentences that have a clear rating."""
    for review in fetch_reviews():
        if abs(review.rating) >= 2.0:
            yield {"id": review.id, "text": review.text, "rating": review.rating}
