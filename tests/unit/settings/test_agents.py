"""Targets of types ``a2a`` and ``mcp`` in forebay.yaml."""

from pathlib import Path

import pytest

from forebay.domain.errors import ConfigurationError
from forebay.domain.target import TargetSpec, TargetType
from forebay.settings import load_settings, redacted


def load(folder: Path, target: str) -> TargetSpec:
    file = folder / "forebay.yaml"
    file.write_text(f"targets:\n  one: {target}\n")
    [spec] = load_settings(file, {"TOKEN": "t0k-0123456789"}).targets
    return spec


def test_an_agent_is_an_address_a_key_and_where_its_interface_is(tmp_path: Path) -> None:
    spec = load(
        tmp_path, '{type: a2a, url: "https://a.example/card.json", base_url: "https://b.example/x/", api_key: k}'
    )
    assert (spec.type, spec.url, spec.base_url) == (
        TargetType.A2A,
        "https://a.example/card.json",
        "https://b.example/x",
    )


def test_a_server_of_tools_is_an_address(tmp_path: Path) -> None:
    spec = load(tmp_path, '{type: mcp, url: "https://t.example/mcp", api_key: "${TOKEN}", headers: {x: y}, tool: add}')
    assert (spec.url, spec.api_key, spec.tool, spec.command) == ("https://t.example/mcp", "t0k-0123456789", "add", None)


def test_a_server_of_tools_is_a_program_whose_secrets_are_never_shown(tmp_path: Path) -> None:
    spec = load(tmp_path, '{type: mcp, command: npx, args: [-y, "--key=${TOKEN}"], env: {TOKEN: "${TOKEN}"}}')
    assert (spec.command, spec.args) == ("npx", ("-y", "--key=t0k-0123456789"))
    assert spec.env == {"TOKEN": "t0k-0123456789"}
    assert "t0k" not in repr(spec)
    settings = load_settings(tmp_path / "forebay.yaml", {"TOKEN": "t0k-0123456789"})
    assert "t0k" not in repr(redacted(settings))


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("{type: a2a}", "needs url"),
        ('{type: a2a, url: "https://a.example", tool: x}', "has no tool"),
        ("{type: mcp}", "a url or a command, one of both"),
        ('{type: mcp, url: "https://t.example", command: x}', "a url or a command, one of both"),
        ('{type: mcp, url: "https://t.example", args: [x]}', "belongs to a server that is a command"),
        ('{type: mcp, url: "https://t.example", env: {a: b}}', "belongs to a server that is a command"),
        ("{type: mcp, command: x, api_key: k}", "belongs to a server that is a url"),
        ("{type: mcp, command: x, headers: {a: b}}", "belongs to a server that is a url"),
        ("{type: mcp, command: x, args: y}", "must be a list of texts"),
        ("{type: mcp, command: x, env: [y]}", "must be a mapping"),
        ("{type: mcp, command: x, env: {a: 1}}", "must be text"),
        ("{type: mcp, command: [x]}", "must be text"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, target: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load(tmp_path, target)
