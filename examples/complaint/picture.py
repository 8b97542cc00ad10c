"""A plain function as a target: which colours a picture has."""

import base64
import io
from typing import Any

from PIL import Image, UnidentifiedImageError

import forebay

SHOWN_COLOURS = 4


def colours(request: forebay.InferenceRequest) -> dict[str, Any]:
    """Returns the picture's main colours with their share of its pixels, the most frequent first."""
    data = base64.b64decode(request.body["picture"].partition(",")[2])
    try:
        with Image.open(io.BytesIO(data)) as image:
            small = image.convert("RGB").resize((160, 160))
    except UnidentifiedImageError as error:
        raise forebay.Reject("this is no picture") from error
    reduced = small.quantize(SHOWN_COLOURS)
    palette = reduced.getpalette() or []
    counted = sorted(reduced.getcolors() or [], reverse=True)
    return {
        "colours": [
            {"rgb": "#" + bytes(palette[3 * index : 3 * index + 3]).hex(), "share": round(count / 160**2, 3)}
            for count, index in counted
        ]
    }
