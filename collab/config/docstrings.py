"""The meaning of each setting: the string below its field in the class."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from importlib import import_module

from pydantic import BaseModel


def field_docstrings(settings: type[BaseModel]) -> dict[str, str]:
    """Map the fields of a class, inherited ones included, to the strings below them."""
    found: dict[str, str] = {}
    for base in reversed(settings.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
            assert isinstance(body, ast.ClassDef)
            for field, below in zip(body.body, body.body[1:], strict=False):
                match field, below:
                    case (
                        ast.AnnAssign(target=ast.Name(id=name)),
                        ast.Expr(value=ast.Constant(value=str(text))),
                    ):
                        found[name] = " ".join(text.split())
    return found


def meaning(path: Sequence[str], config: object, top: type[BaseModel]) -> str:
    """Return the first sentence of a setting's docstring; empty if none is found.

    Args:
        path: The parts of the setting's key.
        config: The composed config, of mappings.
        top: The class of the config.
    """
    settings: object = top
    for part in path[:-1]:
        config = config.get(part) if isinstance(config, Mapping) else None
        target = config.get("_target_") if isinstance(config, Mapping) else None
        if isinstance(target, str):
            module, _, name = target.rpartition(".")
            settings = getattr(import_module(module), name, None)
        elif inspect.isclass(settings) and issubclass(settings, BaseModel):
            field = settings.model_fields.get(part)
            settings = field.annotation if field else None
    if not (inspect.isclass(settings) and issubclass(settings, BaseModel)):
        return ""
    text = field_docstrings(settings).get(path[-1], "")
    return text.partition(". ")[0].removesuffix(".")
