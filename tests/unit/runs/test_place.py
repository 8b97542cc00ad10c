"""Where a run's requests go."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import Route, RouteEntry, TargetSpec, TargetType
from forebay.policy.requests import RequestOptions
from forebay.policy.windows import read_windows
from forebay.runs.options import RunOptions
from forebay.runs.place import choose_place, closed_sentence, private_store
from forebay.settings import Settings, StoreSettings

STORE = StoreSettings(url="sqlite:///s.db", path=Path("s.db"))


def spec(name: str, *models: str) -> TargetSpec:
    return TargetSpec(name=name, type=TargetType.OPENAI, base_url=f"http://{name}/v1", models=models)


def settings(*targets: TargetSpec, routes: tuple[Route, ...] = ()) -> Settings:
    return Settings(store=STORE, blobs=Path("blobs"), targets=targets, routes=routes)


def options(
    model: str | None = None, *, target: str | None = None, base_url: str | None = None, concurrency: int | None = None
) -> RunOptions:
    request = RequestOptions(prompt="x", model=model)
    return RunOptions(output="o.csv", request=request, target=target, base_url=base_url, concurrency=concurrency)


def test_the_only_model_configured_needs_no_name() -> None:
    place = choose_place(options(), settings(spec("gpt", "gpt-x")), names_models=False)
    assert (place.model, place.serving, place.endpoint) == ("gpt-x", {"gpt"}, "/v1/chat/completions")


def test_several_models_are_named_as_choices() -> None:
    route = Route(name="r", entries=(RouteEntry(target="one"),))
    with pytest.raises(ConfigurationError, match="--model with one of a, b, r"):
        choose_place(options(), settings(spec("one", "a", "b"), routes=(route,)), names_models=False)
    with pytest.raises(ConfigurationError, match="several models"):
        choose_place(options(target="one"), settings(spec("one", "a", "b")), names_models=False)


def test_a_route_is_served_by_all_its_targets() -> None:
    route = Route(name="best", entries=(RouteEntry(target="one"), RouteEntry(target="two")))
    known = settings(spec("one", "a"), spec("two", "b"), routes=(route,))
    assert choose_place(options("best"), known, names_models=False).serving == {"one", "two"}


def test_each_base_url_has_a_queue_of_its_own() -> None:
    first = choose_place(options("m", base_url="http://a/v1"), settings(), names_models=False)
    second = choose_place(options("m", base_url="http://b/v1/"), settings(), names_models=False)
    assert first.serving.isdisjoint(second.serving)
    assert (first.identity, second.identity) == ("http://a/v1", "http://b/v1")


def test_requests_that_name_their_models_go_to_every_target() -> None:
    place = choose_place(options(), settings(spec("one", "a"), spec("two", "b")), names_models=True)
    assert (place.target, place.model, place.serving) == (None, None, {"one", "two"})


def test_concurrency_is_the_serving_targets_limit() -> None:
    place = choose_place(options("a", concurrency=3), settings(spec("one", "a"), spec("two", "b")), names_models=False)
    assert [one.limits.concurrency for one in place.settings.targets] == [3, None]


def test_a_local_model_that_is_not_pulled_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_CACHE", str(tmp_path))
    with pytest.raises(ConfigurationError, match="forebay models pull smollm2-135m"):
        choose_place(options("smollm2-135m"), settings(), names_models=False)


def test_the_private_store_stands_beside_the_output_and_keeps_its_results() -> None:
    private = private_store(settings(), Path("folder/out.csv"))
    assert private.store.path == Path("folder/out.csv.forebay.db").resolve()
    assert private.blobs.parent == private.store.path.parent
    assert private.result_ttl_seconds > 365 * 86_400


def test_a_run_whose_targets_are_all_closed_says_until_when_it_waits() -> None:
    night = replace(spec("night", "a"), windows=read_windows("22:00-06:00"))
    route = Route(name="best", entries=(RouteEntry(target="night"), RouteEntry(target="day")))
    known = settings(night, spec("day", "b"), routes=(route,))
    noon, midnight = 1_800_014_400.0, 1_800_057_600.0
    alone = choose_place(options("a"), known, names_models=False)
    assert "'night'" in (closed_sentence(alone, noon) or "")
    assert closed_sentence(alone, midnight) is None
    assert closed_sentence(choose_place(options("best"), known, names_models=False), noon) is None
