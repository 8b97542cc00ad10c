"""How a JSON body stands as a form."""

import pytest

from forebay.policy.form_fields import FileRef, fields_of


def test_members_are_named_as_openais_forms_name_them() -> None:
    body = (
        '{"model": "m", "temperature": 0.50, "stream": true, "none": null, "image": [{"file_id": "file-a"}, "x"],'
        ' "words[]": ["one", "two"], "chunking": {"type": "vad", "ms": [1]}, "file": {"file_id": "file-b"}}'
    )
    assert fields_of(body) == [
        ("model", "m"),
        ("temperature", "0.5"),
        ("stream", "true"),
        ("image[]", FileRef("file-a")),
        ("image[]", "x"),
        ("words[]", "one"),
        ("words[]", "two"),
        ("chunking[type]", "vad"),
        ("chunking[ms][]", "1"),
        ("file", FileRef("file-b")),
    ]


def test_only_an_object_with_nothing_but_an_id_of_ours_is_a_file() -> None:
    body = '{"a": {"file_id": "file-a", "detail": "low"}, "b": {"file_id": 3}, "c": {"file_id": "theirs"}}'
    assert fields_of(body) == [
        ("a[file_id]", "file-a"),
        ("a[detail]", "low"),
        ("b[file_id]", "3"),
        ("c[file_id]", "theirs"),
    ]


@pytest.mark.parametrize("body", ["[]", "3", "null"])
def test_a_body_that_is_no_object_has_no_fields(body: str) -> None:
    assert fields_of(body) == []


def test_what_is_no_json_is_told_so() -> None:
    with pytest.raises(ValueError, match="truncated"):
        fields_of("{")
