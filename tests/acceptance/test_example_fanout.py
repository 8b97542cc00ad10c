"""examples/complaint, as a person runs it: a picture, a text and a recording through real local models, at once."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "complaint"
LIMIT_SECONDS = 800
RECEIPT = ["NORTHWIND KITCHEN", "Receipt 2026-0417", "Blender B-300", "89.90", "122.00", "Two years of warranty."]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    command = [
        sys.executable,
        str(EXAMPLE / "run.py"),
        "--once",
        "--json",
        "--out",
        str(tmp_path_factory.mktemp("out")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture(scope="module")
def branches(report: dict[str, Any]) -> dict[str, Any]:
    return {one["name"]: one for one in report["branches"]}


def letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalpha())


def test_every_branch_of_the_example_succeeds_and_stands_in_the_aggregate(
    report: dict[str, Any], branches: dict[str, Any]
) -> None:
    assert report["status"] == "succeeded"
    assert list(branches) == ["receipt", "colours", "vector", "label", "heard", "reply", "abroad"]
    assert {one["status"] for one in branches.values()} == {"succeeded"}


def test_the_picture_is_read_and_its_colours_are_told(branches: dict[str, Any]) -> None:
    read = branches["receipt"]["body"]["choices"][0]["message"]["content"]
    assert [line for line in RECEIPT if line not in read] == []
    rows = read.splitlines()
    assert "Glass jar 1.5 l  24.50" in rows  # what stands in one row comes in one row
    colours = branches["colours"]["body"]["colours"]
    assert sum(one["share"] for one in colours) == pytest.approx(1.0, abs=0.01)


def test_the_text_is_embedded_and_labelled_by_its_schema(branches: dict[str, Any]) -> None:
    vector = branches["vector"]["body"]["data"][0]["embedding"]
    assert len(vector) == 384
    assert sum(number * number for number in vector) == pytest.approx(1.0, abs=0.001)
    label = json.loads(branches["label"]["body"]["choices"][0]["message"]["content"])
    assert label["wants"] in {"refund", "repair", "information"}
    assert label["mood"] in {"calm", "annoyed", "angry"}


def test_what_one_model_spoke_another_one_heard_and_the_reply_is_a_file(branches: dict[str, Any]) -> None:
    assert letters(branches["heard"]["body"]["text"]) == letters((EXAMPLE / "message.txt").read_text())
    reply = branches["reply"]["body"]
    assert (reply["object"], reply["content_type"]) == ("file", "audio/wav")
    assert reply["bytes"] > 100_000


def test_all_calls_are_under_way_before_the_slowest_one_ends(report: dict[str, Any], branches: dict[str, Any]) -> None:
    slowest = max(branches.values(), key=lambda one: float(one["seconds"]))
    assert all(one["began_at"] < slowest["ended_at"] for one in branches.values())
    assert report["whole_seconds"] < report["sum_seconds"]
