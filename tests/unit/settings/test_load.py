"""Loading settings: defaults, the file, the environment, and every error at once."""

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import Limits, Prices, TargetSpec, TargetType
from forebay.settings import BucketPlace, Settings, load_settings, redacted, with_target
from forebay.targets.clients import HttpLibrary

WHOLE = """
store: "sqlite:///forebay.db"
blobs: "file:///var/lib/forebay/blobs"
targets:
  local:  {type: local, model: qwen2.5-coder-1.5b}
  vllm:   {type: openai, base_url: "http://gpu-box:8000/v1", models: [llama], placement: onprem,
           limits: {concurrency: 64}}
  gpt:    {type: openai, base_url: "https://api.openai.com/v1", api_key: "${OPENAI_API_KEY}", models: [gpt-x, "gpt-*"],
           limits: {requests_per_minute: 5000, tokens_per_minute: 2000000}, prices: {input: 1.25, output: 10}}
  claude: {type: anthropic, api_key: "${ANTHROPIC_API_KEY}", models: ["claude-*"]}
  ocr:    {type: python, function: "my_models:read_image", modality: image}
  critic: {type: http, url: "https://agents.example.com/critic"}
routes:
  summariser: [vllm/llama, gpt/gpt-x]
pipelines: {}
"""
ENVIRON = {"OPENAI_API_KEY": "sk-secret-1", "ANTHROPIC_API_KEY": "sk-secret-2"}


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    file = folder / "forebay.yaml"
    file.write_text(text)
    return load_settings(file, environ or {})


def problems(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, environ)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_the_example_of_the_reference_is_read_whole(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE, ENVIRON)
    assert settings.store.path == tmp_path / "forebay.db"
    assert settings.blobs == Path("/var/lib/forebay/blobs")
    assert [spec.name for spec in settings.targets] == ["local", "vllm", "gpt", "claude", "ocr", "critic"]
    gpt = settings.targets[2]
    assert gpt.api_key == "sk-secret-1"
    assert gpt.models == ("gpt-x", "gpt-*")
    assert gpt.limits == Limits(requests_per_minute=5000, tokens_per_minute=2_000_000)
    assert gpt.prices == Prices(input=1.25, output=10)
    assert settings.targets[3].base_url == "https://api.anthropic.com"
    assert [(entry.target, entry.model) for entry in settings.routes[0].entries] == [
        ("vllm", "llama"),
        ("gpt", "gpt-x"),
    ]


def test_without_a_file_there_are_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {})
    assert settings.store.path == tmp_path / "forebay.db"
    assert settings.blobs == tmp_path / "forebay.db.blobs"
    assert settings.targets == ()
    assert settings.file is None
    assert (settings.lease_seconds, settings.failover_after_seconds) == (30.0, 5.0)


def test_the_file_of_the_working_directory_is_read_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forebay.yaml").write_text("log_level: debug")
    assert load_settings(None, {}).log_level == "debug"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    environ = {
        "FOREBAY_LEASE_SECONDS": "12.5",
        "FOREBAY_DEFAULT_DEADLINE": "1h30m",
        "FOREBAY_STORE": "sqlite:////tmp/a.db",
        "FOREBAY_MAX_BODY_BYTES": "2MiB",
        "FOREBAY_LOG_LEVEL": "",
    }
    settings = load(tmp_path, "lease_seconds: 60\nlog_level: warning", environ)
    assert settings.lease_seconds == 12.5
    assert settings.default_deadline_seconds == 5400
    assert settings.store.path == Path("/tmp/a.db")
    assert settings.max_body_bytes == 2 * 1024 * 1024
    assert settings.log_level == "warning"


def test_the_http_client_is_chosen_by_name(tmp_path: Path) -> None:
    assert load(tmp_path, "").http_client is HttpLibrary.WREQ
    assert load(tmp_path, "http_client: aiohttp").http_client is HttpLibrary.AIOHTTP
    assert load(tmp_path, "", {"FOREBAY_HTTP_CLIENT": "aiohttp"}).http_client is HttpLibrary.AIOHTTP
    with pytest.raises(ConfigurationError, match=r"http_client.*'httpx' is not one of wreq, aiohttp"):
        load(tmp_path, "http_client: httpx")


def test_sizes_and_durations_are_numbers_or_texts_with_units(tmp_path: Path) -> None:
    settings = load(tmp_path, "max_body_bytes: 1024\nmax_batch_bytes: 1.5GB\nresult_ttl: 7d\nlease_seconds: 45s")
    assert (settings.max_body_bytes, settings.max_batch_bytes) == (1024, 1_500_000_000)
    assert (settings.result_ttl_seconds, settings.lease_seconds) == (7 * 86_400, 45)


