"""What it costs to import the targets."""

import subprocess
import sys


def test_building_targets_loads_neither_prices_nor_pydantic() -> None:
    code = "import sys, forebay.targets.build; print(sorted({'genai_prices', 'pydantic', 'httpx2'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
