"""Events, flattened: every leaf under its dotted path, with the places in arrays where it stands."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from forebay.domain.errors import RequestError
from forebay.policy.matching.leaves import Leaf, Source, leaf_of, pairs_of, read_json

Places = tuple[tuple[int, int], ...]  # (array, index of the object in it), in the order of nesting


class Field(NamedTuple):
    """One leaf."""

    leaf: Leaf
    places: Places


Fields = dict[str, list[Field]]


def flatten(event: Source, wanted: Collection[str] | None = None) -> Fields:
    """Flattens an event, given as JSON's text or as an object. ``wanted``: paths, and the beginnings of paths, that
    matter; what lies elsewhere is passed over.

    Raises: RequestError: it is no JSON object.
    """
    try:
        source = read_json(event) if isinstance(event, str | bytes) else event
    except ValueError as exc:
        raise RequestError(f"The event is not valid JSON: {exc}", code="invalid_event") from exc
    if pairs_of(source) is None:
        raise RequestError("An event is a JSON object", code="invalid_event")
    flattening = _Flattening(wanted)
    try:
        flattening.add_object(source, "", ())
    except RecursionError as exc:
        raise RequestError("The event is nested too deeply", code="invalid_event") from exc
    except TypeError as exc:
        raise RequestError(f"The event holds what JSON can't: {exc}", code="invalid_event") from exc
    return flattening.fields


class _Flattening:
    def __init__(self, wanted: Collection[str] | None) -> None:
        self.fields: Fields = {}
        self._wanted = wanted
        self._arrays = 0

    def add_object(self, value: Any, before: str, places: Places) -> None:
        for name, inner in pairs_of(value) or ():
            path = before + name
            if self._wanted is None or path in self._wanted:
                self._add(inner, path, places)

    def _add(self, value: Any, path: str, places: Places) -> None:
        if isinstance(value, list | tuple) and pairs_of(value) is None:
            self._add_array(value, path, places)
        elif pairs_of(value) is not None:
            self.add_object(value, path + ".", places)
        else:
            self.fields.setdefault(path, []).append(Field(leaf_of(value), places))

    def _add_array(self, values: Any, path: str, places: Places) -> None:
        array = self._arrays
        self._arrays += 1
        for index, value in enumerate(values):
            is_nested = isinstance(value, list | tuple) or pairs_of(value) is not None
            self._add(value, path, (*places, (array, index)) if is_nested else places)


def joined(before: Mapping[int, int], places: Places) -> Mapping[int, int] | None:
    """The elements chosen so far and those where a leaf stands; None if they are two elements of one array."""
    if not places:
        return before
    for array, index in places:
        if before.get(array, index) != index:
            return None
    return {**before, **dict(places)}
