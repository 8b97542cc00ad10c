"""Structures of JSON values, put together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.policy.json_structures import merged

SCALARS = st.sampled_from(["NULL", "VARCHAR", "UBIGINT", "BIGINT", "DOUBLE", "BOOLEAN", "JSON"])
STRUCTURES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=1) | st.dictionaries(st.sampled_from("abc"), inner), max_leaves=8
)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("NULL", ["VARCHAR"], ["VARCHAR"]),
        ("UBIGINT", "BIGINT", "BIGINT"),
        ("UBIGINT", "DOUBLE", "DOUBLE"),
        ("VARCHAR", "BOOLEAN", "JSON"),
        ({"a": "VARCHAR"}, {"b": ["NULL"], "a": "NULL"}, {"a": "VARCHAR", "b": ["NULL"]}),
        ([], [{"a": "UBIGINT"}], [{"a": "UBIGINT"}]),
        ({"a": "VARCHAR"}, ["VARCHAR"], "JSON"),
    ],
)
def test_a_structure_holds_the_values_of_both(one: object, other: object, both: object) -> None:
    assert merged(one, other) == both


@given(one=STRUCTURES, other=STRUCTURES)
def test_the_order_changes_no_type_and_again_changes_nothing(one: object, other: object) -> None:
    both = merged(one, other)
    assert merged(other, one) == both
    assert merged(both, other) == both
    assert merged(both, one) == both
