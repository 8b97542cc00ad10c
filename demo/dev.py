"""`make dev`: a server with a mock model, for trying things out; Ctrl-C ends both."""

import json
import subprocess
import sys
from pathlib import Path

from demo.processes import console, end_like_an_interrupt, forebay

FOLDER = Path("demo-out") / "dev"


def main() -> int:
    """Runs until it is ended."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    mock = subprocess.Popen(
        [sys.executable, "-m", "forebay", "mock-model", "--port", "0", "--latency-ms", "200", "--json"],
        stdout=subprocess.PIPE,
    )
    try:
        if mock.stdout is None or not (line := mock.stdout.readline()):
            return 1
        base_url = json.loads(line)["base_url"].removesuffix("/v1") + "/v1"
        (FOLDER / "forebay.yaml").write_text(
            'store: "sqlite:///forebay.db"\n'
            f'targets:\n  mock: {{type: openai, base_url: "{base_url}", models: [mock],\n'
            "         prices: {input: 1, output: 2}}\n"
        )
        console.print(f"a mock model named `mock` at {base_url}; the configuration is {FOLDER / 'forebay.yaml'}")
        return forebay("serve", "--config", str(FOLDER / "forebay.yaml"))
    finally:
        mock.terminate()
        mock.wait()


if __name__ == "__main__":
    end_like_an_interrupt()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
