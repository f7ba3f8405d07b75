"""Values that fit a JSON schema: what a forced tool is called with, in every dialect."""

from __future__ import annotations

from typing import Any


def example(schema: object) -> Any:
    """A value that fits the JSON schema, as far as types, enums and properties go; types may be in upper case."""
    if not isinstance(schema, dict):
        return {}
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = kind[0]
    kind = str(kind).lower()
    if kind == "object":
        return {name: example(field) for name, field in (schema.get("properties") or {}).items()}
    if kind == "array":
        return [example(schema.get("items", {"type": "string"}))]
    return {"string": 'simulated "value" é', "integer": 42, "number": 4.5, "boolean": True}.get(kind)
