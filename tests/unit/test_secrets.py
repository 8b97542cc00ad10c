"""Secrets are derived, and never stored."""

import stat
from pathlib import Path

import pytest

from forebay.domain.errors import ConfigurationError, RequestError
from forebay.domain.webhook import SecretVersions
from forebay.secrets import Secrets, secret_path

KEY = "a key of sixteen characters"


def test_the_same_key_derives_the_same_secret_on_every_machine() -> None:
    first, second = [Secrets(KEY).derive("webhook-endpoint", "we_1", 1) for _ in range(2)]
    assert first == second
    assert len(first) == 32


def test_another_key_purpose_name_or_version_derives_another_secret() -> None:
    made = [
        Secrets(KEY).derive("a", "x", 1),
        Secrets(KEY + "!").derive("a", "x", 1),
        Secrets(KEY).derive("b", "x", 1),
        Secrets(KEY).derive("a", "y", 1),
        Secrets(KEY).derive("a", "x", 2),
    ]
    assert len(set(made)) == len(made)


def test_without_a_setting_the_key_stands_in_a_file_that_its_owner_alone_reads(tmp_path: Path) -> None:
    path = secret_path(tmp_path / "forebay.db")
    made = Secrets(path=path).derive("a", "x", 1)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert Secrets(path=path).derive("a", "x", 1) == made
    assert [one.name for one in tmp_path.iterdir()] == ["forebay.db.secret"]
    assert made.hex() not in path.read_text()


def test_of_two_that_make_the_file_at_once_both_have_what_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "secret"
    first = Secrets(path=path).derive("a", "x", 1)
    read, seen = Path.read_text, []

    def not_there_yet(self: Path, *arguments: str) -> str:
        seen.append(self)
        if len(seen) == 1:
            raise FileNotFoundError
        return read(self, *arguments)

    monkeypatch.setattr(Path, "read_text", not_there_yet)
    assert Secrets(path=path).derive("a", "x", 1) == first


@pytest.mark.parametrize("text", ["", "not hex", "abcd"])
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="secret key"):
        Secrets(path=path).derive("a", "x", 1)
    assert path.read_text() == text


def test_where_there_is_no_key_and_no_file_it_is_refused_in_one_clear_sentence() -> None:
    with pytest.raises(RequestError, match="set `secret_key`") as refused:
        Secrets().derive("a", "x", 1)
    assert refused.value.code == "secret_key_missing"


def test_a_rotation_ends_the_old_secret_at_once_or_after_a_while() -> None:
    first = SecretVersions()
    assert first.active(0) == (1,)
    assert first.rotated(0).active(0) == (2,)
    kept = first.rotated(0, keep_seconds=10)
    assert (kept.active(9), kept.active(10)) == ((2, 1), (2,))
    twice = kept.rotated(5, keep_seconds=10)
    assert (twice.active(9), twice.active(12), twice.active(15)) == ((3, 2, 1), (3, 2), (3,))
    assert twice.rotated(6).active(6) == (4,)
