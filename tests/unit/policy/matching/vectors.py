"""The recorded answers of the services."""

import json
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[3] / "data"


def cases(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()]
