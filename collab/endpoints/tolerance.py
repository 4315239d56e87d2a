"""Fields of a reply that may be missing or odd: such a value is passed over, and counted."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationInfo, WrapValidator
from pydantic_core import ValidationError
from pydantic_core.core_schema import ValidatorFunctionWrapHandler

T = TypeVar("T")


def _pass_over(
    value: object, parse: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> object | None:
    """Return the parsed value, or None for one that the field cannot have."""
    try:
        parsed: object = parse(value)
    except ValidationError:
        _note(value, info)
        return None
    return parsed


def _pass_null(
    value: object, parse: ValidatorFunctionWrapHandler, info: ValidationInfo
) -> object | None:
    """Do the same, and count a null too."""
    if value is None:
        _note(value, info)
        return None
    return _pass_over(value, parse, info)


def _pass_list(value: object, parse: ValidatorFunctionWrapHandler, info: ValidationInfo) -> object:
    """Return the parsed list, or an empty one for null and for a value that is not a list."""
    return (_pass_over(value, parse, info) if value is not None else None) or []


def _note(value: object, info: ValidationInfo) -> None:
    if isinstance(info.context, list):
        info.context.append(f"{info.field_name} {kind_of_value(value)}")


Lenient = Annotated[T | None, WrapValidator(_pass_over)]
"""A field that may be null; any other odd value counts as null, and is noted."""
Expected = Annotated[T | None, WrapValidator(_pass_null)]
"""A field that is never null in a proper reply: a null is noted too."""
Several = Annotated[list[T], WrapValidator(_pass_list)]
"""A list that may be null, which counts as empty; so does any other odd value, which is noted."""


class TolerantReply(BaseModel):
    """A reply that notes the odd values it was parsed from."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    error: object = None
    """What a server reports instead of a completion, or in addition to it."""
    _odd: list[str] = PrivateAttr(default_factory=list)

    @property
    def odd(self) -> list[str]:
        """The odd fields and values, such as `prompt_tokens null`."""
        return self._odd


def kind_of_value(value: object) -> str:
    """Name the kind of a JSON value for a note; numbers are shown."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case int() | float():
            return f"{value:g}"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"
