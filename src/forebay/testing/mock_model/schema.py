"""The least instance that a JSON schema allows: what the mock model answers where an answer must fit a schema."""

import math
from typing import Any

Json = dict[str, Any]

MAX_DEPTH = 32  # a schema that needs itself has no finite instance
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1S",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def least_instance(schema: Json, text: str = "") -> Any:
    """Returns a small valid instance. ``text`` fills a string that has room for it. ``pattern`` is not heeded."""
    return _instance(schema, schema, text, 0)


def _instance(schema: Any, root: Json, text: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _instance(_referred(schema["$ref"], root), root, text, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "default" in schema:
        return schema["default"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            return _instance(schema[choice][0], root, text, depth + 1)
    if schema.get("allOf"):
        return _instance(_merged(schema, root), root, text, depth + 1)
    return _of_type(_type_of(schema), schema, root, text, depth)


def _of_type(kind: str, schema: Json, root: Json, text: str, depth: int) -> Any:
    match kind:
        case "object":
            properties = schema.get("properties", {})
            names = schema.get("required", list(properties))
            return {name: _instance(properties.get(name, {}), root, text, depth + 1) for name in names}
        case "array":
            items = schema.get("items", {})
            return [_instance(items, root, text, depth + 1) for _ in range(schema.get("minItems", 0))]
        case "integer" | "number":
            return _number(schema, kind)
        case "string":
            return _string(schema, text)
        case "boolean":
            return True
    return None


def _type_of(schema: Json) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "null"
    return str(kind)


def _number(schema: Json, kind: str) -> float:
    """Zero where it is allowed, else the bound that is nearest to it."""
    step: float = schema.get("multipleOf", 1)
    least: float = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf) + step)
    most: float = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf) - step)
    value = min(max(0.0, least), most)
    if "multipleOf" in schema:
        value = math.ceil(value / step) * step
    return int(value) if kind == "integer" or value == int(value) else value


def _string(schema: Json, text: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    value = text.ljust(schema.get("minLength", 0), "x")
    return value[: schema.get("maxLength", len(value))]


def _referred(pointer: str, root: Json) -> Any:
    """Follows ``#/$defs/Name``; other documents are not fetched."""
    place: Any = root
    for part in pointer.removeprefix("#").split("/")[1:]:
        place = place.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(place, dict) else {}
    return place


def _merged(schema: Json, root: Json) -> Json:
    merged: Json = {name: value for name, value in schema.items() if name != "allOf"}
    for part in schema["allOf"]:
        part = _referred(part["$ref"], root) if "$ref" in part else part
        properties = {**merged.get("properties", {}), **part.get("properties", {})}
        required = [*merged.get("required", ()), *part.get("required", ())]
        merged = {**merged, **part}
        if properties:
            merged["properties"] = properties
        if required:
            merged["required"] = required
    return merged
