"""What the unmodified `openai` client does with a running Forebay: one chat completion, and a batch."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openai import OpenAI
from openai.types import Batch

from demo.reviews import Review

BATCH_WITHIN_SECONDS = 180
ENDED = ("completed", "failed", "expired", "cancelled")


def ask(client: OpenAI, model: str, question: str) -> str:
    """One chat completion; it goes through the queue, and this call waits for it."""
    messages: Any = [{"role": "user", "content": question}]
    answer = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=60)
    return (answer.choices[0].message.content or "").strip()


def run_batch(client: OpenAI, model: str, reviews: Sequence[Review], folder: Path) -> tuple[Batch, dict[str, str]]:
    """Uploads a file of requests, makes a batch of it, polls, and reads the results, by the review's id."""
    requests = folder / "batch-requests.jsonl"
    requests.write_text("".join(json.dumps(_request(model, review)) + "\n" for review in reviews), encoding="utf-8")
    with requests.open("rb") as file:
        uploaded = client.files.create(file=file, purpose="batch")
    batch = client.batches.create(input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h")
    until = time.monotonic() + BATCH_WITHIN_SECONDS
    while batch.status not in ENDED and time.monotonic() < until:
        time.sleep(0.5)
        batch = client.batches.retrieve(batch.id)
    return batch, _results(client, batch, folder / "batch-results.jsonl")


def _request(model: str, review: Review) -> dict[str, Any]:
    question = f"Say in at most six words what this customer praises or complains about: {review.text}"
    return {
        "custom_id": review.id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": model,
            "messages": [{"role": "user", "content": question}],
            "temperature": 0,
            "max_tokens": 24,
        },
    }


def _results(client: OpenAI, batch: Batch, path: Path) -> dict[str, str]:
    if batch.output_file_id is None:
        return {}
    path.write_bytes(client.files.content(batch.output_file_id).content)
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {
        line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"].strip()
        for line in lines
        if line["response"]
    }
