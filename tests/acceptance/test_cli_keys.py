"""`forebay keys`, on the store and over HTTP, beside a server that runs."""

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from forebay.cli.main import execute
from forebay.domain.key import KEY
from forebay.testing.processes import LONGEST_SECONDS
from tests.acceptance.run_support import forebay, started

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command here, on a store of the test's own."""
    for name in list(os.environ):
        if name.startswith("FOREBAY_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "forebay.yaml").write_text('{"store": "sqlite:///s.db"}')

    def run(*arguments: str) -> tuple[int, str, str]:
        code = execute(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def url(tmp_path: Path, command: Command) -> Iterator[str]:
    """A server on the same store, which nobody needs a key for yet."""
    with started("serve", "--port", "0", "--no-worker", "--json", cwd=tmp_path) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["url"]


def status_of(url: str, key: str | None = None) -> int:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url + "/v1/jobs", headers=headers)) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def until(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_SECONDS
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def created(command: Command, *options: str) -> dict[str, Any]:
    code, out, err = command("keys", "create", "--json", *options)
    assert code == 0, err
    view: dict[str, Any] = json.loads(out)
    return view


def test_a_key_is_made_listed_and_revoked_with_no_server(command: Command) -> None:
    made = created(command, "--name", "ci", "--tenant", "shop", "--scope", "read", "--expires", "90d")
    assert KEY.fullmatch(made["key"])
    assert (made["tenant"], made["scopes"]) == ("shop", ["read"])
    code, out, _ = command("keys", "list")
    assert code == 0
    assert made["id"] in out
    assert made["key"] not in out
    assert command("keys", "list", "--tenant", "bank")[1].startswith("No keys")
    assert command("keys", "revoke", made["id"])[0] == 0
    assert json.loads(command("keys", "list", "--json")[1])["data"][0]["status"] == "revoked"


def test_people_read_the_key_once(command: Command) -> None:
    code, out, _ = command("keys", "create", "--name", "mine")
    assert code == 0
    assert sum(KEY.fullmatch(line) is not None for line in out.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("revoke", "key_none"), 1),
        (("create", "--scope", "root"), 2),
        (("create", "--tenant", "A B"), 2),
        (("create", "--expires", "yesterday"), 2),
        (("create", "--name", "x" * 101), 2),
    ],
)
def test_what_can_not_be_done_is_one_sentence(command: Command, arguments: tuple[str, ...], expected: int) -> None:
    code, _, err = command("keys", *arguments)
    assert code == expected, err
    assert "Traceback" not in err


def test_keys_take_effect_on_a_running_server_within_seconds(command: Command, url: str) -> None:
    assert status_of(url) == 200
    admin = created(command, "--scope", "admin", "--scope", "read")
    until(lambda: status_of(url) == 401)
    assert status_of(url, admin["key"]) == 200
    code, _, err = command("keys", "list", "--server", url)
    assert code == 2
    assert "FOREBAY_API_KEY" in err
    os.environ["FOREBAY_API_KEY"] = admin["key"]
    try:
        made = created(command, "--server", url, "--scope", "read")
        assert made["id"] in command("keys", "list", "--server", url)[1]
    finally:
        del os.environ["FOREBAY_API_KEY"]
    assert status_of(url, made["key"]) == 200
    assert command("keys", "revoke", made["id"])[0] == 0
    until(lambda: status_of(url, made["key"]) == 401)


def test_a_server_for_strangers_starts_only_with_a_key(command: Command, tmp_path: Path) -> None:
    refused = forebay("serve", "--host", "0.0.0.0", "--port", "0", "--no-worker", cwd=tmp_path)
    assert refused.code == 2
    assert "forebay keys create" in refused.err
    created(command)
    with started("serve", "--host", "0.0.0.0", "--port", "0", "--no-worker", "--json", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert "url" in json.loads(process.stdout.readline())
