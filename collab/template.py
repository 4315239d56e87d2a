"""A chat template: how messages are written for a model, rendered on this side of the wire.

Templates come from strangers. They run in Jinja's immutable sandbox with caps on what they may
read, compute and write, and are given the settings and helpers that Hugging Face templates expect.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from collab.errors import ConfigError
from collab.trajectory import Json, Message

MAX_TEMPLATE = 256 * 1024
"""Longest chat template that is read (characters)."""
MAX_RENDERED = 4 * 1024 * 1024
"""Longest prompt that a template may render (characters)."""
PINNED_DAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
"""What templates that ask for today's date are told: a prompt must not change overnight."""


@dataclass(frozen=True)
class Template:
    """A chat template: how messages are written for a model."""

    source: str
    """Jinja, as Hugging Face templates are written."""
    specials: Mapping[str, str] = field(default_factory=dict)
    """What the template calls `bos_token`, `eos_token` and so on."""
    variables: Mapping[str, Json] = field(default_factory=dict)
    """What else the template is told, such as `enable_thinking`."""

    @classmethod
    def load(cls, folder: Path, variables: Mapping[str, Json] | None = None) -> Self:
        """Read `chat_template.jinja`, or the template in `tokenizer_config.json`, from a folder.

        Raises:
            ConfigError: The folder holds no template, or one that is too long.
        """
        config = _read_json(folder / "tokenizer_config.json")
        file = folder / "chat_template.jinja"
        text = file.read_text() if file.exists() else _template_of(config)
        if not text:
            raise ConfigError(
                f"{str(folder)!r} has no chat template: put a chat_template.jinja beside it"
            )
        return cls(text, _special_tokens(config), variables or {})

    @cached_property
    def hash(self) -> str:
        """Names what decides the rendered text."""
        parts = [self.source, dict(self.specials), dict(self.variables), PINNED_DAY.isoformat()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """Write the messages, and the opening of the assistant's turn where asked.

        Raises:
            ConfigError: The template refuses these messages, or writes too much.
        """
        spoken = [{"role": message.role, "content": message.content} for message in messages]
        return self.write(spoken, add_generation_prompt)

    def write(self, spoken: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> str:
        """Write messages as they came over the wire, with whatever fields they have (`Any`: JSON).

        Raises:
            ConfigError: As for `render`.
        """
        flags = {"messages": spoken, "add_generation_prompt": add_generation_prompt}
        context = {"tools": None, "documents": None, **self.specials, **self.variables, **flags}
        try:
            return _join(self._compiled.generate(context))
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            raise ConfigError(f"the chat template refused the messages: {error}") from error

    @cached_property
    def _compiled(self) -> jinja2.Template:
        if len(self.source) > MAX_TEMPLATE:
            raise ConfigError(
                f"the chat template has {len(self.source):,} characters, more than "
                f"the {MAX_TEMPLATE:,} that are read"
            )
        try:
            return _environment().from_string(self.source)
        except jinja2.TemplateError as error:
            raise ConfigError(f"the chat template is not valid Jinja: {error}") from error


class _GenerationBlock(Extension):
    """The `{% generation %}` tag marks what a trainer learns from; here it writes its body."""

    tags = {"generation"}  # noqa: RUF012 - the base class declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the body as it stands."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which a product or power cannot eat the memory either."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute a product of numbers; refuse powers and long repetitions (`Any`: as declared)."""
        if operator == "*" and _size(left) * _size(right) <= MAX_RENDERED:
            return left * right
        raise jinja2.exceptions.SecurityError(f"a chat template may not compute {operator!r} here")


def _size(value: Any) -> float:
    """Say how large a factor is: a length or an amount (`Any`: whatever a template holds)."""
    return abs(value) if isinstance(value, int | float) else len(value)


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = PINNED_DAY.strftime
    return environment


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(value: Any, indent: int | None = None) -> str:
    """Write JSON without escaping for HTML (`Any`: whatever a template holds)."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _join(pieces: Iterator[str]) -> str:
    parts: list[str] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_RENDERED:
            raise ValueError(f"it wrote more than {MAX_RENDERED:,} characters")
        parts.append(piece)
    return "".join(parts)


def _read_json(path: Path) -> dict[str, Any]:
    """Read a file's JSON object, {} where there is none (`Any`: JSON)."""
    try:
        content = json.loads(path.read_text()) if path.exists() else {}
    except ValueError as error:
        raise ConfigError(f"{path.name} of {str(path.parent)!r} is not JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _template_of(config: Mapping[str, Any]) -> str:
    template = config.get("chat_template") or ""
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template", "") for entry in template}
        template = named.get("default", "")
    return str(template)


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    names = (
        "bos_token",
        "eos_token",
        "unk_token",
        "pad_token",
        "sep_token",
        "cls_token",
        "mask_token",
    )
    values = {name: config.get(name) for name in names}
    return {
        name: value["content"] if isinstance(value, dict) else value
        for name, value in values.items()
        if value
    }
