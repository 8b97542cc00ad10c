"""A process of its own that calls a misbehaving server and tells how its memory grew: ``python -m … ORIGIN LIBRARY``.

Each line of its input is ``<calls> <timeout>``; it makes so many calls at once and answers with ``<outcomes> <MB>``.
"""

import asyncio
import gc
import json
import sys
from collections import Counter
from pathlib import Path

from forebay.domain.errors import TargetError
from forebay.domain.inference import Call
from forebay.domain.target import TargetSpec, TargetType
from forebay.ports import Target
from forebay.targets.build import build_targets
from forebay.targets.clients import HttpLibrary

BODY = b'{"model":"m","messages":[]}'


async def main(origin: str, library: str) -> None:
    spec = TargetSpec(name="t", type=TargetType.OPENAI, base_url=origin, models=("m",))
    async with build_targets([spec], prices=lambda *_: None, library=HttpLibrary(library)) as targets:
        for line in iter(sys.stdin.readline, ""):
            calls, timeout_seconds = line.split()
            outcomes = await asyncio.gather(*(_call(targets["t"], float(timeout_seconds)) for _ in range(int(calls))))
            gc.collect()
            told = {"outcomes": Counter(outcomes), "now": _megabytes("VmRSS"), "peak": _megabytes("VmHWM")}
            print(json.dumps(told), flush=True)


async def _call(target: Target, timeout_seconds: float) -> str:
    call = Call(job_id="j", attempt=1, endpoint="/v1/chat/completions", body=BODY, timeout_seconds=timeout_seconds)
    try:
        await target.call(call)
    except TargetError as error:
        return type(error).__name__
    return "answered"


def _megabytes(name: str) -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
