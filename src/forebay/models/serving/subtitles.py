"""What was said when, as SubRip and as WebVTT. Pure."""

from collections.abc import Sequence

import msgspec


class Spoken(msgspec.Struct, kw_only=True):
    """A piece of speech; times in seconds from the beginning."""

    start: float
    end: float
    text: str


def srt(spoken: Sequence[Spoken]) -> str:
    """SubRip: numbered, a comma before the milliseconds."""
    return "".join(
        f"{number}\n{_time(one.start, ',')} --> {_time(one.end, ',')}\n{_plain(one.text)}\n\n"
        for number, one in enumerate(spoken, start=1)
    )


def vtt(spoken: Sequence[Spoken]) -> str:
    """Source: W3C, WebVTT."""
    return "WEBVTT\n\n" + "".join(
        f"{_time(one.start, '.')} --> {_time(one.end, '.')}\n{_plain(one.text)}\n\n" for one in spoken
    )


def _time(seconds: float, point: str) -> str:
    whole = round(seconds * 1000)
    minutes, milliseconds = divmod(whole, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{point}{milliseconds % 1000:03}"


def _plain(text: str) -> str:
    """Without the arrow that would end a cue's times."""
    return text.replace("-->", "->")
