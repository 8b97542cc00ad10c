"""SQL is code: both back ends have the same files, so that ``diff -r`` is the review."""

from importlib.resources import files

import forebay.stores.postgres
import forebay.stores.sqlite


def names(package: object) -> set[str]:
    return {path.name for path in files(package).joinpath("sql").iterdir()}


def test_the_files_of_statements_have_the_same_names_in_both_stores() -> None:
    assert names(forebay.stores.postgres) == names(forebay.stores.sqlite)
