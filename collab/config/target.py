"""The inverse of a `_target_`: the plain settings of a value that was made in Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from collab.errors import ConfigError


def target_of(value: object, where: str) -> dict[str, Any]:  # any: JSON
    """Return the class of a value and its settings, as a YAML file would name them.

    Args:
        value: A policy, or another value with settings.
        where: The setting that it replaces, for the error message.

    Raises:
        ConfigError: A setting has no JSON form.
    """
    settings = _settings(value)
    plain = {name: _plain(inner, f"{where}.{name}") for name, inner in settings.items()}
    return {"_target_": f"{type(value).__module__}.{type(value).__qualname__}", **plain}


def _settings(value: object) -> Mapping[str, object]:
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return getattr(value, "__dict__", {})


def _plain(value: object, where: str) -> Any:  # any: JSON
    if isinstance(value, BaseModel):
        return target_of(value, where)
    if isinstance(value, Mapping):
        return {str(key): _plain(inner, f"{where}.{key}") for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, f"{where}.{number}") for number, inner in enumerate(value)]
    try:
        return to_jsonable_python(value)
    except PydanticSerializationError:
        raise ConfigError(
            f"{where}={value!r} has no JSON form, which is needed to name the run's folder: make "
            f"{type(value).__name__} a collab.Settings, or use a number, a text or a list"
        ) from None
