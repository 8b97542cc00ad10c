"""The pipelines in ``examples/``, each by its one command, on their real data. Models that write text are the mock, so
that what is asserted is known; pictures are read by the real local model.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from ruamel.yaml import YAML

from .run_support import Ended, Mock, forebay, mock_model

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mock]:
    with mock_model(tmp_path_factory.mktemp("mock")) as running:
        yield running


def copied(name: str, folder: Path, mock: Mock) -> Path:
    """The example as it stands in the repository, with the mock in the place of the models that write and embed."""
    place = folder / "examples" / name
    shutil.copytree(
        REPOSITORY / "examples" / name, place, ignore=shutil.ignore_patterns("out", "*.db*", "__pycache__", ".*")
    )
    for shared in ("docs", "demo"):
        (folder / shared).symlink_to(REPOSITORY / shared)
    (folder / "src").symlink_to(REPOSITORY / "src")
    config = place / "forebay.yaml"
    yaml = YAML()
    settings: Any = yaml.load(config)
    for key, target in settings["targets"].items():
        if target["type"] == "local" and target["model"] != "pp-ocrv6-small":
            settings["targets"][key] = {"type": "openai", "base_url": mock.base_url, "models": ["mock"]}
    with config.open("w") as file:
        yaml.dump(settings, file)
    return place


def run(place: Path, pipeline: str, *options: str) -> Ended:
    ended = forebay("--config", place / "forebay.yaml", "pipelines", "run", pipeline, "--json", *options, cwd=place)
    assert ended.code == 0, ended.err
    return ended


def test_reviews_are_labelled_counted_and_told_of_in_a_page(tmp_path: Path, mock: Mock) -> None:
    place = copied("reviews", tmp_path, mock)
    view = run(place, "weekly-reviews", "--param", "most=20").json
    assert view["steps"]["load"]["records"]["succeeded"] > 1000  # the real sentences
    assert view["steps"]["label"]["records"] == {"in": 20, "succeeded": 20, "failed": 0, "reused": 0}
    [page] = (place / "out").glob("*/report.md")
    assert "The labels agree with people on" in page.read_text()
    labels = duckdb.sql(f"SELECT output.sentiment FROM '{place}/out/*/labels.parquet'").fetchall()
    assert len(labels) == 20
    assert {label for (label,) in labels} <= {"positive", "negative"}


def test_documents_become_an_index_that_answers_questions(tmp_path: Path, mock: Mock) -> None:
    place = copied("search", tmp_path, mock)
    view = run(place, "index", "--param", "name=ret*").json
    pieces = view["steps"]["embed"]["records"]["succeeded"]
    assert pieces > 5
    found = duckdb.sql(f"SELECT found, score FROM '{place}/out/answers.csv'").fetchall()
    assert len(found) == 5
    assert all("retention.md#" in name and score > 0 for name, score in found)
    again = run(place, "index", "--param", "name=ret*").json
    assert {step["status"] for step in again["steps"].values()} == {"reused"}


def test_long_documents_are_cut_summarised_and_joined(tmp_path: Path, mock: Mock) -> None:
    place = copied("summaries", tmp_path, mock)
    view = run(place, "summaries", "--param", "name=001[0-2]*").json
    assert view["steps"]["whole"]["records"]["succeeded"] == 3
    assert view["steps"]["short"]["records"]["in"] > 3
    assert (place / "out" / "summaries.md").read_text().count("\n## ") == 3


def test_the_pictures_of_a_folder_are_read(tmp_path: Path, mock: Mock) -> None:
    place = copied("ocr", tmp_path, mock)
    run(place, "pages")
    pages = [json.loads(line) for line in (place / "out" / "pages.jsonl").read_text().splitlines()]
    assert {Path(page["path"]).stem: page["total"] for page in pages} == {
        "invoice-1": "53.50",
        "invoice-2": "14.60",
        "letter": "",
    }


def test_each_segment_of_customers_gets_a_text(tmp_path: Path, mock: Mock) -> None:
    place = copied("marketing", tmp_path, mock)
    run(place, "marketing")
    texts = [json.loads(line) for line in (place / "out" / "texts.jsonl").read_text().splitlines()]
    assert [text["segment"] for text in texts] == ["battery", "pictures", "price", "sound"]
    assert all(text["output"] for text in texts)
    assert (place / "out" / "texts.md").read_text().count("\n## ") == 4


def test_what_is_found_in_source_files_becomes_issues(tmp_path: Path, mock: Mock) -> None:
    place = copied("code_review", tmp_path, mock)
    view = run(place, "findings").json
    files = view["steps"]["files"]["records"]["succeeded"]
    assert files >= 3
    assert (place / "out" / "issues.md").read_text().count("\n## ") == files
    query = f"SELECT count(*) FROM '{place}/out/findings.csv' WHERE severity IN ('minor', 'major')"
    assert duckdb.sql(query).fetchall() == [(files,)]
