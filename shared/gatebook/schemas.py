"""Schemas that every client understands: no references, no titles, a plain object at the root."""

from typing import cast

from pydantic import BaseModel, JsonValue

Schema = dict[str, JsonValue]
_COMPOSITION = {"oneOf", "anyOf", "allOf", "not", "if"}
_DROPPED = ("$defs", "discriminator")


def portable_input(model: type[BaseModel]) -> Schema:
    """Return a strict input schema: references inlined, titles and `anyOf null` removed, the root a plain object.

    Several hosts drop `$defs`, reject a composition at the root, or refuse a schema that is not closed.

    Raises:
        ValueError: If the schema is recursive or its root is not a plain object.
    """
    schema = _inlined(cast("Schema", model.model_json_schema(by_alias=True)))
    flat = cast("Schema", _without_null(schema))
    if flat.get("type") != "object" or _COMPOSITION & flat.keys():
        raise ValueError("the root of an input schema must be a plain object")
    return {"type": "object", "properties": {}, **flat, "additionalProperties": False}


def portable_output(model: type[BaseModel]) -> Schema:
    """Return an output schema with references inlined; nulls stay, since clients check results against it."""
    return _inlined(cast("Schema", model.model_json_schema(by_alias=True, mode="serialization")))


def _inlined(schema: Schema) -> Schema:
    definitions = cast("dict[str, Schema]", schema.get("$defs", {}))

    def walk(node: JsonValue, path: tuple[str, ...], *, names: bool) -> JsonValue:
        if isinstance(node, list):
            return [walk(item, path, names=False) for item in node]
        if not isinstance(node, dict):
            return node
        if names:
            return {key: walk(value, path, names=False) for key, value in node.items()}
        reference = node.get("$ref")
        if isinstance(reference, str):
            name = reference.removeprefix("#/$defs/")
            if name in path:
                raise ValueError(f"the recursive schema {name!r} is not portable")
            node = {**definitions[name], **{key: value for key, value in node.items() if key != "$ref"}}
            path = (*path, name)
        return {
            key: walk(value, path, names=key == "properties")
            for key, value in node.items()
            if key not in _DROPPED and not (key == "title" and isinstance(value, str))
        }

    return cast("Schema", walk(schema, (), names=False))


def _without_null(node: JsonValue) -> JsonValue:
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    result = {key: _without_null(value) for key, value in node.items()}
    arms = result.get("anyOf")
    if isinstance(arms, list) and {"type": "null"} in arms:
        rest = [arm for arm in arms if arm != {"type": "null"}]
        if len(rest) == 1 and isinstance(rest[0], dict):
            del result["anyOf"]
            result = {**rest[0], **result}
            if result.get("default", 0) is None:
                del result["default"]
    return result
