"""A model's chat template, rendered by the client.

Templates are untrusted: `collab.templates.renderer` limits their time, memory and size.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from collab.core.gguf import Gguf
from collab.core.trajectory import Json, Message
from collab.errors import ConfigError
from collab.templates.jinja import PINNED_DAY as PINNED_DAY
from collab.templates.jinja import Refused
from collab.templates.renderer import render

MAX_TEMPLATE = 256 * 1024
"""The longest accepted chat template (characters)."""
MAX_CONFIG = 64 * 1024 * 1024
"""The longest accepted `tokenizer_config.json` (bytes)."""
TOKENS = (
    *("bos_token", "eos_token", "unk_token", "pad_token"),
    *("sep_token", "cls_token", "mask_token"),
)
"""The special tokens that a template may name."""


@dataclass(frozen=True)
class Template:
    """A chat template, which renders messages as the text of a prompt."""

    source: str
    """Jinja source in the format of Hugging Face."""
    specials: Mapping[str, str] = field(default_factory=dict)
    """The special tokens by the names that the template uses (`bos_token`, `eos_token` …)."""
    variables: Mapping[str, Json] = field(default_factory=dict)
    """Further variables for the template, such as `enable_thinking`."""
    origin: str = field(default="", compare=False)
    """The file of the template, for error messages."""

    @classmethod
    def load(cls, folder: Path, variables: Mapping[str, Json] | None = None) -> Self:
        """Load the template of a folder, or that of a GGUF file.

        A folder's is `chat_template.jinja`, else that in `tokenizer_config.json`.

        Raises:
            ConfigError: There is no template, or one that is too long.
        """
        if folder.is_file():
            return cls._of_gguf(Gguf.load(folder), variables)
        where, config = folder / "chat_template.jinja", _read_json(folder / "tokenizer_config.json")
        if where.is_file():
            text = _load_text(where, 4 * MAX_TEMPLATE)
        else:
            where, text = folder / "tokenizer_config.json", _template_of(config)
        if not text:
            raise ConfigError(
                f"{str(folder)!r} has no chat template: put a chat_template.jinja there"
            )
        return cls(text, _special_tokens(config), variables or {}, str(where))

    @classmethod
    def _of_gguf(cls, gguf: Gguf, variables: Mapping[str, Json] | None) -> Self:
        text = gguf.text("tokenizer.chat_template")
        if not text:
            raise ConfigError(
                f"{str(gguf.path)!r} has no chat template: take a file that was made with one"
            )
        return cls(text, gguf.specials, variables or {}, str(gguf.path))

    @cached_property
    def hash(self) -> str:
        """Digest of everything that decides the rendered text, except the messages."""
        parts = [self.source, dict(self.specials), dict(self.variables), PINNED_DAY.isoformat()]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
        """Render messages as text, and open the assistant's turn if asked.

        Raises:
            ConfigError: The template refuses these messages, or writes too much.
        """
        turns = [{"role": message.role, "content": message.content} for message in messages]
        return self.render_turns(turns, add_generation_prompt)

    def render_turns(
        self, turns: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True
    ) -> str:
        """Render messages in the API's format, with any further fields (`Any`: JSON).

        Raises:
            ConfigError: The template refuses these messages, or writes too much.
        """
        if len(self.source) > MAX_TEMPLATE:
            raise ConfigError(
                f"{self._name} has {len(self.source):,} characters; "
                f"at most {MAX_TEMPLATE:,} are accepted"
            )
        flags = {"messages": turns, "add_generation_prompt": add_generation_prompt}
        context = {"tools": None, "documents": None, **self.specials, **self.variables, **flags}
        try:
            return render(self.source, context)
        except Refused as refusal:
            raise ConfigError(f"{self._name} {refusal}") from refusal
        except OSError as error:
            raise ConfigError(
                f"cannot start the process that renders {self._name}: {error}"
            ) from error

    @property
    def _name(self) -> str:
        return f"the chat template of {self.origin!r}" if self.origin else "the chat template"


def _load_text(path: Path, most: int) -> str:
    """Read a text file of at most `most` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise ConfigError(f"{str(path)!r} is too long: at most {most:,} bytes are accepted")
        return data.decode().replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error}") from error


def _read_json(path: Path) -> dict[str, Any]:
    """Read the JSON object in a file; return {} if the file does not exist (`Any`: JSON)."""
    try:
        content = json.loads(_load_text(path, MAX_CONFIG)) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name} of {str(path.parent)!r} is not JSON: {error}") from error
    return content if isinstance(content, dict) else {}


def _template_of(config: Mapping[str, Any]) -> str:
    template = config.get("chat_template")
    if isinstance(template, list):
        named = {entry.get("name"): entry for entry in template if isinstance(entry, dict)}
        template = named.get("default", {}).get("template")
    return template if isinstance(template, str) else ""


def _special_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    values = {name: config.get(name) for name in TOKENS}
    texts = {
        name: value.get("content") if isinstance(value, dict) else value
        for name, value in values.items()
    }
    return {name: text for name, text in texts.items() if text and isinstance(text, str)}
