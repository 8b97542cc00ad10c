"""The pure parts of the small models' servers: the order of words on a page, subtitles, what is fetched (nothing)."""

import io
import math
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from forebay.models.serving.adapter import Refused
from forebay.models.serving.images import MOST_RATIO, decode_data_url, less_narrow, open_image
from forebay.models.serving.reading_order import Line, text_of
from forebay.models.serving.subtitles import Spoken, srt, vtt

ROWS = [["Receipt", "12.11.2026"], ["Blender", "89.90"], ["Glass jar", "4 x", "24.50"], ["Total", "114.40"]]
REFUSING = """
import socket, sys
from forebay.models.serving.child import refuse_connections
sys.addaudithook(refuse_connections)
place = ("127.0.0.1", int(sys.argv[1]))
for connect in (lambda: socket.create_connection(place), lambda: socket.getaddrinfo("a.example", 80)):
    try:
        connect()
    except PermissionError as error:
        print(error)
"""


def words_at(angle: float) -> list[Line]:
    """The rows of a page that was tilted by so many degrees, in no order."""
    turned = math.radians(angle)

    def place(x: float, y: float) -> list[float]:
        return [x * math.cos(turned) - y * math.sin(turned), x * math.sin(turned) + y * math.cos(turned)]

    lines = []
    for row, words in enumerate(ROWS):
        for column, word in enumerate(words):
            left, top, right, bottom = 40 + 180 * column, 40 * row, 170 + 180 * column, 40 * row + 26
            box = [place(left, top), place(right, top), place(right, bottom), place(left, bottom)]
            lines.append(Line(text=word, confidence=1.0, box=box))
    return lines[::2] + lines[1::2]


@given(angle=st.floats(min_value=-8, max_value=8))
def test_a_page_is_read_row_by_row_however_it_is_tilted(angle: float) -> None:
    assert text_of(words_at(angle)).splitlines() == ["  ".join(row) for row in ROWS]


def test_an_empty_page_has_no_text() -> None:
    assert text_of([]) == ""


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (16_384, 2), (1, 1), (400, 100), (101, 400)])
def test_a_strip_is_widened_where_it_moves_nothing(size: tuple[int, int]) -> None:
    strip = Image.effect_noise(size, 80).convert("RGB")
    wide = less_narrow(strip)
    assert max(wide.size) == max(size)
    assert max(wide.size) <= MOST_RATIO * min(wide.size)
    assert wide.crop((0, 0, *size)).tobytes() == strip.tobytes()


def picture(form: str) -> bytes:
    written = io.BytesIO()
    Image.effect_noise((40, 30), 80).save(written, form)
    return written.getvalue()


def outcome(reading: Callable[[], object]) -> str:
    try:
        reading()
    except Refused as refused:
        return refused.code
    return "read"


PICTURES = [picture(form) for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")]


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what is odd in a file that it reads all the same
@given(
    data=st.sampled_from(PICTURES), changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), max_size=9)
)
def test_a_damaged_picture_is_read_or_refused(data: bytes, changes: list[tuple[int, int]]) -> None:
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    assert outcome(lambda: open_image(bytes(damaged))) in {"read", "invalid_image"}


@given(url=st.text(max_size=60) | st.from_regex(r"data:[a-z/;,=+]{0,20}base64,[A-Za-z0-9+/=]{0,12}", fullmatch=True))
def test_an_image_url_is_decoded_or_refused(url: str) -> None:
    assert outcome(lambda: decode_data_url(url)) in {"read", "invalid_image", "invalid_image_url"}


def test_subtitles_have_their_times_and_no_arrow_in_their_words() -> None:
    spoken = [Spoken(start=0.0, end=1.9996, text="One --> two"), Spoken(start=3661.5, end=3662.25, text="three")]
    assert srt(spoken) == (
        "1\n00:00:00,000 --> 00:00:02,000\nOne -> two\n\n2\n01:01:01,500 --> 01:01:02,250\nthree\n\n"
    )
    assert vtt(spoken).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nOne -> two\n\n01:01:01.500 -->")


def test_a_model_server_makes_no_connection_whatever_its_libraries_want() -> None:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = str(place.getsockname()[1])
        done = subprocess.run([sys.executable, "-c", REFUSING, port], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["a local model's server makes no connections"] * 2
