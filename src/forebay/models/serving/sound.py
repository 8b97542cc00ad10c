"""Sound as bytes: writing samples in the formats of OpenAI's speech, and what a sound file holds."""

import io
import wave
from typing import Any

import av
import numpy as np

from forebay.models.serving.adapter import Refused

LONGEST_SECONDS = 3 * 3600.0  # of a recording: its samples take 700 MB of memory
#: Container and codec, both FFmpeg's names, and the media type.
ENCODED = {
    "mp3": ("mp3", "mp3", "audio/mpeg"),
    "opus": ("ogg", "libopus", "audio/ogg"),
    "aac": ("adts", "aac", "audio/aac"),
    "flac": ("flac", "flac", "audio/flac"),
}


def encoded(samples: Any, rate: int, form: str) -> tuple[bytes, str]:
    """Returns one channel of float32 samples as ``wav``, ``pcm`` or one of ``ENCODED``, and the media type of that."""
    pcm = (np.clip(samples, -1.0, 1.0) * 32_767).astype("<i2")
    if form == "pcm":
        return pcm.tobytes(), "audio/pcm"
    written = io.BytesIO()
    if form == "wav":
        with wave.open(written, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes(pcm.tobytes())
        return written.getvalue(), "audio/wav"
    container, codec, media_type = ENCODED[form]
    with av.open(written, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        if not isinstance(stream, av.AudioStream):
            raise TypeError(f"{codec!r} makes no sound")
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = rate
        for piece in (frame, None):  # None: what the encoder still holds
            output.mux(stream.encode(piece))
    return written.getvalue(), media_type


def seconds_of(file: io.BytesIO) -> float | None:
    """How long a recording is, if its container says so. Raises: Refused: there is no sound in it, or too much."""
    try:
        with av.open(file, "r", metadata_errors="ignore") as container:
            if not container.streams.audio:
                raise _wrong("has no sound")
            duration = None if container.duration is None else container.duration / av.time_base
    except av.error.FFmpegError as error:
        raise _wrong("is of no known format, or damaged") from error
    file.seek(0)
    if duration is not None and duration > LONGEST_SECONDS:
        raise _wrong(f"is longer than {LONGEST_SECONDS / 3600:g} hours")
    return duration


def _wrong(reason: str) -> Refused:
    return Refused(f"the file {reason}", param="file", code="invalid_audio")
