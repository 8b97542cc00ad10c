"""Wildcards in paths and keys."""

import pytest

from forebay.policy.wildcards import fixed_folder, is_deep, is_wild, key_expression


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("in/*.csv", ["in/a.csv", "in/.csv"], ["in/a/b.csv", "in/a.csvx", "a.csv"]),
        ("in/**/*.csv", ["in/a.csv", "in/x/y/a.csv"], ["in/a.txt", "out/a.csv"]),
        ("in/", ["in/a", "in/b/c"], ["in", "inn/a"]),
        ("", ["a", "b/c"], []),
        ("a?[0-9].txt", ["ab1.txt"], ["ab.txt", "a/1.txt", "abx.txt"]),
        ("[!a].txt", ["b.txt"], ["a.txt"]),
        ("[^a].txt", ["^.txt", "a.txt"], ["b.txt"]),
        ("a[.txt", ["a[.txt"], ["a.txt"]),
        ("a.b+c(d)", ["a.b+c(d)"], ["aXb+c(d)"]),
        ("**", ["a", "a/b\nc"], []),
    ],
)
def test_a_pattern_means_these_keys_and_not_those(pattern: str, matching: list[str], other: list[str]) -> None:
    found = key_expression(pattern)
    assert [key for key in (*matching, *other) if found.fullmatch(key)] == matching


def test_the_folder_above_the_first_wildcard_is_fixed() -> None:
    patterns = ["in/x/*.csv", "in/x/a.csv", "*.csv", "/in/[ab]/c", "in/**/c", "in/"]
    assert [fixed_folder(one) for one in patterns] == ["in/x", "in/x", "", "/in", "in", "in"]
    assert [is_deep(one) for one in patterns] == [False, False, False, True, True, False]
    assert [is_wild(one) for one in patterns] == [True, False, True, True, True, False]
