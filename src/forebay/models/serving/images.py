"""Images as they come in: out of a ``data:`` URL, bounded before they are unpacked."""

import base64
import binascii
import io
import re
import struct
import zlib

from PIL import Image, ImageOps, UnidentifiedImageError

from forebay.models.serving.adapter import Refused

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_PIXELS = 40_000_000  # a page at 600 dpi has 35 million
LONGEST_SIDE = 16_384
MOST_RATIO = 4  # of the longer side to the shorter one
_DATA_URL = re.compile(r"data:[\w.+/-]*(?:;[\w.+-]+=[\w.+-]*)*;base64,", re.ASCII)


def decode_data_url(url: str) -> bytes:
    """Returns the bytes. Raises: Refused."""
    head = _DATA_URL.match(url)
    if head is None:
        shown = url[:32] + ("…" if len(url) > 32 else "")
        message = f"image_url must be a data: URL with base64, such as data:image/png;base64,…, not {shown!r}"
        raise Refused(f"{message}; addresses are not fetched", param="messages", code="invalid_image_url")
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(f"the image is no sound base64: {error}", param="messages", code="invalid_image") from error


def open_image(data: bytes) -> Image.Image:
    """Unpacks an image upright, as RGB on white. Raises: Refused: it is none, is damaged, or is too large."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS or max(image.size) > LONGEST_SIDE:
                raise _wrong(f"has {image.width} x {image.height} pixels, and {MOST_PIXELS:,} are the most")
            return _upright(image)
    except UnidentifiedImageError as error:
        raise _wrong("is of no known format") from error
    except (
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise _wrong(f"can't be read ({error})") from error


def less_narrow(image: Image.Image) -> Image.Image:
    """Widens a strip with white at its right or bottom, so that places stay what they are: a detector enlarges the
    shorter side to a fixed length, and 1 x 500 pixels would become 736 x 368,000.
    """
    least = -(-max(image.size) // MOST_RATIO)
    if min(image.size) >= least:
        return image
    wide = Image.new("RGB", (max(image.width, least), max(image.height, least)), "white")
    wide.paste(image, (0, 0))
    return wide


def _upright(image: Image.Image) -> Image.Image:
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        seen = upright.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        return Image.alpha_composite(white, seen).convert("RGB")
    return upright.convert("RGB")


def _wrong(reason: str) -> Refused:
    return Refused(f"the image {reason}; it must be {', '.join(FORMATS)}", param="messages", code="invalid_image")
