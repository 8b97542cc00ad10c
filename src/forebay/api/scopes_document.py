"""Writes the table of scopes into docs/keys.md: ``python -m forebay.api.scopes_document docs/keys.md``."""

import sys
from pathlib import Path

from forebay.api.scopes import SCOPES
from forebay.domain.key import Scope

HEAD = "| scope | for | routes |\n|---|---|---|\n"
MEANINGS = {
    Scope.SUBMIT: "make, end and repeat work",
    Scope.READ: "see work and what it is done with",
    Scope.ADMIN: "keys, webhook endpoints, rules, erasure",
    None: "`submit` or `read`, by what is asked",
}


def scopes_table() -> str:
    """One row for each scope, with all that it opens."""
    return HEAD + "".join(_row(scope, meaning) for scope, meaning in MEANINGS.items())


def with_table(page: str) -> str:
    """The page with the table of today."""
    before, head, rest = page.partition(HEAD)
    if not head:
        raise ValueError("the page has no table of scopes")
    lines = rest.splitlines(keepends=True)
    after = next(place for place, line in enumerate(lines) if not line.startswith("| "))
    return before + scopes_table() + "".join(lines[after:])


def _row(scope: Scope | None, meaning: str) -> str:
    routes = [f"`{method} {path}`" for (method, path), needed in SCOPES.items() if needed is scope]
    more = " and every model endpoint" if scope is Scope.SUBMIT else ""
    name = "each by itself" if scope is None else f"`{scope}`"
    return f"| {name} | {meaning} | {', '.join(routes)}{more} |\n"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(with_table(place.read_text(encoding="utf-8")), encoding="utf-8")
