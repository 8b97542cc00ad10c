"""``forebay.yaml``: whatever stands in it, it is read or every fault is told with file and line."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forebay.settings import load_settings, redacted
from forebay.settings.load import KEYS
from forebay.settings.source import DEEPEST, MOST_NODES, plain_value
from forebay.settings.targets import KEYS as TARGET_KEYS
from tests.fuzz.refusals import complaint_of
from tests.fuzz.strategies import JSON_VALUES, TEXTS, damaged, fuzz

GOOD = b"""\
store: "sqlite:///forebay.db"
lease_seconds: 30   # how long
default_deadline: 24h
max_body_bytes: 16MiB
targets:
  vllm: &one {type: openai, base_url: "http://gpu-box:8000/v1", models: [llama, 'l-*'], limits: {concurrency: 64}}
  gpt:
    type: openai
    base_url: "https://${HOST:-api.example}/v1"
    api_key: sk-very-secret
    models:
      - gpt-x
    prices: {input: 1.25, output: 1e1}
    headers: {x-team: "blue"}
routes:
  summariser: [vllm/llama, gpt/gpt-x]
"""
ENVIRONMENTS = [{}, {"HOST": "x"}, {"FOREBAY_LEASE_SECONDS": "nan"}, {"FOREBAY_STORE": "\x00"}]
ODD_VALUES = st.sampled_from(
    ["9" * 5000, "0x" + "f" * 5000, "0o777", "1e400", ".inf", ".nan", "-0", "~", "!!python/object:os.system x", "!x y"]
) | st.sampled_from(
    ["&a [*a]", "*unknown", "<<: {a: 1}", "? [a]", "- -", "|\n  x", "'", '"\\x00"', '"\\ud800"', "${", "${A}", "$${"]
)
LINES = st.builds(
    "{}: {}\n".format,
    st.sampled_from([*KEYS, "  vllm", "odd", "<<", "'store'"]) | TEXTS,
    ODD_VALUES | JSON_VALUES.map(json.dumps) | TEXTS,
)
TARGET_LINES = st.builds("    {}: {}\n".format, st.sampled_from(sorted(TARGET_KEYS)), ODD_VALUES | TEXTS)
TARGET = "targets:\n  t:\n    type: openai\n"
DOCUMENTS = (
    st.lists(LINES, max_size=5).map("".join).map(str.encode)
    | st.lists(TARGET_LINES, max_size=6).map(lambda lines: (TARGET + "".join(lines)).encode())
    | JSON_VALUES.map(lambda value: json.dumps(value).encode())
)
PLACED = re.compile(r".*forebay\.yaml(, line \d+)?: |the environment: |.* can't be read: ")


def complaint(folder: Path, data: bytes, environ: dict[str, str] | None = None) -> str | None:
    file = folder / "forebay.yaml"
    file.write_bytes(data)
    return complaint_of(lambda: json.dumps(redacted(load_settings(file, environ or {})), default=str))


def test_the_good_file_is_good(tmp_path: Path) -> None:
    assert complaint(tmp_path, GOOD) is None


@fuzz(30)
@given(data=damaged(st.just(GOOD)) | DOCUMENTS | damaged(DOCUMENTS), environ=st.sampled_from(ENVIRONMENTS))
@example(b"a: &a [x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c]\n", {})
@example(b"targets: &t {a: *t}\n", {})
@example(b"[" * 5000, {})
@example(b"lease_seconds: " + b"9" * 5000, {})
@example(b"\xff\xfe", {})
@example(b"store: \0", {})
def test_whatever_is_wrong_is_told_with_its_place_and_without_secrets(
    tmp_path: Path, data: bytes, environ: dict[str, str]
) -> None:
    said = complaint(tmp_path, data, environ)
    for sentence in (said or "").splitlines():
        assert PLACED.match(sentence) or not said
        assert len(sentence) < 2000
    assert "sk-very-secret" not in (said or "")


def bomb(levels: int) -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize("levels", [5, 9, 40])
def test_aliases_that_multiply_are_stopped(tmp_path: Path, levels: int) -> None:
    said = complaint(tmp_path, bomb(levels))
    assert said is not None
    assert str(MOST_NODES) in said


@pytest.mark.parametrize("depth", [DEEPEST + 2, 1000])
def test_a_file_nested_too_deeply_is_refused(tmp_path: Path, depth: int) -> None:
    for text in ("targets: " + "[" * depth + "]" * depth, "targets: " + "{a: " * depth + "}" * depth):
        said = complaint(tmp_path, text.encode())
        assert said is not None
        assert "nested" in said


def test_a_key_that_stands_twice_names_both_lines(tmp_path: Path) -> None:
    said = complaint(tmp_path, b"store: sqlite:///a.db\nlog_level: info\nstore: sqlite:///b.db\n")
    assert said is not None
    assert "line 3: store: stands twice; first in line 1" in said


@fuzz(400)
@given(TEXTS | st.sampled_from(["9" * 5000, "0x" + "f" * 5000, "1e999", "-.inf", "0o8", "٣", "1__0", "+", "."]))
def test_a_plain_scalar_is_a_value_of_the_core_schema(text: str) -> None:
    value = plain_value(text)
    assert value is None or isinstance(value, bool | int | float | str)
    assert not isinstance(value, str) or value == text