def test_relative_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    settings = load(tmp_path, "store: sqlite:///data/jobs.db\nblobs: bodies")
    assert settings.store.path == tmp_path / "data" / "jobs.db"
    assert settings.blobs == tmp_path / "bodies"


def test_every_error_is_told_at_once_with_file_line_and_key(tmp_path: Path) -> None:
    text = """lease_second: 3
log_level: loud
max_batch_lines: none
targets:
  a: {type: openai, base_ulr: "http://x/v1"}
  b: {type: opnai}
  c: {type: python, function: "nocolon", api_key: k}
routes:
  r: [a, z/model, 3]
  s: []
log_level: info
"""
    assert problems(tmp_path, text) == [
        "forebay.yaml, line 1: lease_second: unknown key; did you mean 'lease_seconds'?",
        "forebay.yaml, line 2: log_level: 'loud' is not one of debug, info, warning, error",
        "forebay.yaml, line 3: max_batch_lines: must be a number of at least 1, not 'none'",
        "forebay.yaml, line 5: targets.a.base_ulr: unknown key; did you mean 'base_url'?",
        "forebay.yaml, line 5: targets.a: a target of type openai needs base_url",
        f"forebay.yaml, line 6: targets.b.type: 'opnai' is not one of {', '.join(TargetType)}; did you mean 'openai'?",
        "forebay.yaml, line 7: targets.c.api_key: a target of type python has no api_key; remove the key",
        "forebay.yaml, line 7: targets.c.function: must be module:name, such as my_models:read_image, not 'nocolon'",
        "forebay.yaml, line 9: routes.r[0]: target 'a' names no exact model to send: write a/MODEL, or add it to its"
        " models",
        "forebay.yaml, line 9: routes.r[1]: there is no target 'z'",
        "forebay.yaml, line 9: routes.r[2]: must be `target` or `target/model`",
        "forebay.yaml, line 10: routes.s: must be a list of targets in order of preference, `target` or `target/model`",
        "forebay.yaml, line 11: log_level: stands twice; first in line 2",
    ]


def test_an_error_of_the_environment_names_the_variable(tmp_path: Path) -> None:
    assert problems(tmp_path, "", {"FOREBAY_LEASE_SECONDS": "soon"}) == [
        "the environment: FOREBAY_LEASE_SECONDS: must be a duration such as 90s, 15m, 24h or 7d, not 'soon'"
    ]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("store: aws://eu-central-1/x", "aws"),
        ("blobs: gs://bucket/x", "gs"),
    ],
)
def test_what_is_documented_but_not_built_is_refused(tmp_path: Path, text: str, what: str) -> None:
    [problem] = problems(tmp_path, text)
    assert "this version of Forebay" in problem
    assert what in problem


@pytest.mark.parametrize(
    "store",
    ["forebay.db", "sqlite://forebay.db", "sqlite:///", "sqlite:///:memory:", "sqlite:///a.db?mode=ro", "x://y"],
)
def test_a_store_that_is_no_address_is_refused(tmp_path: Path, store: str) -> None:
    [problem] = problems(tmp_path, f"store: '{store}'")
    assert "store: must be sqlite:///FILE" in problem


@pytest.mark.parametrize("url", ["postgresql://me:hidden@host:5433/db?schema=x", "postgres:///db?host=/run/pg"])
def test_a_store_in_postgresql_keeps_its_blobs_with_it(tmp_path: Path, url: str) -> None:
    settings = load(tmp_path, f"store: {url}")
    assert (settings.store.url, settings.store.path, settings.blobs) == (url, None, None)
    assert "hidden" not in repr(redacted(settings))
    assert load(tmp_path, f"store: {url}\nblobs: bodies").blobs == tmp_path / "bodies"


@pytest.mark.parametrize("url", ["postgresql://host", "postgresql://host/", "postgresql://host:port/db"])
def test_an_address_of_postgresql_names_its_database(tmp_path: Path, url: str) -> None:
    [problem] = problems(tmp_path, f"store: {url}")
    assert problem.endswith("store: must be postgresql://USER@HOST/DATABASE")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket", BucketPlace(bucket="bucket")),
        ("s3://bucket/", BucketPlace(bucket="bucket")),
        ("s3://my.bucket-1/a", BucketPlace(bucket="my.bucket-1", prefix="a")),
        ("s3://bucket/a/b_c.d/e=1/", BucketPlace(bucket="bucket", prefix="a/b_c.d/e=1")),
        ("s3://bucket/${STAGE}", BucketPlace(bucket="bucket", prefix="test")),
    ],
)
def test_blobs_in_a_bucket_are_a_bucket_and_a_prefix(tmp_path: Path, url: str, place: BucketPlace) -> None:
    for store in ("sqlite:///a.db", "postgresql://host/db"):
        settings = load(tmp_path, f"store: {store}\nblobs: {url}", {"STAGE": "test"})
        assert settings.blobs == place
    assert redacted(settings)["blobs"] == {"bucket": place.bucket, "prefix": place.prefix}


