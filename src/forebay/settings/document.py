"""Writes docs/settings.md from the Settings record: ``python -m forebay.settings.document > docs/settings.md``."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from msgspec import Meta, structs

from forebay.domain.target import TargetType
from forebay.settings.load import DEFAULT_FILE
from forebay.settings.records import Settings
from forebay.settings.source import ENVIRONMENT
from forebay.settings.targets import KEYS, LIMITS, PRICES
from forebay.settings.tenants import TENANTS, tenants_text

HEAD = f"""# Settings

<!-- Generated from the Settings record by `python -m forebay.settings.document > docs/settings.md`. -->

Defaults, then `{DEFAULT_FILE}` (or `--config FILE`), then the environment; the later wins. An empty environment
variable counts as not set. The file is YAML 1.2 (core schema: `on`, `yes` and `22:00` are texts) or JSON. It is checked
whole at start: every error is told at once, with file, line and key, and the exit code is 2. Relative paths, those of
the environment too, are relative to the file's folder; without a file, to the working directory.

In texts, `${{NAME}}` is the environment variable NAME (an error if it is not set), `${{NAME:-default}}` has a default
for one that is not set or empty, and `$${{` stands for `${{`. Only values are replaced, never keys.

A duration is `90s`, `15m`, `24h`, `7d`, `1h30m`, or a number of seconds. A size is a number of bytes, or `512kB`,
`16MiB`, `4GB`.
"""
MAPPINGS = {"targets", "routes", "notify", "tenants"}


def settings_page() -> str:
    """The text of docs/settings.md."""
    parts = [
        HEAD,
        _table(("Key", "Environment", "Type", "Default", "Meaning"), _settings()),
        "## Targets\n\n`targets` maps names to places that work is sent to. Their order matters: the first that names "
        "a request's model serves it.\n",
        _table(("Key", "Types", "Meaning"), _target_keys()),
        "`limits`:\n",
        _table(("Key", "Meaning"), _named(LIMITS)),
        "`prices`, in USD per million tokens:\n",
        _table(("Key", "Meaning"), _named(PRICES)),
        "## Routes\n\n`routes` maps a model's name to a list of `target` or `target/model`, in order of preference. "
        "`body.model` is rewritten to the entry's model, by default the target's first of `models` without a `*`.\n",
        tenants_text(),
        _table(("Key", "Meaning"), _named(TENANTS)),
        "## Not in this version\n\n"
        "Stores and blobs other than SQLite, PostgreSQL, a folder and S3 are documented but not built yet: they are "
        "refused, never ignored.\n",
    ]
    return "\n".join(parts)


def _settings() -> Iterable[tuple[str, ...]]:
    defaults = {field.name: field.default for field in structs.fields(Settings)}
    for name, hint in get_type_hints(Settings, include_extras=True).items():
        if get_origin(hint) is not Annotated:
            continue  # what is not set by anyone
        meta = next(part for part in get_args(hint) if isinstance(part, Meta))
        extra: Mapping[str, Any] = meta.extra or {}
        key = extra.get("key", name)
        variable = "" if key in MAPPINGS else f"`{ENVIRONMENT}{key.upper()}`"
        shown = str(extra.get("shown", defaults[name]))
        yield (
            f"`{key}`",
            variable,
            extra["kind"],
            shown if " " in shown or shown == "none" else f"`{shown}`",
            str(meta.description),
        )


def _target_keys() -> Iterable[tuple[str, ...]]:
    for name, key in KEYS.items():
        types = "all" if key.types == frozenset(TargetType) else ", ".join(sorted(f"`{kind}`" for kind in key.types))
        yield f"`{name}`", types, key.meaning


def _named(meanings: Mapping[str, str]) -> Iterable[tuple[str, ...]]:
    return [(f"`{name}`", meaning) for name, meaning in meanings.items()]


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(settings_page(), end="")
