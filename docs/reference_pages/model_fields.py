"""Types, limits and defaults of the fields of pydantic models and dataclasses, as text."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from components.config.cluster import (
    CPU_QUANTITY,
    DNS_LABEL,
    EXTENDED_RESOURCE,
    HTTP_URL,
    LABEL_KEY,
    QUANTITY,
)
from docs.reference_pages.markdown import format_code, format_table, wrap

_PLAIN_NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "any value"}
_PATTERN_NAMES = {
    DNS_LABEL: "DNS label",
    HTTP_URL: "http or https URL",
    CPU_QUANTITY: "number of CPU cores, such as 2 or 500m",
    QUANTITY: "Kubernetes quantity",
    EXTENDED_RESOURCE: "Kubernetes extended resource",
    LABEL_KEY: "Kubernetes label key",
}
_LIMITS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def format_type(annotation: Any) -> str:
    """A type in the words of JSON: `list of strings`, `object: string to integer`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation in _PLAIN_NAMES:
        return _PLAIN_NAMES[annotation]
    if origin is Literal:
        return ", ".join(format_code(str(value)) for value in arguments)
    if origin in (Union, types.UnionType):
        names = [format_type(part) for part in arguments if part is not type(None)]
        return " or ".join([*names, *(["`null`"] if type(None) in arguments else [])])
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return f"object: {format_type(arguments[0])} to {format_type(arguments[1])}"
    if origin is tuple and arguments[-1] is not Ellipsis:
        return f"list: {', '.join(format_type(part) for part in arguments)}"
    if origin in (tuple, list, set, frozenset, Sequence):
        return f"list of {_pluralize(format_type(arguments[0]))}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(format_code(str(member.value)) for member in annotation)
    if isinstance(annotation, type):
        return format_code(annotation.__name__)
    raise TypeError(f"no words for the type {annotation!r}")


def format_field_type(field: FieldInfo) -> str:
    """The type of a field with its limits, as `integer ≥ 1`."""
    values: dict[str, Any] = {}
    for item in field.metadata:
        for name in ("ge", "gt", "le", "lt", "pattern", "min_length", "max_length"):
            if getattr(item, name, None) is not None:
                values[name] = getattr(item, name)
    text = format_type(field.annotation)
    if "pattern" in values:
        name = _PATTERN_NAMES.get(values["pattern"], f"string that matches `{values['pattern']}`")
        text = text.replace("string", name, 1)
    limits = ", ".join(f"{sign} {values[name]}" for name, sign in _LIMITS if name in values)
    if limits:
        text = text.replace("integer", f"integer {limits}").replace("number", f"number {limits}")
    return text


def format_value(value: Any) -> str:
    """A default value as YAML, in a code span."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    plain = list(plain) if isinstance(plain, tuple) else plain
    text = yaml.safe_dump(plain, default_flow_style=True, width=10_000, allow_unicode=True)
    return format_code(text.removesuffix("\n").removesuffix("\n..."))


def format_fields(model: type) -> str:
    """The table of a model's fields: name, type, and default where a field may be absent."""
    if issubclass(model, BaseModel):
        rows = [
            (
                format_code(field.serialization_alias or field.alias or name),
                format_field_type(field),
                "" if field.default is PydanticUndefined else format_value(field.default),
            )
            for name, field in model.model_fields.items()
            if not field.exclude
        ]
    else:
        assert dataclasses.is_dataclass(model)
        hints = typing.get_type_hints(model)
        rows = [
            (
                format_code(field.name),
                format_type(hints[field.name]),
                _format_dataclass_default(field),
            )
            for field in dataclasses.fields(model)
        ]
    return format_table(("field", "type", "default"), rows)


def format_model(model: type, level: int = 3) -> str:
    """The section of a model: its name, its docstring, its fields."""
    text = wrap(_read_docstring(model))
    return f"{'#' * level} {model.__name__}\n\n{text}\n\n{format_fields(model)}"


def _read_docstring(model: type) -> str:
    lines = (model.__doc__ or "").strip().splitlines()
    return "\n".join(line.strip() for line in lines)


def _format_dataclass_default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return format_value(field.default)
    if field.default_factory is not dataclasses.MISSING:
        return format_value(field.default_factory())
    return ""


def _pluralize(name: str) -> str:
    if name.startswith("list of "):
        return f"lists of {name.removeprefix('list of ')}"
    if name.startswith("list:"):
        return f"lists:{name.removeprefix('list:')}"
    if name.startswith("object"):
        return f"objects{name.removeprefix('object')}"
    return name if name.startswith("`") else f"{name}s"