@pytest.mark.parametrize(
    "place",
    ["", "/x", "B/x", "ab", "bucket//x", "bucket/../x", "bucket/a b", "bucket/x?region=y", "key:secret@bucket/x"],
)
def test_a_bucket_that_is_none_is_refused_and_not_repeated(tmp_path: Path, place: str) -> None:
    [problem] = problems(tmp_path, f"blobs: 's3://{place}'")
    assert problem == (
        "forebay.yaml, line 1: blobs: must be s3://BUCKET/PREFIX; credentials, region and endpoint are the"
        " environment's (AWS_…)"
    )


@pytest.mark.parametrize("blobs", ["file://relative", "ftp://x/y"])
def test_blobs_that_are_no_folder_are_refused(tmp_path: Path, blobs: str) -> None:
    [problem] = problems(tmp_path, f"blobs: '{blobs}'")
    assert problem.startswith("forebay.yaml, line 1: blobs: ")


@pytest.mark.parametrize(
    "url",
    [
        "gpu-box:8000",
        "ftp://host/v1",
        "http://",
        "http://host:x/v1",
        "http://a b/v1",
        "http://u:p@h/v1",
        "http://h?a=1",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(tmp_path: Path, url: str) -> None:
    [problem] = problems(tmp_path, f"targets: {{a: {{type: openai, base_url: '{url}'}}}}")
    assert "targets.a.base_url: must" in problem
    assert url not in problem.replace("http://gpu-box:8000/v1", "")


def test_a_slash_at_the_end_of_an_address_is_dropped(tmp_path: Path) -> None:
    settings = load(tmp_path, "targets: {a: {type: openai, base_url: 'http://h/v1/'}}")
    assert settings.targets[0].base_url == "http://h/v1"


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml does not exist"):
        load_settings(tmp_path / "none.yaml", {})


@pytest.mark.parametrize(
    "text", ["- a", "just text", "targets: [a]", "targets: {a: openai}", "routes: x", "targets: {a: }"]
)
def test_a_value_of_the_wrong_shape_is_an_error_and_no_crash(tmp_path: Path, text: str) -> None:
    assert len(problems(tmp_path, text)) == 1


def test_no_secret_is_in_any_text_about_the_settings(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE + "log_level: info", ENVIRON)
    hidden = with_target(
        settings,
        TargetSpec(name="x", type=TargetType.HTTP, url="http://h", api_key="sk-secret-3", headers={"x": "sk-secret-4"}),
    )
    for text in (repr(hidden), str(hidden), repr(hidden.targets), str(redacted(hidden)), f"{hidden.targets[0]}"):
        assert "sk-secret" not in text
    assert redacted(hidden)["targets"][0]["headers"] == {"x": "[set]"}


def test_a_key_that_can_not_go_into_a_header_is_refused_without_being_shown(tmp_path: Path) -> None:
    [problem] = problems(tmp_path, 'targets: {a: {type: http, url: "http://h", api_key: "sk-secret\\n"}}')
    assert "sk-secret" not in problem


def test_with_target_puts_it_before_all_others_and_replaces_its_namesake(tmp_path: Path) -> None:
    settings = load(tmp_path, WHOLE, ENVIRON)
    spec = TargetSpec(name="gpt", type=TargetType.OPENAI, base_url="http://127.0.0.1:1/v1")
    changed = with_target(settings, spec)
    assert changed.targets[0] is spec
    assert [one.name for one in changed.targets] == ["gpt", "local", "vllm", "claude", "ocr", "critic"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(
    ["store", "blobs", "targets", "routes", "lease_seconds", "max_body_bytes", "rules", "log_level"]
)
TARGETS = st.dictionaries(
    st.text(max_size=5),
    st.dictionaries(
        st.sampled_from(["type", "base_url", "models", "limits", "prices", "headers", "api_key"]), JSON_VALUES
    ),
    max_size=2,
)


@given(value=st.dictionaries(NAMES, JSON_VALUES) | st.fixed_dictionaries({"targets": TARGETS, "routes": JSON_VALUES}))
def test_any_configuration_is_read_or_refused_and_never_crashes(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(msgspec.json.encode(value))
    with suppress(ConfigurationError):
        load_settings(file, {})


def test_a_local_model_that_nobody_knows_is_told_with_the_nearest(tmp_path: Path) -> None:
    file = tmp_path / "forebay.yaml"
    file.write_text("targets:\n  a: {type: local, model: smollm-135m}\n")
    with pytest.raises(ConfigurationError, match=r"line 2: targets\.a\.model: .*did you mean 'smollm2-135m'"):
        load_settings(file, {})
