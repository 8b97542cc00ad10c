"""Writes docs/cli.md from the commands themselves: ``python -m forebay.cli.document > docs/cli.md``."""

from collections.abc import Iterable, Iterator
from typing import Any

from forebay.cli.main import make_app
from forebay.cli.options import PANEL, with_global_options

HEAD = """# The command line

<!-- Generated from the commands by `python -m forebay.cli.document > docs/cli.md`. -->

Exit codes: **0** done; **1** the work failed or partly failed, nothing of that name, no server there, a wait that ran
out, a batch with failed lines; **2** wrong usage or configuration, and nothing was sent; **130** Ctrl-C. What went
wrong is one sentence on stderr. Progress goes to stderr too: a live display on a terminal, else a line every 10 s.

`run`, `serve`, `worker`, `targets` and `doctor` work on the configured store; `jobs`, `batches` and `dead-letters`
speak to a server (`--server`, else `FOREBAY_SERVER`, else `http://127.0.0.1:8700`) with the key `FOREBAY_API_KEY`.
`run` and `targets list` take `--server` as well. The configuration is described in [settings.md](settings.md).
"""
RUN = """INPUT:

| form | a record is |
|---|---|
| `.jsonl` | a line's object; blank lines are left out |
| `.csv` | a row under the header; values are text, the delimiter is found (`,` `;` tab or `\\|`) |
| `.parquet` | a row |
| `.txt` | a line, as `{text}` |
| a folder | a file below it, as `{path}` and, where it is text, `{text}`; hidden files are left out |
| `-` | a line's object on stdin |

Without `--prompt` or `--body`, lines of OpenAI's batch form (`custom_id`, `method`, `url`, `body`) go as they are and
come back as OpenAI's output lines; else a field `messages`, `prompt` or `input` is the request.

A placeholder is `{column}`, with `.name` and `[n]` into nested values, and backquotes around names with other
characters. Any other brace is literal; `{{` and `}}` are braces. A column that no record has is exit 2; one that a
single record lacks fails that record.

OUTPUT has one row per succeeded record in the order of the input: its fields and `output`, the text or, with
`--schema`, the validated object (JSON text in CSV, a struct in Parquet). An input field of that name becomes
`input_output`. `--full` adds `response`, `usage`, `cost` and `attempts`. The file appears whole at the end; until then
rows stand in `OUTPUT.partial.jsonl`, some seconds late. Failed records stand in `OUTPUT.errors.jsonl`, one a line:

```json
{"record": 17, "input": {"text": "…"}, "error": {"code": "target_rejected", "message": "…"}, "status_code": 400,
 "attempts": 1}
```

State is in the configured store, without a configuration in `OUTPUT.forebay.db` beside the output. A record is known by
its rendered request, so the same command again sends only what is new or changed, and failed records only with
`--retry-failed`. `--base-url` takes its key from `FOREBAY_TARGET_API_KEY`, else `OPENAI_API_KEY`.

The summary, with `--json`: `records`, `succeeded`, `failed`, `reused`, `calls` (null with `--server`), `usage`,
`cost_usd` (null where a price is unknown), `seconds`, `output`, `errors`; with `--detach` also `batch`. A dry run:
`records`, `already_paid`, `to_send`, `refused`, `input_tokens`, `output_tokens`, `cost_usd`, `requests`.
"""
NOTES = {"forebay run": RUN}


def cli_page() -> str:
    """The text of docs/cli.md."""
    root = with_global_options(make_app())
    shared = [one for one in root.params if getattr(one, "rich_help_panel", None) == PANEL]
    parts = [HEAD, "Every command takes these, before or after its name:\n", _table(_rows(shared))]
    for path, command in _commands(root, "forebay"):
        parts.append("\n".join(_section(path, command)))
    return "\n".join(parts)


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its path."""
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from _commands(child, f"{path} {name}")
        elif not child.hidden:
            yield f"{path} {name}", child


def _section(path: str, command: Any) -> Iterator[str]:
    own = [one for one in command.params if getattr(one, "rich_help_panel", None) != PANEL]
    yield f"## {path}\n"
    yield " ".join(str(command.help).split()) + "\n"
    yield f"```console\n$ {str(command.epilog).removeprefix('Example: ')}\n```\n"
    if path in NOTES:
        yield NOTES[path]
    rows = list(_rows(own))
    if rows:
        yield _table(rows)


def _rows(parameters: Iterable[Any]) -> Iterator[tuple[str, str, str]]:
    for one in parameters:
        if getattr(one, "hidden", False) or one.name == "help":
            continue
        is_option = one.param_type_name == "option"
        value = "" if getattr(one, "is_flag", False) else f" {one.metavar or _kind(one)}"
        name = ", ".join(one.opts) + value if is_option else str(one.metavar)
        yield f"`{_cell(name)}`", _default(one), _cell(one.help or "")


def _kind(one: Any) -> str:
    return {int: "N", float: "X"}.get(one.type_descriptor.annotation, "TEXT")


def _default(one: Any) -> str:
    if isinstance(one.show_default, str):
        return _cell(one.show_default)
    if one.required:
        return "required"
    is_unset = one.default is None or one.default is False or getattr(one, "is_flag", False)
    return "" if is_unset else f"`{_cell(str(one.default))}`"


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    lines = ["| option | default | |", "|---|---|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(cli_page(), end="")
